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
        ("\"%[2]d %[1]d\" 1 2", "2 1"),
        (
            "\"%[3]*.[2]*[1]f|%[5]d|%[2]d %d|%[x]d|%[1]\" 12.0 2 6",
            " 12.00|%!d(BADINDEX)|2 6|%!d(BADINDEX)|%!(NOVERB)",
        ),
        ("\"%*d|%-*d|%.*f\" 5 42 5 42 2 3.14159", "   42|42   |3.14"),
        ("\"%*d|%6.2f%%\" \"a\" 1 12.345", "%!(BADWIDTH)1| 12.35%"),
        (
            "\"%q %+q %#q %# x % X\" \"a`\\n\" \"é\" \"ab\" \"hi\" \"hi\"",
            "\"a`\\n\" \"\\u00e9\" `ab` 0x68 0x69 68 69",
        ),
        (
            "\"%g|%G|%v|%.3g|%g\" 1e21 1e-7 1e6 1234.5 100000.0",
            "1e+21|1E-07|1e+06|1.23e+03|100000",
        ),
        (
            "\"%.3d|%8.3d|%.0d|%+05d|%-05d|\" 5 5 0 12 12",
            "005|     005||+0012|12   |",
        ),
        (
            "\"%5s|%05s|%.2s|%03c|%5t\" \"ab\" \"ab\" \"abc\" 65 true",
            "   ab|000ab|ab|00A| true",
        ),
        (
            "\"%#U %c %x %#v\" 233 233 -255 \"a\"",
            "U+00E9 'é' é -ff \"a\"",
        ),
        ("\"%v %s\" nil nil", "<nil> %!s(<nil>)"),
        ("\"%3d\" \"a\"", "%!d(string=  a)"),
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
    check("{{range -1}}x{{else}}none{{end}}", "none");
    check(
        "{{$k := 0}}{{$v := 0}}{{range $k, $v = .Labels}}{{end}}{{$k}}{{$v}}",
        "b2",
    );
    check("{{$x := 7}}{{range $x = 3}}{{end}}{{$x}}", "2");
    check("a \t\r\n{{- \"x\" -}}\n\t\r\n b {{-\t1\r-}}  c", "axb1c");
    check("a\u{a0}{{- 1 -}}\u{a0}b", "a\u{a0}1\u{a0}b");
    check("a {{-3}}", "a -3");
    check(
        "{{define \"t\"}} {{end}}{{define \"t\"}}x{{end}}{{template \"t\"}}",
        "x",
    );
    check("a {{- /* gone */ -}} b", "ab");
    check(
        "{{define \"t\"}}<{{.}}>{{end}}{{template \"t\" .Name}}",
        "<web>",
    );
    check("{{block \"b\" .Count}}[{{.}}]{{end}}", "[3]");
}

#[test]
fn literals_are_gos() {
    check(
        "{{1_000}} {{017}} {{0o17}} {{0b11}} {{.5}} {{1e19}} {{0x_1}}",
        "1000 15 15 3 0.5 1e+19 1",
    );
    check(
        "{{-9223372036854775808}} {{-0x8000000000000000}}",
        "-9223372036854775808 -9223372036854775808",
    );
    check(
        "{{eq 9007199254740993 9007199254740992}} {{lt 9007199254740992 9007199254740993}}",
        "false true",
    );
    check("{{\"\\xc3\\xa9\\101\"}} {{'\\''}} {{'\\x41'}}", "éA 39 65");
    check("{{\"\\xff\"}}", "\u{fffd}");
}

#[test]
fn functions_are_gos() {
    check(
        "{{eq 1 2 1}} {{eq nil nil}} {{eq nil 1}} {{eq .Labels nil}} {{eq 1 1 \"a\"}}",
        "true true false false true",
    );
    check(
        "{{print nil 1}} {{json 1.0}} {{json 1e30}} {{json \"<\\u2028\"}}",
        "<nil> 1 1 1e+30 \"<\\u2028\"",
    );
    check(
        "{{upper \"éß\"}} {{title \"éa foo-bar a_b\"}}",
        "Éß Éa Foo-Bar A_b",
    );
    check(
        "{{truncate \"abc\" 2}} {{truncate \"éé\" 3}} {{pad \"\" -1 2}}|",
        "ab é |",
    );
    for (template, expected) in [
        (
            "truncate \"abc\" -1",
            "runtime error: slice bounds out of range [:-1]",
        ),
        ("pad \"abc\" -1 2", "strings: negative Repeat count"),
        ("lt 1 2.0", "incompatible types for comparison"),
        ("eq \"a\" 1 \"a\"", "incompatible types for comparison"),
        ("lt nil nil", "invalid type for comparison"),
        ("slice \"abcd\" 1 2 3", "cannot 3-index slice a string"),
        ("index \"abc\" 3", "reflect: string index out of range"),
        ("call nil", "call of nil"),
        (
            "len nil",
            "reflect: call of reflect.Value.Type on zero Value",
        ),
    ] {
        let name = template.split(' ').next().unwrap();
        check(
            &format!("{{{{{template}}}}}"),
            &format!(
                "template: :1:2: executing \"\" at <{template}>: error calling {name}: {expected}"
            ),
        );
    }
}

/// Whatever a template asks for, the thread that renders it has room for it.
#[test]
fn what_nests_deep_is_refused() {
    let nested = |count: usize, inner: &str| {
        format!(
            "{}{inner}{}",
            "{{if 1}}".repeat(count),
            "{{end}}".repeat(count)
        )
    };
    let endless = format!(
        "{{{{define \"a\"}}}}{}{{{{end}}}}{{{{template \"a\"}}}}",
        nested(60, "{{template \"a\"}}")
    );
    check_wrong(
        &endless,
        &format!(
            "{}: executing \"a\" at <{{{{template \"a\"}}}}>: exceeded maximum template depth (256)",
            14 + 60 * 8 + 11
        ),
    );
    for deep in [
        nested(5000, ""),
        format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000)),
        format!("{{{{if 1}}}}{}{{{{end}}}}", "{{else if 1}}".repeat(5000)),
    ] {
        check_wrong(&deep, " the template nests too deep");
    }
    check(&nested(60, "x"), "x");
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
