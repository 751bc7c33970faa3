//! YAML whose text stays as it is: scalars with the place where they stand, so that single ones can be
//! replaced and everything else, comments included, is kept.

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::MigrateError;

/// A text in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scalar {
    pub value: String,
    /// Bytes of the file, quotes and indicators included.
    pub start: usize,
    pub end: usize,
    pub line: usize,
    is_block: bool,
}

/// A map: its texts by key, and all texts somewhere below each other key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Map {
    pub texts: Vec<(String, Scalar)>,
    pub inside: Vec<(String, Vec<Scalar>)>,
}

impl Map {
    /// The text of a key.
    pub fn text(&self, key: &str) -> Option<&Scalar> {
        let found = self.texts.iter().find(|(known, _)| known == key);
        found.map(|(_, scalar)| scalar)
    }

    /// The texts below a key.
    pub fn below(&self, key: &str) -> &[Scalar] {
        let found = self.inside.iter().find(|(known, _)| known == key);
        found.map_or(&[], |(_, scalars)| scalars)
    }
}

/// Every map of every document, inner ones first.
pub(super) fn maps(file: &str, text: &str) -> Result<Vec<Map>, MigrateError> {
    let mut walk = Walk {
        text,
        places: text
            .char_indices()
            .map(|(at, _)| at)
            .chain([text.len()])
            .collect(),
        open: Vec::new(),
        found: Vec::new(),
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| MigrateError::Syntax {
            file: format!("{file}:{}", error.marker().line()),
            format: "YAML",
            reason: error.info().to_owned(),
        })?;
        walk.event(event, span);
    }
    Ok(walk.found)
}

enum Open {
    Map { map: Map, key: Option<String> },
    List(Vec<Scalar>),
}

struct Walk<'a> {
    text: &'a str,
    /// The byte of each character.
    places: Vec<usize>,
    open: Vec<Open>,
    found: Vec<Map>,
}

impl Walk<'_> {
    fn event(&mut self, event: Event<'_>, span: Span) {
        match event {
            Event::MappingStart(..) => self.open.push(Open::Map {
                map: Map::default(),
                key: None,
            }),
            Event::SequenceStart(..) => self.open.push(Open::List(Vec::new())),
            Event::MappingEnd | Event::SequenceEnd => self.close(),
            Event::Scalar(value, style, ..) => {
                let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                self.scalar(value.into_owned(), span, is_block);
            }
            Event::Alias(_) => self.alias(),
            _ => {}
        }
    }

    /// An alias stands for something that is found where it is written.
    fn alias(&mut self) {
        if let Some(Open::Map { key, .. }) = self.open.last_mut() {
            *key = None;
        }
    }

    fn scalar(&mut self, value: String, span: Span, is_block: bool) {
        let byte = |index: usize| self.places.get(index).copied().unwrap_or(self.text.len());
        let (start, end) = (byte(span.start.index()), byte(span.end.index()));
        let (start, end) = match is_block {
            true => (self.indicator(start), end),
            false => (start, end),
        };
        let scalar = Scalar {
            value,
            start,
            end,
            line: span.start.line(),
            is_block,
        };
        match self.open.last_mut() {
            Some(Open::Map { map, key }) => match key.take() {
                None => *key = Some(scalar.value),
                Some(name) => map.texts.push((name, scalar)),
            },
            Some(Open::List(scalars)) => scalars.push(scalar),
            None => {}
        }
    }

    /// Where a block begins: at its `|` or `>`, whatever the parser calls its start.
    fn indicator(&self, start: usize) -> usize {
        if self.text[start..].starts_with(['|', '>']) {
            return start;
        }
        let before = &self.text[..start];
        before.rfind(['|', '>']).unwrap_or(start)
    }

    fn close(&mut self) {
        let (scalars, map) = match self.open.pop() {
            Some(Open::Map { map, .. }) => {
                let own = map.texts.iter().map(|(_, scalar)| scalar.clone());
                let inner = map
                    .inside
                    .iter()
                    .flat_map(|(_, scalars)| scalars.iter().cloned());
                (own.chain(inner).collect(), Some(map))
            }
            Some(Open::List(scalars)) => (scalars, None),
            None => return,
        };
        self.found.extend(map);
        match self.open.last_mut() {
            Some(Open::Map { map, key }) => {
                if let Some(name) = key.take() {
                    map.inside.push((name, scalars));
                }
            }
            Some(Open::List(outer)) => outer.extend(scalars),
            None => {}
        }
    }
}

/// Replaces scalars of a text by other values.
pub(super) fn replace(text: &str, mut new: Vec<(Scalar, String)>) -> String {
    new.sort_by_key(|(scalar, _)| scalar.start);
    let (mut out, mut end) = (String::new(), 0);
    for (scalar, value) in new {
        if scalar.start < end {
            continue;
        }
        out.push_str(&text[end..scalar.start]);
        out.push_str(&quoted(&value));
        if scalar.is_block {
            // A block ends with its last line.
            out.push('\n');
        }
        end = match scalar.is_block {
            true => block_end(text, scalar.end),
            false => scalar.end,
        };
    }
    out.push_str(&text[end..]);
    out
}

/// The start of the line behind a block: its end may lie within the blanks before the next key.
fn block_end(text: &str, end: usize) -> usize {
    let before = &text[..end];
    let line = before.rfind('\n').map_or(0, |at| at + 1);
    match text[line..end].trim().is_empty() {
        true => line,
        false => text[end..].find('\n').map_or(text.len(), |at| end + at + 1),
    }
}

/// A text as a scalar that is valid everywhere.
fn quoted(value: &str) -> String {
    match value.chars().any(char::is_control) {
        true => serde_json::Value::from(value).to_string(),
        false => format!("'{}'", value.replace('\'', "''")),
    }
}
