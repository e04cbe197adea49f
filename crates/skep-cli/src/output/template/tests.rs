use serde_json::json;

use super::*;

fn shown(rendered: Result<String, TemplateError>) -> String {
    rendered.unwrap_or_else(|error| error.to_string())
}

fn check(template: &str, expected: &str) {
    let object = json!({
        "Name": "web", "Count": 3, "Empty": "", "Labels": {"a": "1", "b": "2"},
        "Spec": {"Ports": [{"Port": 80}, {"Port": 443}]},
    });
    let result = Template::compile(template).and_then(|template| template.render(&object, ""));
    assert_eq!(shown(result), expected, "{template}");
}

/// The same without `executing "" ` and what comes before it.
fn check_wrong(template: &str, expected: &str) {
    let result = Template::compile(template)
        .and_then(|template| template.render(&service(), "swarm.Service"));
    let text = result.unwrap_err().to_string();
    let text = text
        .trim_start_matches("template: :1:")
        .trim_start_matches("template: :");
    assert_eq!(text.replace(" executing \"\"", ""), expected, "{template}");
}

fn service() -> serde_json::Value {
    json!({
        "ID": "id1", "Version": {"Index": 14},
        "CreatedAt": "2026-11-28T09:26:21.940Z", "UpdatedAt": "2026-11-28T09:26:22Z",
        "Spec": {
            "Name": "web", "Labels": {"a": "b"},
            "Mode": {"Replicated": {"Replicas": 3}},
            "TaskTemplate": {"ContainerSpec": {"Image": "nginx", "StopGracePeriod": 90_000_000_000_u64,
                "Secrets": [{"File": {"Name": "k", "UID": "0", "GID": "0", "Mode": 256}, "SecretID": "s1"}]}},
            "UpdateConfig": {"Parallelism": 1, "Delay": 1_500_000, "FailureAction": "pause"},
        },
        "Endpoint": {"Spec": {"Mode": "vip"}, "Ports": [{"Protocol": "tcp", "TargetPort": 80, "PublishedPort": 81}]},
    })
}

fn check_service(template: &str, expected: &str) {
    let compiled = Template::compile(template);
    let result = compiled.and_then(|template| template.render(&service(), "swarm.Service"));
    assert_eq!(shown(result), expected, "{template}");
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
    check("{{join (split \"a,b\" \",\") \"+\"}}", "a+b");
    check(
        "{{.Missing}}",
        "template: :1:2: executing \"\" at <.Missing>: map has no entry for key \"Missing\"",
    );
    check(
        "{{.Spec.Ports.Nope}}",
        "template: :1:7: executing \"\" at <.Spec.Ports.Nope>: can't evaluate field Nope in type []interface {}",
    );
    check(
        "{{.Health}} {{if .Health}}x{{else}}none{{end}} {{.Binds}} {{.Err}}",
        "<nil> none [] ",
    );
    check(
        "{{slice .Name 1 3}} {{html \"<a>\"}} {{js \"'x'\"}} {{.Spec}}",
        "eb &lt;a&gt; \\'x\\' {[{80} {443}]}",
    );
    check(
        "{{range .Spec.Ports}}{{if eq .Port 443}}{{break}}{{end}}{{.Port}}{{end}}",
        "80",
    );
    check(
        "{{index .Spec.Ports 9}}",
        "template: :1:2: executing \"\" at <index .Spec.Ports 9>: error calling index: index out of range: 9",
    );
    check(
        "{{0x10}} {{1.5}} {{1e3}} {{-3}} {{'a'}} {{`r`}}",
        "16 1.5 1000 -3 97 r",
    );
    check(
        "{{print \"a\" 1 2 \"b\" \"c\"}}",
        "a1 2b c".replace("b c", "bc").as_str(),
    );
}

#[test]
fn printf_is_gos() {
    for (format, expected) in [
        ("\"%-5s|%d\" .Name .Count", "web  |3"),
        (
            "\"%q %x %X %o %b %c %U\" \"a\" 255 255 8 5 65 65",
            "\"a\" ff FF 10 101 A U+0041",
        ),
        (
            "\"%05d|%+d|%.2f|%6.1f\" 42 3 1.5 2.25",
            "00042|+3|1.50|   2.2",
        ),
        ("\"%d\" \"a\"", "%!d(string=a)"),
        ("\"%s\" 1", "%!s(int=1)"),
        ("\"%s\"", "%!s(MISSING)"),
        ("\"%s\" \"a\" \"b\"", "a%!(EXTRA string=b)"),
        ("\"%T %T %t\" .Name 1 true", "string int true"),
        ("\"%z%%\" 1", "%!z(int=1)%"),
        ("\"%\"", "%!(NOVERB)"),
    ] {
        check(&format!("{{{{printf {format}}}}}"), expected);
    }
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
    check("{{with $x := .Name}}{{$x}}{{end}}", "web");
    check("{{$a := 1}}{{if true}}{{$a = 2}}{{end}}{{$a}}", "2");
    check("{{range 3}}{{.}}{{end}}", "012");
    check("a {{- /* gone */ -}} b", "ab");
    check(
        "{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .Name}}",
        "<web>",
    );
    check("{{block \"b\" .Count}}[{{.}}]{{end}}", "[3]");
}

