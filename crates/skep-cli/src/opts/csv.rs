//! `key=value,key=value`, with quotes as in CSV.

use crate::error::CliError;

/// The fields of one line of CSV.
pub fn fields(line: &str) -> Result<Vec<String>, CliError> {
    let mut all = Vec::new();
    let mut field = String::new();
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted => quoted = false,
            '"' if field.is_empty() => quoted = true,
            '"' => {
                return Err(CliError::new(format!(
                    "parse error on line 1, column {}: bare \" in non-quoted field",
                    field.len()
                )));
            }
            ',' if !quoted => all.push(std::mem::take(&mut field)),
            c => field.push(c),
        }
    }
    if quoted {
        return Err(CliError::new(
            "parse error on line 1: extraneous or missing \" in quoted-field",
        ));
    }
    all.push(field);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_commas() {
        assert_eq!(fields("a=1,\"b=x,y\",c=\"").unwrap_err().code, 1);
        assert_eq!(
            fields("a=1,\"b=x,\"\"y\"\"\",c").unwrap(),
            ["a=1", "b=x,\"y\"", "c"]
        );
    }
}
