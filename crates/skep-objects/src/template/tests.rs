use super::*;

struct Fixed;

impl Context for Fixed {
    fn field(&self, path: &[String]) -> Option<Value> {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match path[..] {
            ["Service", "Name"] => Some(Value::Text("web".into())),
            ["Task", "Slot"] => Some(Value::Text("3".into())),
            ["Service", "Labels"] => Some(Value::Map([("a".into(), "b".into())].into())),
            _ => None,
        }
    }

    fn function(&self, name: &str, args: &[Value]) -> Option<Result<Value, String>> {
        match (name, args) {
            ("env", [Value::Text(name)]) => Some(Ok(Value::Text(format!("<{name}>")))),
            ("secret", _) => Some(Err("secret target x not found".into())),
            _ => None,
        }
    }
}

#[track_caller]
fn check(template: &str, expect: &str) {
    assert_eq!(
        expand(template, &Fixed).as_deref(),
        Ok(expect),
        "{template}"
    );
}

#[track_caller]
fn refused(template: &str) -> String {
    expand(template, &Fixed).unwrap_err().to_string()
}

#[test]
fn placeholders_are_replaced() {
    check("plain", "plain");
    check("{{.Service.Name}}-{{ .Task.Slot }}", "web-3");
    check(
        "x={{index .Service.Labels \"a\"}};{{index .Service.Labels `no`}}",
        "x=b;",
    );
    check("{{.Service.Labels}}", "map[a:b]");
    check("{{env \"HOME\"}}", "<HOME>");
    check("{{ .Service.Name | printf \"%s-%q\" \"a\" }}", "a-\"web\"");
    check("{{ \"}}\" }}", "}}");
}

#[test]
fn branches_choose() {
    check(
        "{{if eq .Task.Slot \"3\"}}three{{else}}other{{end}}",
        "three",
    );
    check(
        "{{if eq .Task.Slot \"1\"}}a{{else if ne .Service.Name \"db\"}}b{{else}}c{{end}}",
        "b",
    );
    check("{{if and (eq 1 1) (not false)}}y{{end}}", "y");
}

#[test]
fn space_beside_a_dash_goes() {
    check("a \n {{- .Service.Name -}} \n b", "awebb");
    check("a {{/* note */}} b", "a  b");
}

#[test]
fn what_is_not_known_is_refused() {
    assert_eq!(
        refused("{{.Nothing}}"),
        "template: can't evaluate field .Nothing"
    );
    assert_eq!(
        refused("{{foo 1}}"),
        "template: function \"foo\" not defined"
    );
    assert_eq!(
        refused("{{secret \"x\"}}"),
        "template: error calling secret: secret target x not found"
    );
    assert_eq!(refused("{{.Service.Name"), "template: unclosed action");
    refused("{{range .Service.Labels}}{{end}}");
    refused("{{if true}}");
    refused("{{end}}");
    refused("{{}}");
    refused("{{.a..b}}");
    refused("{{\"abc}}");
}
