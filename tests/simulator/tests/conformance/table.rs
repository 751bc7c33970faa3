//! How many records are answered as they were, by endpoint and operation.

use std::collections::{BTreeMap, BTreeSet};

use crate::exceptions::{self, Edition};

#[derive(Default)]
struct Row {
    records: usize,
    different: Vec<(u32, Vec<String>)>,
}

/// What came of all records.
#[derive(Default)]
pub struct Table {
    rows: BTreeMap<(&'static str, String), Row>,
}

impl Table {
    pub fn add(&mut self, subject: String, api: &'static str, id: u32, differences: Vec<String>) {
        let row = self.rows.entry((api, subject)).or_default();
        row.records += 1;
        if !differences.is_empty() {
            row.different.push((id, differences));
        }
    }

    /// Prints the table and the differences that are asked for; fails where they are not exactly those
    /// that are excepted.
    pub fn judge(self, edition: Edition) {
        let classes = exceptions::classes(edition);
        let mut excepted: BTreeMap<&str, usize> = BTreeMap::new();
        let mut needed: BTreeSet<(&str, u32)> = BTreeSet::new();
        let mut wrong = Vec::new();
        println!(
            "{:>8} {:>8} {:>8} {:>9}  {}",
            "records",
            "equal",
            "excepted",
            "different",
            edition.folder()
        );
        let mut sums = [0; 4];
        for ((api, subject), row) in &self.rows {
            let (mut allowed, mut different) = (0, 0);
            for (id, differences) in &row.different {
                let class = classes
                    .iter()
                    .find(|class| class.api == *api && class.ids.contains(id));
                match class {
                    Some(class) => {
                        allowed += 1;
                        *excepted.entry(class.reason).or_default() += 1;
                        needed.insert((api, *id));
                    }
                    None => {
                        different += 1;
                        wrong.push((*api, subject.clone(), *id, differences.clone()));
                    }
                }
            }
            let equal = row.records - row.different.len();
            println!(
                "{:>8} {equal:>8} {allowed:>8} {different:>9}  {subject}",
                row.records
            );
            for (sum, number) in sums
                .iter_mut()
                .zip([row.records, equal, allowed, different])
            {
                *sum += number;
            }
        }
        let [records, equal, allowed, different] = sums;
        println!("{records:>8} {equal:>8} {allowed:>8} {different:>9}  together");
        for (reason, number) in &excepted {
            println!("{number:>8} excepted: {reason}");
        }
        show(&wrong);
        write_down(&wrong);
        let idle: Vec<(&str, u32)> = classes
            .iter()
            .flat_map(|class| class.ids.iter().map(|id| (class.api, *id)))
            .filter(|one| !needed.contains(one))
            .collect();
        assert!(
            wrong.is_empty() && idle.is_empty(),
            "{different} records are answered otherwise; exceptions that nothing needs: {idle:?}"
        );
    }
}

type Wrong = (&'static str, String, u32, Vec<String>);

/// Writes every difference to the file that `DIFFERENCES` names.
fn write_down(wrong: &[Wrong]) {
    let Some(file) = std::env::var_os("DIFFERENCES") else {
        return;
    };
    let mut text = String::new();
    for (api, subject, id, differences) in wrong {
        for difference in differences {
            text.push_str(&format!("{api}\t{id}\t{subject}\t{difference}\n"));
        }
    }
    std::fs::write(file, text).expect("a file that can be written");
}

fn show(wrong: &[Wrong]) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let only = std::env::var("ONLY").unwrap_or_default();
    let lines: usize = number("LINES").unwrap_or(6);
    let wrong = wrong
        .iter()
        .filter(|(_, subject, _, _)| subject.contains(&only));
    for (api, subject, id, differences) in wrong.take(number("SHOW").unwrap_or(0)) {
        println!(
            "--- {api} {id} {subject}: {} differences",
            differences.len()
        );
        for difference in differences.iter().take(lines) {
            println!("    {difference}");
        }
    }
}
