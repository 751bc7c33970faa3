//! The documents of the repository, taken apart.

use std::path::{Path, PathBuf};

/// The repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
pub fn read(name: &str) -> String {
    let path = root().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A document.
pub struct Document {
    /// Where it stands in the repository.
    pub name: String,
    /// What is neither code nor comment, inline code included.
    pub prose: String,
    /// Blocks of code with their language.
    pub blocks: Vec<(String, String)>,
    /// Code within lines.
    pub spans: Vec<String>,
}

/// Every document for users: those at the top, in docs and beside what they are about.
pub fn documents() -> Vec<Document> {
    let mut folders = ["", "docs", "fuzz", "grafana", "otel"]
        .map(|name| root().join(name))
        .to_vec();
    folders.extend(files(&root().join("examples")).filter(|path| path.is_dir()));
    folders.extend(files(&root().join("examples/helm")));
    let mut names: Vec<PathBuf> = folders.iter().flat_map(|folder| files(folder)).collect();
    names.retain(|path| path.extension().is_some_and(|end| end == "md"));
    names.sort();
    assert!(names.len() > 10, "{names:?}");
    names.iter().map(|path| Document::read(path)).collect()
}

/// What is in a folder, if there is one.
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.expect("an entry").path())
}

impl Document {
    fn read(path: &Path) -> Self {
        let name = path.strip_prefix(root()).expect("it is inside").display();
        let name = name.to_string();
        let text = read(&name);
        let (mut prose, mut blocks, mut open) = (String::new(), Vec::new(), None);
        for line in text.lines() {
            let fence = line.trim_start().strip_prefix("```");
            open = match (open, fence) {
                (None, Some(language)) => Some((language.trim().to_owned(), String::new())),
                (Some(block), Some(_)) => {
                    blocks.push(block);
                    None
                }
                (Some((language, code)), None) => Some((language, code + line + "\n")),
                (None, None) if line.starts_with("    ") && prose.ends_with("\n\n") => {
                    blocks.push(("sh".to_owned(), line.trim().to_owned() + "\n"));
                    None
                }
                (None, None) => {
                    prose.push_str(line);
                    prose.push('\n');
                    None
                }
            };
        }
        assert!(open.is_none(), "{name}: a block of code has no end");
        let spans = prose.split('`').skip(1).step_by(2);
        let spans = spans.map(|span| span.replace('\n', " ")).collect();
        Self {
            name,
            prose,
            blocks,
            spans,
        }
    }

    /// All code, one command or name a line.
    pub fn code(&self) -> impl Iterator<Item = String> {
        let blocks = self.blocks.iter().flat_map(|(_, code)| {
            let code = code.replace("\\\n", " ");
            code.lines().map(str::to_owned).collect::<Vec<_>>()
        });
        blocks.chain(self.spans.iter().cloned())
    }

    /// Where its links lead.
    pub fn links(&self) -> impl Iterator<Item = &str> {
        let behind = self.prose.split("](").skip(1);
        behind.filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
    }

    /// The anchors of its headings, as GitLab and GitHub make them.
    pub fn anchors(&self) -> Vec<String> {
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        let anchor = |line: &str| {
            let text = line.trim_start_matches('#').trim().to_lowercase();
            let kept = text
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        };
        headings.map(anchor).collect()
    }

    /// The rows of its tables that have a column of this title: the cells of that column.
    pub fn column(&self, title: &str) -> Vec<String> {
        let (mut found, mut place) = (Vec::new(), None);
        for line in self.prose.lines() {
            if !line.starts_with('|') {
                place = None;
                continue;
            }
            let cells = cells(line);
            match place {
                None => place = Some(cells.iter().position(|cell| cell == title)),
                Some(Some(place)) if !line.starts_with("|-") => found.push(cells[place].clone()),
                Some(_) => {}
            }
        }
        found
    }
}

/// The cells of a row of a table.
pub fn cells(row: &str) -> Vec<String> {
    let row = row.trim().trim_matches('|');
    row.split('|').map(|cell| cell.trim().to_owned()).collect()
}

/// The words of a text that begin with `start` and go on with letters, digits and `more`.
pub fn words(text: &str, start: &str, more: &str) -> Vec<String> {
    let inside = |c: char| c.is_ascii_alphanumeric() || more.contains(c);
    let found = text.match_indices(start).filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && !"_./-".contains(c))
    });
    let word = |(at, _): (usize, &str)| text[at..].chars().take_while(|c| inside(*c)).collect();
    found.map(word).collect()
}
