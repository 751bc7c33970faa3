//! Label values that are longer than `labels.max_length`: cut, with a hash of the whole, so that two that begin
//! alike stay two.

use std::fmt::Write as _;

use ring::digest::{SHA256, digest};

use super::ProjectRun;
use crate::catalogue::LabelValues;
use crate::collector::Measured;
use crate::series::Retirement;
use crate::types::Text;

/// The longest by default, in bytes.
pub const DEFAULT: usize = 200;
/// Bytes of a hash that are shown, two hexadecimal characters each.
const HASH: usize = 4;
/// Labels that GitLab bounds, and that projects are found by.
const PATHS: [&str; 2] = ["project", "parent_project"];

/// The value as it is shown; nothing where it is short enough.
fn cut(value: &str, most: usize) -> Option<Text> {
    if value.len() <= most {
        return None;
    }
    let hash = digest(&SHA256, value.as_bytes());
    let mut end = String::from("~");
    for byte in &hash.as_ref()[..HASH] {
        // Writing to a string does not fail.
        let _ = write!(end, "{byte:02x}");
    }
    let most = most.saturating_sub(end.len());
    let begin = (0..=most).rev().find(|at| value.is_char_boundary(*at));
    let begin = begin.unwrap_or_default();
    Some(format!("{}{end}", &value[..begin]).into())
}

/// Whether a value may have been cut.
pub(super) fn is_cut(value: &str) -> bool {
    let end = value.len().checked_sub(1 + 2 * HASH);
    let hash = end.and_then(|end| value.get(end..)?.strip_prefix('~'));
    hash.is_some_and(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn cut_values(names: &[&str], values: &mut LabelValues, most: usize) {
    for (name, value) in names.iter().zip(values.iter_mut()) {
        if !PATHS.contains(name)
            && let Some(short) = cut(value, most)
        {
            *value = short;
        }
    }
}

/// Cuts the label values of a run, and of what it retires.
pub(super) fn cut_labels(run: &mut ProjectRun, most: usize) {
    for (_, measured) in &mut run.measured {
        let Measured {
            events,
            initializations,
            states,
        } = measured;
        for one in events.iter_mut().chain(states) {
            cut_values(one.desc.labels, &mut one.labels, most);
        }
        for key in initializations {
            cut_values(key.desc.labels, &mut key.labels, most);
        }
    }
    for retirement in &mut run.retirements {
        let values: Vec<&mut Text> = match retirement {
            Retirement::Labels(labels) | Retirement::OfMetric(_, labels) => labels
                .iter_mut()
                .filter(|(name, _)| !PATHS.contains(name))
                .map(|(_, value)| value)
                .collect(),
            Retirement::Ref { name, plain, .. } => vec![name, plain],
            Retirement::Project { .. } | Retirement::Collector(..) => Vec::new(),
        };
        for value in values {
            if let Some(short) = cut(value, most) {
                *value = short;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_enough_stays() {
        assert_eq!(cut("unit", 4), None);
    }

    #[test]
    fn what_is_longer_is_cut_at_a_character_and_stays_itself() {
        let one = cut(&format!("{}1", "ä".repeat(200)), 200).unwrap();
        let other = cut(&format!("{}2", "ä".repeat(200)), 200).unwrap();
        assert_ne!(one, other);
        assert!(one.len() <= 200 && one.len() > 195, "{one}");
        assert!(one.starts_with("ää") && one.contains('~'), "{one}");
    }
}
