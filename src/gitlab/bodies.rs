//! What this program makes of GitLab's answers, without a server: for property tests and fuzzing
//! only.

pub use super::graphql::bodies::{GraphQlAnswer, graphql};
pub use super::rest::bodies::{RestAnswer, rest};

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Every item, and every list's owner, as `Debug` writes them.
    pub items: Vec<String>,
    /// A sentence for each that was left out.
    pub skipped: Vec<String>,
}

impl Reading {
    /// Notes an item.
    pub(super) fn item(&mut self, item: &impl std::fmt::Debug) {
        self.items.push(format!("{item:?}"));
    }

    /// Notes all of a page.
    pub(super) fn page<T: std::fmt::Debug>(&mut self, page: super::model::Page<T>) {
        for item in &page.items {
            self.item(item);
        }
        self.skipped.extend(page.skipped);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use graphql_parser::query::{
        Definition, OperationDefinition, Selection, SelectionSet, parse_query,
    };
    use serde_json::Value;

    use super::*;

    /// The inputs that fuzzing of `target` begins with, by name.
    fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/seeds")
            .join(target);
        let entries = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let seeds = entries.map(|path| (path.display().to_string(), fs::read(&path).unwrap()));
        seeds.collect()
    }

    /// What the fuzz target `rest` holds of each input.
    #[test]
    fn every_seed_of_rest_is_read_or_refused_in_a_sentence() {
        let mut read = 0;
        for (name, bytes) in seeds("rest") {
            let (kind, body) = bytes.split_first().unwrap();
            let answer = RestAnswer::ALL[usize::from(*kind) % RestAnswer::ALL.len()];
            match rest(answer, body) {
                Ok(reading) => {
                    assert!(!answer.is_list() || !reading.items.is_empty(), "{name}");
                    read += 1;
                }
                Err(why) => assert!(!why.is_empty(), "{name}"),
            }
        }
        assert!(read > 5, "{read} were read");
    }

    /// What the fuzz target `graphql` holds of each input.
    #[test]
    fn every_seed_of_graphql_is_read_or_refused_in_a_sentence() {
        let mut read = 0;
        for (name, bytes) in seeds("graphql") {
            let (kind, body) = bytes.split_first().unwrap();
            let answer = GraphQlAnswer::ALL[usize::from(*kind) % GraphQlAnswer::ALL.len()];
            match graphql(answer, body) {
                Ok(_) => read += 1,
                Err(why) => assert!(!why.is_empty(), "{name}"),
            }
        }
        assert!(read > 3, "{read} were read");
    }

    /// The documents in `src/gitlab/graphql/queries`.
    fn documents() -> Vec<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gitlab/graphql/queries");
        let files = fs::read_dir(folder).unwrap();
        let texts = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        texts.collect()
    }

    /// The names under which a selection's fields are answered, but for numbered places.
    fn answered(set: &SelectionSet<'_, String>, names: &mut BTreeSet<String>) {
        for selection in &set.items {
            match selection {
                Selection::Field(field) => {
                    let name = field.alias.as_ref().unwrap_or(&field.name);
                    let is_place = name[1..].parse::<usize>().is_ok();
                    if !is_place {
                        names.insert(name.clone());
                    }
                    answered(&field.selection_set, names);
                }
                Selection::InlineFragment(fragment) => answered(&fragment.selection_set, names),
                // Fragments are definitions of the document.
                Selection::FragmentSpread(_) => {}
            }
        }
    }

    /// The operation of a document, and the names under which its fields are answered.
    fn operation(text: &str) -> (String, BTreeSet<String>) {
        let (mut operation, mut names) = (String::new(), BTreeSet::new());
        for definition in parse_query::<String>(text).unwrap().definitions {
            match definition {
                Definition::Operation(OperationDefinition::Query(query)) => {
                    operation = query.name.unwrap();
                    answered(&query.selection_set, &mut names);
                }
                Definition::Fragment(fragment) => answered(&fragment.selection_set, &mut names),
                Definition::Operation(_) => panic!("not a query: {text}"),
            }
        }
        (operation, names)
    }

    fn keys(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    found.insert(key.clone());
                    keys(value, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_field_of_every_query_is_in_a_seed_that_is_read_whole() {
        let seeds = seeds("graphql");
        let mut missing = Vec::new();
        for document in documents() {
            let (query, mut fields) = operation(&document);
            let mut answers = GraphQlAnswer::ALL.iter();
            let place = answers.position(|answer| answer.name() == query);
            let of_query = seeds
                .iter()
                .filter(|(_, bytes)| place == Some(usize::from(bytes[0])));
            for (_, bytes) in of_query {
                let read = graphql(GraphQlAnswer::ALL[usize::from(bytes[0])], &bytes[1..]);
                if read.is_ok_and(|read| !read.items.is_empty() && read.skipped.is_empty()) {
                    let mut found = BTreeSet::new();
                    keys(&serde_json::from_slice(&bytes[1..]).unwrap(), &mut found);
                    fields.retain(|field| !found.contains(field));
                }
            }
            missing.extend(fields.iter().map(|field| format!("{query}: {field}")));
        }
        assert!(
            missing.is_empty(),
            "in no seed of fuzz/seeds/graphql: {missing:?}"
        );
    }
}
