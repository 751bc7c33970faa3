//! Dashboard variables (`$name`, `${name:format}`, `[[name]]`) in expressions: replaced while parsing.

use std::sync::LazyLock;
use std::time::Duration;

use promql_parser::parser::{self, Expr};
use promql_parser::util::display_duration;
use regex::Regex;

/// What a dashboard variable looks like.
static VARIABLE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"\$\{[A-Za-z_]\w*(?:[.:][^{}]*)?\}|\$[A-Za-z_]\w*|\[\[[A-Za-z_]\w*(?::\w+)?\]\]")
        .ok()
});

/// Whether a text contains a dashboard variable.
pub(super) fn has_variable(text: &str) -> bool {
    VARIABLE
        .as_ref()
        .is_some_and(|variable| variable.is_match(text))
}

/// An expression, and what stands in it for variables.
pub(super) struct Parsed {
    pub expression: Expr,
    placeholders: Vec<(String, String)>,
}

impl Parsed {
    /// Puts the variables back.
    pub fn restore(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (placeholder, variable) in &self.placeholders {
            text = text.replace(placeholder, variable);
        }
        text
    }
}

/// A variable outside of strings.
struct Found {
    start: usize,
    end: usize,
    /// Within the brackets of a range, or behind `offset`.
    is_duration: bool,
}

/// More variables than this are tried as names or as numbers all together, not each by itself.
const MOST_TRIED: usize = 6;

/// Parses an expression with variables: each outside of strings and ranges as a name or as a number,
/// whichever is valid.
pub(super) fn parse(text: &str) -> Result<Parsed, String> {
    let found = outside_strings(text);
    let plain = found.iter().filter(|one| !one.is_duration).count();
    let ways: u32 = match plain {
        0 => 1,
        many if many > MOST_TRIED => 2,
        few => 1 << few,
    };
    let mut first = None;
    for way in 0..ways {
        let is_number = |place: usize| match plain > MOST_TRIED {
            true => way == 1,
            false => way >> place & 1 == 1,
        };
        let (replaced, placeholders) = replace(text, &found, is_number);
        match parser::parse(&replaced) {
            Ok(expression) => {
                return Ok(Parsed {
                    expression,
                    placeholders,
                });
            }
            Err(reason) => first = first.or(Some(reason)),
        }
    }
    Err(first.unwrap_or_default())
}

fn replace(
    text: &str,
    found: &[Found],
    is_number: impl Fn(usize) -> bool,
) -> (String, Vec<(String, String)>) {
    let (mut out, mut end, mut plain) = (String::new(), 0, 0);
    let mut placeholders = Vec::new();
    for (index, one) in (1_u32..).zip(found) {
        let (written, shown) = if one.is_duration {
            // Odd milliseconds, which nobody writes.
            let duration = Duration::from_millis(977_000 + u64::from(index) * 1009);
            (
                format!("{}ms", duration.as_millis()),
                display_duration(&duration),
            )
        } else {
            let number = is_number(plain);
            plain += 1;
            let name = match number {
                true => format!("{}", 7_130_000_057_u64 + u64::from(index) * 101),
                false => format!("dashboard_variable_{index}_"),
            };
            (name.clone(), name)
        };
        out.push_str(text.get(end..one.start).unwrap_or_default());
        out.push_str(&written);
        let variable = text.get(one.start..one.end).unwrap_or_default();
        placeholders.push((shown, variable.to_owned()));
        end = one.end;
    }
    out.push_str(text.get(end..).unwrap_or_default());
    (out, placeholders)
}

/// Variables outside of string literals and comments.
fn outside_strings(text: &str) -> Vec<Found> {
    let Some(variable) = VARIABLE.as_ref() else {
        return Vec::new();
    };
    let strings = strings(text);
    let is_outside = |at: usize| {
        !strings
            .iter()
            .any(|(start, end)| (*start..*end).contains(&at))
    };
    let all = variable
        .find_iter(text)
        .filter(|hit| is_outside(hit.start()));
    all.map(|hit| {
        let before = text.get(..hit.start()).unwrap_or_default();
        let opened = before
            .rfind('[')
            .is_some_and(|open| !before[open..].contains(']'));
        let behind_offset = before
            .trim_end()
            .trim_end_matches('-')
            .trim_end()
            .ends_with("offset");
        Found {
            start: hit.start(),
            end: hit.end(),
            is_duration: opened || behind_offset,
        }
    })
    .collect()
}

/// Where string literals and comments stand.
fn strings(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut open: Option<(char, usize)> = None;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match open {
            None if "\"'`#".contains(c) => open = Some((c, at)),
            None => {}
            Some(_) if escaped => escaped = false,
            Some((quote, _)) if c == '\\' && quote != '`' && quote != '#' => escaped = true,
            Some((quote, start)) if c == quote && quote != '#' || quote == '#' && c == '\n' => {
                found.push((start, at + c.len_utf8()));
                open = None;
            }
            Some(_) => {}
        }
    }
    if let Some((_, start)) = open {
        found.push((start, text.len()));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_put_back_where_they_stood() {
        for text in [
            "rate(x[$__rate_interval])",
            "topk($top, x)",
            "topk(${top}, sum by ($group, b) (x))",
            "x{a=~\"$a\", b=\"[[b]]\"}",
            "x offset $back",
            "sum by ([[group]]) (increase(x[${range:text}]))",
            "max_over_time(x[1h:$step]) > $limit",
        ] {
            let parsed = parse(text).unwrap();
            let printed = parsed.restore(&parsed.expression.to_string());
            let squeezed = |text: &str| text.replace([' '], "");
            assert_eq!(squeezed(&printed), squeezed(text));
        }
    }

    #[test]
    fn what_is_no_promql_is_said() {
        assert!(parse("sum(").is_err());
        assert!(parse("x{a=~\"(\"}").is_err());
        assert!(has_variable("^$ref$") && !has_variable("^main$"));
    }
}
