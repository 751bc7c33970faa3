//! Valid answers of GitLab's, made hostile in one place.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

/// Stands for bytes that no JSON writer would write; no sample holds it.
const RAW: &str = "\u{e000}";

/// A change of one place in an answer.
#[derive(Clone, Debug)]
pub(crate) struct Mutation {
    /// Which place below the one that may change.
    place: Index,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Another value.
    Replace(Value),
    /// These bytes, as they are.
    Raw(Vec<u8>),
    /// A field or item less.
    Remove,
    /// A field more, in an object.
    Extra(String, Value),
    /// So many lists around it.
    Nest(usize),
    /// Twice, in a list.
    Repeat,
}

/// Values of every kind, few of them right anywhere.
fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![
        select(vec![
            json!(0),
            json!(-0.0),
            json!(-1),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(1e19),
            json!(1e308),
            json!(-1e308),
            json!(5e-324),
            json!(0.1),
        ]),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
    ];
    let times = [
        "",
        "yesterday",
        "2026-01-05",
        "2026-13-45T99:99:99Z",
        "-009999-01-01T00:00:00Z",
        "9999-12-31T23:59:60Z",
        "2026-01-05T12:00:00+99:99",
        "gid://gitlab/Ci::Pipeline/",
        "gid://gitlab/Ci::Pipeline/18446744073709551616",
        "gid://",
        "refs/merge-requests/99999999999999999999/head",
        "NaN",
        "-inf",
        "1e999",
        "\u{0}\u{7}\"\\\n\u{2028}{}",
    ];
    let text = prop_oneof![
        select(times.to_vec()).prop_map(str::to_owned),
        // Never what stands for bytes that could not be read.
        any::<String>().prop_map(|text| text.replace('\u{fffd}', "?")),
        Just("long".repeat(5_000)),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number,
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Any change.
pub(crate) fn mutation() -> impl Strategy<Value = Mutation> {
    let raw: Vec<Vec<u8>> = vec![
        b"123456789012345678901234567890".to_vec(),
        b"\"\xff\"".to_vec(),
        b"\"a\xc3\"".to_vec(),
        [b"[".repeat(90), b"]".repeat(90)].concat(),
        [b"{\"a\":".repeat(90), b"1".to_vec(), b"}".repeat(90)].concat(),
        b"{\"id\":1,\"id\":2}".to_vec(),
    ];
    let kind = prop_oneof![
        6 => value().prop_map(Kind::Replace),
        4 => select(raw).prop_map(Kind::Raw),
        2 => Just(Kind::Remove),
        2 => (any::<String>(), value()).prop_map(|(key, value)| Kind::Extra(key, value)),
        1 => (1_usize..90).prop_map(Kind::Nest),
        1 => Just(Kind::Repeat),
    ];
    (any::<Index>(), kind).prop_map(|(place, kind)| Mutation { place, kind })
}

impl Mutation {
    /// The answer's bytes with the change somewhere at or below `pointer`, and whether it is a fault: not when the
    /// place itself was removed, is there twice, or is read as null.
    pub(crate) fn apply(&self, answer: &Value, pointer: &str) -> (Vec<u8>, bool) {
        let mut answer = answer.clone();
        let mut places = Vec::new();
        let within = answer.pointer(pointer).expect("the place is there");
        collect(within, pointer.to_owned(), &mut places);
        let place = self.place.get(&places).clone();
        let is_fault = self.change(&mut answer, &place) || place != pointer;
        let text = answer.to_string().into_bytes();
        let bytes = match &self.kind {
            Kind::Raw(bytes) => replace(&text, format!("\"{RAW}\"").as_bytes(), bytes),
            Kind::Nest(depth) => {
                let open = replace(
                    &text,
                    format!("\"{RAW}open\",").as_bytes(),
                    &b"[".repeat(*depth),
                );
                let close = format!(",\"{RAW}close\"");
                replace(&open, close.as_bytes(), &b"]".repeat(*depth))
            }
            _ => text,
        };
        (bytes, is_fault)
    }

    fn change(&self, answer: &mut Value, place: &str) -> bool {
        let Some((parent, key)) = place.rsplit_once('/') else {
            match &self.kind {
                Kind::Replace(new) => *answer = new.clone(),
                Kind::Raw(_) => *answer = json!(RAW),
                Kind::Nest(_) => *answer = nested(answer.take()),
                // There is nothing around it.
                Kind::Extra(..) | Kind::Remove | Kind::Repeat => {}
            }
            return true;
        };
        let key = key.replace("~1", "/").replace("~0", "~");
        let parent = answer.pointer_mut(parent).expect("it was found");
        let value = match parent {
            Value::Object(fields) => &mut fields[&key],
            Value::Array(items) => {
                let index: usize = key.parse().expect("a list's index");
                match self.kind {
                    Kind::Remove => {
                        items.remove(index);
                        return false;
                    }
                    Kind::Repeat => {
                        items.insert(index, items[index].clone());
                        return false;
                    }
                    _ => &mut items[index],
                }
            }
            other => panic!("no parent: {other}"),
        };
        match &self.kind {
            Kind::Replace(new) => *value = new.clone(),
            Kind::Raw(_) => {
                *value = json!(RAW);
                return true;
            }
            Kind::Extra(name, new) => match value {
                Value::Object(fields) => drop(fields.insert(name.clone(), new.clone())),
                _ => *value = new.clone(),
            },
            Kind::Nest(_) => *value = nested(value.take()),
            Kind::Remove | Kind::Repeat => {
                if let Value::Object(fields) = parent {
                    fields.shift_remove(&key);
                }
                return true;
            }
        }
        !value.is_null()
    }
}

/// `value` between the marks of lists around it.
fn nested(value: Value) -> Value {
    json!([format!("{RAW}open"), value, format!("{RAW}close")])
}

fn collect(value: &Value, at: String, places: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                collect(value, format!("{at}/{key}"), places);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                collect(value, format!("{at}/{index}"), places);
            }
        }
        _ => {}
    }
    places.push(at);
}

fn replace(text: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = text
        .windows(old.len())
        .position(|window| window == old)
        .expect("the place is written");
    [&text[..at], new, &text[at + old.len()..]].concat()
}