#[test]
fn types_are_gos() {
    check_service("{{.CreatedAt}}", "2026-11-28 09:26:21.94 +0000 UTC");
    check_service(
        "{{.Meta.Version.Index}} {{.Version}} {{.Spec.Annotations.Name}}",
        "14 14 web",
    );
    check_service(
        "{{.Spec.Mode.Replicated.Replicas}} {{.Spec.Mode.Global}}",
        "3 <no value>".replace("<no value>", "<nil>").as_str(),
    );
    check_service(
        "{{with .Spec.TaskTemplate.ContainerSpec}}{{.StopGracePeriod}} {{.Env}} {{.TTY}}{{range .Secrets}} {{.File.Mode}}{{end}}{{end}}",
        "1m30s [] false -r--------",
    );
    check_service(
        "{{.Spec.UpdateConfig.Delay}} {{.Spec.UpdateConfig.Monitor}}",
        "1.5ms 0s",
    );
    check_service("{{.Endpoint}}", "{{vip []} [{ tcp 80 81 }] []}");
    check_service(
        "{{.Spec.Labels}} {{.Spec.Labels.a}} {{.Spec.Labels.z}}",
        "map[a:b] b <no value>",
    );
    check_service(
        "{{json .Spec.Labels}}{{range .Endpoint.Ports}} {{.PublishedPort}}{{end}}",
        "{\"a\":\"b\"} 81",
    );
}

#[test]
fn mistakes_are_told() {
    for (template, expected) in [
        ("{{.Name", " unclosed action"),
        ("{{.", " illegal number syntax: \".\""),
        ("{{.ID}", " bad character U+007D '}'"),
        ("{{.ID!}}", " bad character U+0021 '!'"),
        ("{{.ID.}}", " unexpected <.> in operand"),
        ("{{..ID}}", " unexpected . after term \".\""),
        ("{{nope .Name}}", " function \"nope\" not defined"),
        ("{{if .Name}}", " unexpected EOF"),
        ("{{if}}x{{end}}", " missing value for if"),
        ("{{}}", " missing value for command"),
        ("{{end}}", " unexpected {{end}}"),
        ("{{end .ID}}", " unexpected \".ID\" in end"),
        (
            "{{if .ID}}x{{else}}y{{else}}z{{end}}",
            " expected end; found {{else}}",
        ),
        ("{{break}}", " {{break}} outside {{range}}"),
        ("{{$y}}", " undefined variable \"$y\""),
        ("{{(.ID}}", " unclosed left paren"),
        ("{{.ID)}}", " unexpected right paren"),
        ("{{\"a}}", " unterminated quoted string"),
        ("a{{/* b", " unclosed comment"),
        ("{{| .ID}}", " unexpected \"|\" in command"),
        (
            "{{template \"no\"}}",
            "11: at <{{template \"no\"}}>: template \"no\" not defined",
        ),
        ("{{nil}}", "2: at <nil>: nil is not a command"),
        (
            "{{1 2}}",
            "2: at <1>: can't give argument to non-function 1",
        ),
        (
            "{{.ID 1}}",
            "2: at <.ID>: ID has arguments but cannot be invoked as function",
        ),
        (
            "{{.Nope}}",
            "2: at <.Nope>: can't evaluate field Nope in type swarm.Service",
        ),
        (
            "{{.Spec.Nope}}",
            "7: at <.Spec.Nope>: can't evaluate field Nope in type swarm.ServiceSpec",
        ),
        (
            "{{.Spec.Name.X}}",
            "7: at <.Spec.Name.X>: can't evaluate field X in type string",
        ),
        (
            "{{.UpdateStatus.State}}",
            "15: at <.UpdateStatus.State>: nil pointer evaluating *swarm.UpdateStatus.State",
        ),
        (
            "{{len .}}",
            "2: at <len .>: error calling len: len of type swarm.Service",
        ),
        (
            "{{join .ID \",\"}}",
            "7: at <.ID>: wrong type for value; expected []string; got string",
        ),
        (
            "{{upper .Spec.UpdateConfig.Parallelism}}",
            "13: at <.Spec.UpdateConfig.Parallelism>: wrong type for value; expected string; got uint64",
        ),
        ("{{upper 1}}", "8: at <1>: expected string; found 1"),
        (
            "{{upper}}",
            "2: at <upper>: wrong number of args for upper: want 1 got 0",
        ),
        (
            "{{truncate .ID}}",
            "2: at <truncate>: wrong number of args for truncate: want 2 got 1",
        ),
        (
            "{{printf}}",
            "2: at <printf>: wrong number of args for printf: want at least 1 got 0",
        ),
        (
            "{{eq 1}}",
            "2: at <eq 1>: error calling eq: missing argument for comparison",
        ),
        (
            "{{eq 1 \"a\"}}",
            "2: at <eq 1 \"a\">: error calling eq: incompatible types for comparison",
        ),
        (
            "{{call .ID}}",
            "2: at <call .ID>: error calling call: non-function .ID of type string",
        ),
    ] {
        check_wrong(template, expected);
    }
}
