//! Makes readable what is JSON but for single values that `serde_json` cannot hold.

/// Lists and objects may stand so deep within each other; `serde_json` reads 128 levels.
const MAX_DEPTH: usize = 100;

/// The same text, with null for what no number or level can hold: numbers beyond a float, and what
/// is nested too deep. Characters that cannot stand in a text become replacement characters; true
/// when there are any.
pub(super) fn mended(text: &str) -> (String, bool) {
    let mut out = String::with_capacity(text.len());
    let mut broken = false;
    let mut depth = 0_usize;
    let mut rest = text;
    let begins = |c: char| matches!(c, '"' | '-' | '[' | '{' | ']' | '}') || c.is_ascii_digit();
    while let Some(at) = rest.find(begins) {
        let (before, token) = rest.split_at(at);
        out.push_str(before);
        let length = match token.as_bytes()[0] {
            b'"' => {
                let length = string_length(token);
                broken |= push_string(&mut out, &token[..length]);
                length
            }
            b'[' | b'{' if depth == MAX_DEPTH => {
                out.push_str("null");
                nested_length(token)
            }
            byte @ (b'[' | b'{' | b']' | b'}') => {
                depth = match byte {
                    b'[' | b'{' => depth + 1,
                    _ => depth.saturating_sub(1),
                };
                out.push(char::from(byte));
                1
            }
            _ => {
                let length = number_length(token);
                let number = &token[..length];
                let huge = number.parse().is_ok_and(f64::is_infinite);
                out.push_str(if huge { "null" } else { number });
                length
            }
        };
        rest = &token[length..];
    }
    out.push_str(rest);
    (out, broken)
}

/// Writes a string, quotes included, and tells whether it held what cannot stand in a text: half
/// of a surrogate pair, or a control character that is not escaped.
fn push_string(out: &mut String, token: &str) -> bool {
    let mut broken = false;
    let mut rest = token;
    while let Some(at) = rest.find(|c: char| c == '\\' || c < ' ') {
        let (before, special) = rest.split_at(at);
        out.push_str(before);
        let length = match surrogate(special) {
            // A whole pair.
            Some(0xd800..0xdc00)
                if matches!(special.get(6..).and_then(surrogate), Some(0xdc00..0xe000)) =>
            {
                out.push_str(&special[..12]);
                12
            }
            Some(_) => {
                out.push(char::REPLACEMENT_CHARACTER);
                broken = true;
                6
            }
            None if special.starts_with('\\') => {
                // An escape is two characters, and the second may be of several bytes.
                let length = special
                    .char_indices()
                    .nth(2)
                    .map_or(special.len(), |(at, _)| at);
                out.push_str(&special[..length]);
                length
            }
            None => {
                out.push(char::REPLACEMENT_CHARACTER);
                broken = true;
                1
            }
        };
        rest = &special[length..];
    }
    out.push_str(rest);
    broken
}

/// The surrogate that `text` begins with as an escape.
fn surrogate(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let unit = u16::from_str_radix(digits, 16).ok()?;
    (0xd800..0xe000).contains(&unit).then_some(unit)
}

fn number_length(text: &str) -> usize {
    text.find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
        .unwrap_or(text.len())
}

/// Bytes of the list or object that `text` begins with.
fn nested_length(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        at += match byte {
            b'"' => string_length(&text[at..]),
            _ => 1,
        };
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// Bytes of the string that `text` begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_held_is_replaced_and_the_rest_is_kept() {
        let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
        let cases = [
            ("[1e999,-1e999,1e9,-0]", "[null,null,1e9,-0]", false),
            (r#"["1e999","]\"["]"#, r#"["1e999","]\"["]"#, false),
            (r#""\ud83e\udd8a""#, r#""\ud83e\udd8a""#, false),
            (r#""\\ud800""#, r#""\\ud800""#, false),
            (r#""a\ud800b""#, "\"a\u{fffd}b\"", true),
            (r#""\udd8a\ud83e""#, "\"\u{fffd}\u{fffd}\"", true),
            (r#""\ud83e\n""#, "\"\u{fffd}\\n\"", true),
            (r#""\ud83"#, r#""\ud83"#, false),
            ("\"a\nb\u{0}\"", "\"a\u{fffd}b\u{fffd}\"", true),
            ("\"\\é\"", "\"\\é\"", false),
            ("\"\\", "\"\\", false),
            (&deep(MAX_DEPTH), &deep(MAX_DEPTH), false),
        ];
        for (text, want, broken) in cases {
            assert_eq!(mended(text), (want.to_owned(), broken), "{text}");
        }
        let nested = format!("[{},2]", deep(100_000));
        let (text, _) = mended(&nested);
        let want = deep(MAX_DEPTH - 1).replace('1', "null");
        assert_eq!(text, format!("[{want},2]"));
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
        assert!(
            serde_json::from_str::<serde_json::Value>(&mended(&nested[..nested.len() - 9]).0)
                .is_err()
        );
    }
}
