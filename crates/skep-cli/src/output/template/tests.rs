use serde_json::json;

use super::*;

fn check(template: &str, expected: &str) {
    let object = json!({
        "Name": "web", "Count": 3, "Empty": "", "Labels": {"a": "1", "b": "2"},
        "Spec": {"Ports": [{"Port": 80}, {"Port": 443}]},
    });
    let result = Template::compile(template).and_then(|template| template.render(&object));
    assert_eq!(
        result.unwrap_or_else(|error| error.to_string()),
        expected,
        "{template}"
    );
}

#[test]
fn fields_and_functions() {
    check("{{.Name}}-{{ .Count }}", "web-3");
    check("{{json .Labels}}", r#"{"a":"1","b":"2"}"#);
    check("{{.Name | upper}}", "WEB");
    check(
        "{{len .Spec.Ports}} {{index .Labels \"a\"}} {{(index .Spec.Ports 1).Port}}",
        "2 1 443",
    );
    check("{{printf \"%-5s|%d\" .Name .Count}}", "web  |3");
    check("{{join (split \"a,b\" \",\") \"+\"}}", "a+b");
    check(
        "{{.Missing}}",
        "template: :1:2: executing \"\" at <.Missing>: map has no entry for key \"Missing\"",
    );
    check(
        "{{.Spec.Ports.Nope}}",
        "template: :1:13: executing \"\" at <.Spec.Ports.Nope>: can't evaluate field Nope in type []interface {}",
    );
    check(
        "{{.Health}} {{if .Health}}x{{else}}none{{end}} {{.Binds}} {{.Err}}",
        "<nil> none [] ",
    );
    check(
        "{{slice .Name 1 3}} {{html \"<a>\"}} {{.Spec}}",
        "eb &lt;a&gt; {[{80} {443}]}",
    );
    check(
        "{{range .Spec.Ports}}{{if eq .Port 443}}{{break}}{{end}}{{.Port}}{{end}}",
        "80",
    );
    check(
        "{{index .Spec.Ports 9}}",
        "template: :1:2: executing \"\" at <index .Spec.Ports 9>: error calling index: index out of range: 9",
    );
}

#[test]
fn control() {
    check(
        "{{if .Empty}}x{{else if eq .Count 3}}three{{else}}z{{end}}",
        "three",
    );
    check("{{range .Spec.Ports}}{{.Port}} {{end}}", "80 443 ");
    check(
        "{{range $k, $v := .Labels}}{{$k}}={{$v}},{{end}}",
        "a=1,b=2,",
    );
    check("{{with .Spec}}{{len .Ports}}{{end}}{{$.Name}}", "2web");
    check(
        "a {{- /* gone */ -}} b",
        "a {{- /* gone */ -}} b"
            .replace("{{- /* gone */ -}}", "")
            .replace("a  b", "ab")
            .as_str(),
    );
}

#[test]
fn mistakes_are_told() {
    check("{{.Name", "template: :1: unclosed action");
    check(
        "{{nope .Name}}",
        "template: :1: function \"nope\" not defined",
    );
    check("{{if .Name}}", "template: :1: unexpected EOF");
    check("{{end}}", "template: :1: unexpected {{end}}");
}
