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
    use std::fs;
    use std::path::Path;

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
}
