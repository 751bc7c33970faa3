//! Durations as people write them: `30s`, `5m`, `2h`, `1d`, or several together (`1h30m`).

use std::time::Duration;

const DAY: u64 = 86_400;
/// The longest duration a setting may have; far below what clock arithmetic can hold.
const LONGEST: u64 = 365 * DAY;

/// The format of a duration, for editors.
const SHAPE: &str = "^([0-9]+[smhd])+$";

/// Parses `30s`, `5m`, `2h`, `1d` or a sequence of them; from one second to 365 days.
pub fn parse(text: &str) -> Result<Duration, String> {
    let shape = || "is not a duration like 30s, 5m, 2h or 1d".to_owned();
    let mut total = 0u64;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(shape());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(shape)?;
        let number: u64 = rest[..digits].parse().map_err(|_| shape())?;
        let unit = rest[digits..].chars().next().ok_or_else(shape)?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => DAY,
            _ => return Err(shape()),
        };
        total = number
            .checked_mul(seconds)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(out_of_range)?;
        rest = &rest[digits + unit.len_utf8()..];
    }
    from_seconds(total)
}

/// A whole number of seconds, from one second to 365 days.
pub fn from_seconds(seconds: u64) -> Result<Duration, String> {
    if (1..=LONGEST).contains(&seconds) {
        Ok(Duration::from_secs(seconds))
    } else {
        Err(out_of_range())
    }
}

fn out_of_range() -> String {
    "must be between 1s and 365d".to_owned()
}

/// The shortest way to write a duration of whole seconds: `90s`, `5m`, `2h`, `1d`.
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, length) in [("d", DAY), ("h", 3_600), ("m", 60)] {
        if seconds >= length && seconds.is_multiple_of(length) {
            return format!("{}{unit}", seconds / length);
        }
    }
    format!("{seconds}s")
}

/// Serde and schema form of durations with a unit.
pub(super) mod text {
    use std::time::Duration;

    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format(*value))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        super::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }

    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "duration", "pattern": super::SHAPE })
    }
}

/// The same for settings that may be unset.
pub(super) mod optional {
    use std::time::Duration;

    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_str(&super::format(*value)),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        match Option::<String>::deserialize(deserializer)? {
            Some(text) => super::parse(&text)
                .map(Some)
                .map_err(serde::de::Error::custom),
            None => Ok(None),
        }
    }

    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "null"], "format": "duration", "pattern": super::SHAPE })
    }
}

/// Serde and schema form of `*_seconds` settings: a whole number, or a duration with a unit.
pub(super) mod seconds {
    use std::time::Duration;

    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(value.as_secs())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Raw::deserialize(deserializer)?.parse()
    }

    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "format": "seconds", "pattern": super::SHAPE })
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    pub(super) enum Raw {
        Seconds(u64),
        Text(String),
    }

    impl Raw {
        pub(super) fn parse<E: serde::de::Error>(self) -> Result<Duration, E> {
            match self {
                Self::Seconds(seconds) => crate::config::duration::from_seconds(seconds),
                Self::Text(text) => crate::config::duration::parse(&text),
            }
            .map_err(E::custom)
        }
    }
}

/// The same for settings that may be unset.
pub(super) mod optional_seconds {
    use std::time::Duration;

    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize, Deserializer, Serializer};

    use super::seconds::Raw;

    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_u64(value.as_secs()),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<Raw>::deserialize(deserializer)?
            .map(Raw::parse)
            .transpose()
    }

    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string", "null"], "format": "seconds", "pattern": super::SHAPE
        })
    }
}

/// A duration with a unit, or `auto`: none.
pub fn parse_or_auto(text: &str) -> Result<Option<Duration>, String> {
    match text.trim() {
        "auto" => Ok(None),
        text => parse(text)
            .map(Some)
            .map_err(|clause| format!("{clause}, nor auto")),
    }
}

/// Serde and schema form of durations with a unit that the program may choose itself.
pub(super) mod or_auto {
    use std::time::Duration;

    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_str(&super::format(*value)),
            None => serializer.serialize_str("auto"),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        super::parse_or_auto(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }

    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "format": "duration-or-auto", "pattern": "^(auto|([0-9]+[smhd])+)$"
        })
    }
}

/// A duration with a unit, or zero.
pub fn parse_or_zero(text: &str) -> Result<Duration, String> {
    match text.trim() {
        "0" | "0s" => Ok(Duration::ZERO),
        text => parse(text).map_err(|clause| format!("{clause}, nor 0")),
    }
}

/// Serde and schema form of durations with a unit of which 0 means none.
pub(super) mod or_zero {
    use std::time::Duration;

    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        match value.is_zero() {
            true => serializer.serialize_u64(0),
            false => serializer.serialize_str(&super::format(*value)),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        Raw::deserialize(deserializer)?.parse()
    }

    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string"], "format": "duration-or-zero",
            "pattern": "^(0|([0-9]+[smhd])+)$"
        })
    }

    #[derive(Deserialize)]
    #[serde(untagged)]
    pub(super) enum Raw {
        Number(u64),
        Text(String),
    }

    impl Raw {
        pub(super) fn parse<E: serde::de::Error>(self) -> Result<Duration, E> {
            match self {
                Self::Number(0) => Ok(Duration::ZERO),
                Self::Number(number) => super::parse_or_zero(&number.to_string()),
                Self::Text(text) => super::parse_or_zero(&text),
            }
            .map_err(E::custom)
        }
    }
}

/// The same for settings that may be unset.
pub(super) mod optional_or_zero {
    use std::time::Duration;

    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize, Deserializer, Serializer};

    use super::or_zero::Raw;

    pub fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::or_zero::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        Option::<Raw>::deserialize(deserializer)?
            .map(Raw::parse)
            .transpose()
    }

    pub fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["integer", "string", "null"], "format": "duration-or-zero",
            "pattern": "^(0|([0-9]+[smhd])+)$"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_as_people_do() {
        let cases = [
            ("1s", Some(1), "1s"),
            ("90s", Some(90), "90s"),
            ("60s", Some(60), "1m"),
            ("5m", Some(300), "5m"),
            ("1h30m", Some(5_400), "90m"),
            ("1d", Some(86_400), "1d"),
            ("365d", Some(31_536_000), "365d"),
            ("366d", None, ""),
            ("0s", None, ""),
            ("99999999999999999999d", None, ""),
            ("18446744073709551615d", None, ""),
            ("30", None, ""),
            ("s", None, ""),
            ("", None, ""),
            ("-5s", None, ""),
            ("1.5h", None, ""),
            ("5µ", None, ""),
            ("500ms", None, ""),
        ];
        for (text, seconds, written) in cases {
            let parsed = parse(text).ok();
            assert_eq!(parsed.map(|duration| duration.as_secs()), seconds, "{text}");
            assert_eq!(parsed.map(format).unwrap_or_default(), written, "{text}");
        }
    }

    #[test]
    fn zero_is_none_where_a_setting_says_so() {
        let cases = [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("2m", Some(120)),
            ("30", None),
            ("", None),
        ];
        for (text, seconds) in cases {
            let parsed = parse_or_zero(text).ok();
            assert_eq!(parsed.map(|duration| duration.as_secs()), seconds, "{text}");
        }
    }
}
