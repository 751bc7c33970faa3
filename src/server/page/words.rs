//! Numbers and times as people read them.

use std::time::Duration;

use crate::clock::UnixSeconds;

/// Longer texts are cut, so that pages stay small whatever GitLab answers.
const MAX_CHARS: usize = 300;

/// A time: exact for machines and tool tips, relative for eyes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    /// RFC 3339.
    pub(super) exact: String,
    /// Such as `12 s ago` or `in 3 d`.
    pub(super) relative: String,
}

impl Moment {
    /// `at`, as seen from `now`.
    pub(super) fn new(at: UnixSeconds, now: UnixSeconds) -> Self {
        let relative = match (now.since(at), at.since(now)) {
            (Duration::ZERO, Duration::ZERO) => "just now".to_owned(),
            (Duration::ZERO, ahead) => format!("in {}", length(ahead)),
            (past, _) => format!("{} ago", length(past)),
        };
        Self {
            exact: at.to_string(),
            relative,
        }
    }
}

/// A length of time in its two largest units, or in tenths where it is short.
pub(super) fn length(time: Duration) -> String {
    let seconds = time.as_secs();
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        small => format!("{large} {unit} {small} {small_unit}"),
    };
    match seconds {
        0 if time.is_zero() => "0 s".to_owned(),
        0 => format!("{} ms", time.as_millis().max(1)),
        1..10 if time.subsec_millis() >= 100 => format!("{:.1} s", time.as_secs_f64()),
        1..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "min"),
        86_400..864_000 => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
        _ => format!("{} d", count(seconds / 86_400)),
    }
}

/// A number in groups of three digits.
pub(super) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `3 projects`, `1 project`.
pub(super) fn plural(number: usize, one: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {one}{s}", count(number as u64))
}

/// A text from outside on one line, shortened for the page.
pub(super) fn clip(text: &str) -> String {
    let mut chars = text.chars();
    let mut clipped: String = chars.by_ref().take(MAX_CHARS).collect();
    if chars.next().is_some() {
        clipped.push('…');
    }
    clipped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_well() {
        let cases = [
            (0, "0 s"),
            (1, "1 ms"),
            (840, "840 ms"),
            (1_000, "1 s"),
            (3_240, "3.2 s"),
            (42_900, "42 s"),
            (60_000, "1 min"),
            (754_000, "12 min 34 s"),
            (7_260_000, "2 h 1 min"),
            (90_000_000, "1 d 1 h"),
            (86_400_000 * 1_234, "1,234 d"),
        ];
        for (millis, words) in cases {
            assert_eq!(length(Duration::from_millis(millis)), words);
        }
        assert_eq!(length(Duration::from_nanos(1)), "1 ms");
    }

    #[test]
    fn moments_are_relative_to_now() {
        let now = UnixSeconds(1_000_000);
        let relative = |at| Moment::new(UnixSeconds(at), now).relative;
        assert_eq!(relative(1_000_000), "just now");
        assert_eq!(relative(999_988), "12 s ago");
        assert_eq!(relative(1_000_090), "in 1 min 30 s");
        assert_eq!(Moment::new(now, now).exact, "1970-01-12T13:46:40Z");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(count(0_u64), "0");
        assert_eq!(count(999_u64), "999");
        assert_eq!(count(1_000_u64), "1,000");
        assert_eq!(count(1_234_567_u64), "1,234,567");
        assert_eq!(plural(1, "project"), "1 project");
        assert_eq!(plural(1_200, "project"), "1,200 projects");
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = "🦊".repeat(10_000);
        assert_eq!(clip(&long).chars().count(), MAX_CHARS + 1);
        assert_eq!(clip("short"), "short");
    }
}
