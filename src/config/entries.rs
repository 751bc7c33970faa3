//! The settings of a tree. In `projects` and `wildcards` each entry lies on top of
//! `project_defaults`; what entries have in common is read once, for there may be tens of thousands.

use std::collections::HashMap;

use serde::de::DeserializeOwned;

use super::keys;
use super::model::{ProjectEntry, ProjectSettings, Settings, Wildcard};
use super::tree::{Data, Entry, Node};

/// Where the entries' settings come from when they set nothing themselves.
const DEFAULTS: &str = "project_defaults";
const PROJECTS: &str = "projects";
const WILDCARDS: &str = "wildcards";

/// Reads the settings.
///
/// # Errors
/// When the tree does not have the model's shape; a tree that was checked has it.
pub(super) fn settings(tree: &Node) -> serde_json::Result<Settings> {
    let mut top = Node::new(Data::Map(Vec::new()), &tree.origin);
    if let (Data::Map(entries), Data::Map(rest)) = (&tree.data, &mut top.data) {
        let is_list = |entry: &&Entry| [PROJECTS, WILDCARDS].contains(&entry.key.as_str());
        rest.extend(entries.iter().filter(|entry| !is_list(entry)).cloned());
    }
    let mut settings: Settings = serde_json::from_value(top.to_json())?;
    let mut reader = Reader {
        defaults: tree.get(DEFAULTS),
        known: HashMap::new(),
    };
    for node in items(tree, PROJECTS) {
        let (mut entry, own): (ProjectEntry, _) = reader.entry(node)?;
        entry.settings = own;
        settings.projects.push(entry);
    }
    for node in items(tree, WILDCARDS) {
        let (mut entry, own): (Wildcard, _) = reader.entry(node)?;
        entry.settings = own;
        settings.wildcards.push(entry);
    }
    Ok(settings)
}

/// The items of a list; none where there is no such list.
fn items<'a>(tree: &'a Node, name: &str) -> &'a [Node] {
    match tree.get(name).map(|node| &node.data) {
        Some(Data::List(items)) => items,
        _ => &[],
    }
}

/// Reads entries.
struct Reader<'a> {
    defaults: Option<&'a Node>,
    /// The settings of entries, by what these set themselves, as JSON.
    known: HashMap<String, ProjectSettings>,
}

impl Reader<'_> {
    /// An entry without its settings, and these.
    fn entry<T: DeserializeOwned>(
        &mut self,
        node: &Node,
    ) -> serde_json::Result<(T, ProjectSettings)> {
        let (mut own, mut set) = (Vec::new(), Vec::new());
        if let Data::Map(entries) = &node.data {
            let section = keys::root().child(DEFAULTS);
            let is_setting =
                |entry: &Entry| section.is_some_and(|all| all.child(&entry.key).is_some());
            (set, own) = entries.iter().cloned().partition(is_setting);
        }
        let own = Node::new(Data::Map(own), &node.origin);
        let set = Node::new(Data::Map(set), &node.origin);
        Ok((serde_json::from_value(own.to_json())?, self.settings(set)?))
    }

    /// The settings of an entry that sets these itself.
    fn settings(&mut self, set: Node) -> serde_json::Result<ProjectSettings> {
        let key = set.to_json().to_string();
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let node = match self.defaults {
            Some(defaults) => {
                let mut node = defaults.clone();
                node.merge(set);
                node
            }
            None => set,
        };
        let settings: ProjectSettings = serde_json::from_value(node.to_json())?;
        self.known.insert(key, settings.clone());
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, ProjectSettings};

    #[test]
    fn each_entry_has_the_defaults_and_what_it_sets_itself() {
        let config = Config::from_yaml(
            "gitlab: {token: t}\n\
             project_defaults: {refs: {branches: {regexp: ^main$}, tags: {enabled: false}}}\n\
             projects:\n\
             - {name: a/plain}\n\
             - {name: a/own, refs: {branches: {regexp: ^dev$}}}\n\
             - {name: a/same, refs: {branches: {regexp: ^dev$}}}\n\
             - {refs: {tags: {enabled: true}}, name: a/tags}\n\
             wildcards:\n\
             - {search: x, refs: {branches: {regexp: ^dev$}}}\n\
             - {}\n",
        )
        .unwrap();
        let of = |settings: &ProjectSettings| {
            let refs = &settings.refs;
            (refs.branches.regexp.as_str().to_owned(), refs.tags.enabled)
        };
        let projects = config.projects.iter();
        let projects = projects.map(|entry| (entry.name.as_str(), of(&entry.settings)));
        assert_eq!(
            projects.collect::<Vec<_>>(),
            [
                ("a/plain", ("^main$".to_owned(), false)),
                ("a/own", ("^dev$".to_owned(), false)),
                ("a/same", ("^dev$".to_owned(), false)),
                ("a/tags", ("^main$".to_owned(), true)),
            ]
        );
        let wildcards = config.wildcards.iter();
        let wildcards = wildcards.map(|entry| (entry.search.as_deref(), of(&entry.settings)));
        assert_eq!(
            wildcards.collect::<Vec<_>>(),
            [
                (Some("x"), ("^dev$".to_owned(), false)),
                (None, ("^main$".to_owned(), false)),
            ]
        );
    }
}
