//! Variables in the values of a Compose file (Compose specification, "Interpolation").

/// How deep a default may hold another one.
const DEEPEST: usize = 16;
/// The longest result in bytes.
const LONGEST: usize = 1 << 20;

/// Replaces `$NAME`, `${NAME}` and the forms with a default, an error or a replacement; `$$` stands for `$`. A `$` that
/// begins nothing of the kind stays. A variable that is not set and has no default is an error: Compose itself takes it as
/// empty and warns.
pub(super) fn interpolate(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut reader = Reader { rest: text, lookup, result_length: 0 };
    reader.text(false, true, 0)
}

struct Reader<'text, 'lookup> {
    rest: &'text str,
    lookup: &'lookup dyn Fn(&str) -> Option<String>,
    result_length: usize,
}

impl<'text> Reader<'text, '_> {
    /// Text up to the end, or up to the brace that closes the expression it stands in. Where it is not `wanted` nothing is
    /// looked up and no missing variable matters.
    fn text(&mut self, braced: bool, wanted: bool, depth: usize) -> Result<String, String> {
        let mut result = String::new();
        // Braces that are part of the text come in pairs: JSON can be a default.
        let mut braces = 0;
        while let Some(next) = self.rest.chars().next() {
            match next {
                '}' if braced && braces == 0 => break,
                '$' => {
                    let value = self.dollar(wanted, depth)?;
                    self.result_length += value.len();
                    result.push_str(&value);
                }
                _ => {
                    braces += i32::from(next == '{') - i32::from(next == '}');
                    self.rest = &self.rest[next.len_utf8()..];
                    self.result_length += next.len_utf8();
                    result.push(next);
                }
            }
            if self.result_length > LONGEST {
                return Err(format!("longer than {LONGEST} bytes with its variables replaced"));
            }
        }
        Ok(result)
    }

    fn dollar(&mut self, wanted: bool, depth: usize) -> Result<String, String> {
        self.rest = &self.rest[1..];
        if let Some(rest) = self.rest.strip_prefix('$') {
            self.rest = rest;
            return Ok("$".to_owned());
        }
        if let Some(rest) = self.rest.strip_prefix('{') {
            let begin = self.rest;
            self.rest = rest;
            return self.braced(begin, wanted, depth);
        }
        match self.name() {
            "" => Ok("$".to_owned()),
            name => self.value(name, wanted),
        }
    }

    fn braced(&mut self, begin: &str, wanted: bool, depth: usize) -> Result<String, String> {
        let shown = || format!("\"${}\"", begin.chars().take(40).collect::<String>());
        if depth >= DEEPEST {
            return Err(format!("{} is nested more than {DEEPEST} deep", shown()));
        }
        let name = self.name();
        if name.is_empty() {
            return Err(format!("{} does not begin with the name of a variable; write $$ for a $", shown()));
        }
        const OPERATORS: [&str; 7] = ["}", ":-", "-", ":?", "?", ":+", "+"];
        let Some(operator) = OPERATORS.into_iter().find(|operator| self.rest.starts_with(operator)) else {
            return Err(format!("{} is none of the forms ${{A}}, :-, -, :?, ?, :+ and +", shown()));
        };
        self.rest = &self.rest[operator.len()..];
        if operator == "}" {
            return self.value(name, wanted);
        }
        let value = if wanted { (self.lookup)(name) } else { None };
        let value = value.filter(|value| !(operator.starts_with(':') && value.is_empty()));
        let on_set = operator.ends_with('+');
        let operand_wanted = wanted && value.is_some() == on_set;
        let operand = self.text(true, operand_wanted, depth + 1)?;
        self.rest = self.rest.strip_prefix('}').ok_or_else(|| format!("{} has no closing brace", shown()))?;
        match (operator.trim_start_matches(':'), value) {
            _ if !wanted => Ok(String::new()),
            ("+", None) => Ok(String::new()),
            ("?", None) if operand.is_empty() => Err(format!("variable {name} is required and not set")),
            ("?", None) => Err(format!("variable {name} is required and not set: {operand}")),
            ("-" | "?", Some(value)) => Ok(value),
            _ => Ok(operand),
        }
    }

    /// `[_a-zA-Z][_a-zA-Z0-9]*`, or nothing.
    fn name(&mut self) -> &'text str {
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let length = match self.rest.bytes().next() {
            Some(first) if !first.is_ascii_digit() => self.rest.bytes().take_while(|byte| word(byte)).count(),
            _ => 0,
        };
        let (name, rest) = self.rest.split_at(length);
        self.rest = rest;
        name
    }

    fn value(&self, name: &str, wanted: bool) -> Result<String, String> {
        if !wanted {
            return Ok(String::new());
        }
        let value = (self.lookup)(name);
        value.ok_or_else(|| format!("variable {name} is not set; set it, or give a default: ${{{name}:-}}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<String, String> {
        interpolate(text, &|name| match name {
            "SET" => Some("value".into()),
            "EMPTY" => Some(String::new()),
            "_x1" => Some("one".into()),
            "DOLLAR" => Some("$SET".into()),
            _ => None,
        })
    }

    #[test]
    fn the_forms_of_the_specification() {
        for (text, expected) in [
            ("plain", "plain"),
            ("$SET", "value"),
            ("${SET}", "value"),
            ("a${SET}b$SET.c", "avaluebvalue.c"),
            ("${SET:-default}", "value"),
            ("${SET-default}", "value"),
            ("${EMPTY:-default}", "default"),
            ("${EMPTY-default}", ""),
            ("${UNSET:-default}", "default"),
            ("${UNSET-default}", "default"),
            ("${UNSET:-}", ""),
            ("${SET:?error}", "value"),
            ("${EMPTY?error}", ""),
            ("${SET:+replacement}", "replacement"),
            ("${EMPTY:+replacement}", ""),
            ("${EMPTY+replacement}", "replacement"),
            ("${UNSET:+replacement}", ""),
            ("${UNSET+replacement}", ""),
            ("${UNSET:-${SET}}", "value"),
            ("${UNSET:-$SET}", "value"),
            ("${UNSET:-${UNSET:-default}}", "default"),
            ("${UNSET:-${EMPTY:-a${SET}b}}", "avalueb"),
            ("${SET:-${UNSET:?never asked for}}", "value"),
            ("${SET:-$UNSET}", "value"),
            ("${UNSET:-{\"a\": {\"b\": 1}}}", "{\"a\": {\"b\": 1}}"),
            ("$$SET", "$SET"),
            ("$${SET}", "${SET}"),
            ("$$$SET", "$value"),
            ("${UNSET:-$$}", "$"),
            ("$_x1", "one"),
            ("$DOLLAR", "$SET"),
            ("cost: 5$", "cost: 5$"),
            ("$1 and $ and $.", "$1 and $ and $."),
            ("{}", "{}"),
            ("}", "}"),
            ("${UNSET:-a b-c:d?e}", "a b-c:d?e"),
            ("\u{e9}$SET\u{e9}", "\u{e9}value\u{e9}"),
        ] {
            assert_eq!(of(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, expected) in [
            ("$UNSET", "variable UNSET is not set; set it, or give a default: ${UNSET:-}"),
            ("${UNSET}", "variable UNSET is not set; set it, or give a default: ${UNSET:-}"),
            ("${UNSET:?no password}", "variable UNSET is required and not set: no password"),
            ("${EMPTY:?}", "variable EMPTY is required and not set"),
            ("${UNSET?needs $SET}", "variable UNSET is required and not set: needs value"),
            ("${", "\"${\" does not begin with the name of a variable; write $$ for a $"),
            ("${}", "\"${}\" does not begin with the name of a variable; write $$ for a $"),
            ("${1A}", "\"${1A}\" does not begin with the name of a variable; write $$ for a $"),
            ("${SET", "\"${SET\" is none of the forms ${A}, :-, -, :?, ?, :+ and +"),
            ("${SET/a/b}", "\"${SET/a/b}\" is none of the forms ${A}, :-, -, :?, ?, :+ and +"),
            ("${UNSET:-a", "\"${UNSET:-a\" has no closing brace"),
        ] {
            assert_eq!(of(text), Err(expected.to_owned()), "{text}");
        }
        let deep = format!("{}{}", "${UNSET:-".repeat(20), "}".repeat(20));
        assert!(of(&deep).unwrap_err().contains("nested more than 16 deep"));
        let long = interpolate(&"$A".repeat(600), &|_| Some("x".repeat(2048)));
        assert_eq!(long.unwrap_err(), "longer than 1048576 bytes with its variables replaced");
    }
}
