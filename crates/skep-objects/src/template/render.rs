//! A tree and a context to text.

use super::parse::{Node, Pipeline, Term};
use super::{Context, TemplateError, Value};

pub(super) fn render(
    nodes: &[Node],
    context: &dyn Context,
    out: &mut String,
) -> Result<(), TemplateError> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Print(pipeline) => out.push_str(&print(&run(pipeline, context)?)),
            Node::If {
                condition,
                then,
                otherwise,
            } => {
                let chosen = if is_true(&run(condition, context)?) {
                    then
                } else {
                    otherwise
                };
                render(chosen, context, out)?;
            }
        }
    }
    Ok(())
}

fn run(pipeline: &Pipeline, context: &dyn Context) -> Result<Value, TemplateError> {
    let mut last = None;
    for command in pipeline {
        last = Some(call(command, last, context)?);
    }
    last.ok_or_else(|| TemplateError::Syntax("missing value for command".to_owned()))
}

fn call(
    command: &[Term],
    piped: Option<Value>,
    context: &dyn Context,
) -> Result<Value, TemplateError> {
    let [first, rest @ ..] = command else {
        return Err(TemplateError::Syntax(
            "missing value for command".to_owned(),
        ));
    };
    if let Term::Name(name) = first {
        let mut args = Vec::new();
        for term in rest {
            args.push(value(term, context)?);
        }
        args.extend(piped);
        return function(name, &args, context);
    }
    if !rest.is_empty() || piped.is_some() {
        return Err(TemplateError::Syntax(
            "can't give argument to non-function".to_owned(),
        ));
    }
    value(first, context)
}

fn value(term: &Term, context: &dyn Context) -> Result<Value, TemplateError> {
    match term {
        Term::Field(path) => context
            .field(path)
            .ok_or_else(|| TemplateError::Field(format!(".{}", path.join(".")))),
        Term::Text(text) => Ok(Value::Text(text.clone())),
        Term::Number(number) => Ok(Value::Number(*number)),
        Term::Bool(truth) => Ok(Value::Bool(*truth)),
        Term::Nested(pipeline) => run(pipeline, context),
        Term::Name(name) => function(name, &[], context),
    }
}

fn is_true(value: &Value) -> bool {
    match value {
        Value::Text(text) => !text.is_empty(),
        Value::Number(number) => *number != 0,
        Value::Bool(truth) => *truth,
        Value::Map(map) => !map.is_empty(),
        Value::List(list) => !list.is_empty(),
    }
}

/// As Go prints it.
fn print(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        Value::Map(map) => {
            let pairs: Vec<String> = map.iter().map(|(k, v)| format!("{k}:{v}")).collect();
            format!("map[{}]", pairs.join(" "))
        }
        Value::List(list) => format!("[{}]", list.join(" ")),
    }
}

fn function(name: &str, args: &[Value], context: &dyn Context) -> Result<Value, TemplateError> {
    let fail = |reason: &str| TemplateError::Call {
        function: name.to_owned(),
        reason: reason.to_owned(),
    };
    match (name, args) {
        ("index", [Value::Map(map), Value::Text(key)]) => {
            Ok(Value::Text(map.get(key).cloned().unwrap_or_default()))
        }
        ("index", [Value::List(list), Value::Number(at)]) => usize::try_from(*at)
            .ok()
            .and_then(|at| list.get(at))
            .map(|text| Value::Text(text.clone()))
            .ok_or_else(|| fail("index out of range")),
        ("join", [Value::List(list), Value::Text(separator)]) => {
            Ok(Value::Text(list.join(separator)))
        }
        ("print", args) => Ok(Value::Text(args.iter().map(print).collect())),
        ("println", args) => {
            let texts: Vec<String> = args.iter().map(print).collect();
            Ok(Value::Text(format!("{}\n", texts.join(" "))))
        }
        ("printf", [Value::Text(format), args @ ..]) => printf(format, args)
            .map(Value::Text)
            .ok_or_else(|| fail("bad format")),
        ("len", [value]) => {
            let len = match value {
                Value::Text(text) => text.len(),
                Value::Map(map) => map.len(),
                Value::List(list) => list.len(),
                Value::Number(_) | Value::Bool(_) => return Err(fail("len of a plain value")),
            };
            Ok(Value::Number(i64::try_from(len).unwrap_or(i64::MAX)))
        }
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            Ok(Value::Bool(others.iter().any(|o| is_same(first, o))))
        }
        ("ne", [a, b]) => Ok(Value::Bool(!is_same(a, b))),
        ("not", [value]) => Ok(Value::Bool(!is_true(value))),
        ("and", [.., last]) => Ok(args.iter().find(|v| !is_true(v)).unwrap_or(last).clone()),
        ("or", [.., last]) => Ok(args.iter().find(|v| is_true(v)).unwrap_or(last).clone()),
        ("index" | "join" | "printf" | "eq" | "ne" | "not" | "and" | "or", _) => {
            Err(fail("wrong arguments"))
        }
        _ => match context.function(name, args) {
            Some(outcome) => outcome.map_err(|reason| fail(&reason)),
            None => Err(TemplateError::Function(name.to_owned())),
        },
    }
}

fn is_same(a: &Value, b: &Value) -> bool {
    print(a) == print(b)
}

/// `%s %v %d %q %%`.
fn printf(format: &str, args: &[Value]) -> Option<String> {
    let mut out = String::new();
    let mut args = args.iter();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next()? {
            '%' => out.push('%'),
            's' | 'v' | 'd' => out.push_str(&print(args.next()?)),
            'q' => out.push_str(&format!("{:?}", print(args.next()?))),
            _ => return None,
        }
    }
    Some(out)
}
