//! Rules that a value follows beyond its type, by the `format` that the model gives it. Each says
//! what is wrong as the end of a sentence that begins with the key.

use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

use super::duration;
use super::listen::ListenAddresses;
use super::tree::{Data, Node};
use super::values::{Pattern, REDACTED};

/// A rule by its name in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Never shown.
    Secret,
    /// A regular expression.
    Regex,
    /// A duration with a unit.
    Duration,
    /// A whole number of seconds, or a duration with a unit.
    Seconds,
    /// A duration with a unit, or 0.
    DurationOrZero,
    /// The same, or `auto`.
    DurationOrAuto,
    /// `host:port`, one or several.
    ListenAddresses,
    /// The same, or empty.
    OptionalListenAddresses,
    /// Address of a GitLab instance.
    GitLabUrl,
    /// Address of an OTLP receiver.
    HttpUrl,
    /// A file.
    Path,
    /// A file of certificates.
    CaFile,
    /// Full path of a project.
    ProjectPath,
    /// Full path of a group, or a user name.
    OwnerPath,
    /// Bucket bounds of a histogram.
    HistogramBuckets,
    /// HTTP headers.
    Headers,
}

impl Format {
    /// The rule of a `format` in the schema; `None` for those that only describe a number.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "secret" => Self::Secret,
            "regex" => Self::Regex,
            "duration" => Self::Duration,
            "seconds" => Self::Seconds,
            "duration-or-zero" => Self::DurationOrZero,
            "duration-or-auto" => Self::DurationOrAuto,
            "listen-addresses" => Self::ListenAddresses,
            "optional-listen-addresses" => Self::OptionalListenAddresses,
            "gitlab-url" => Self::GitLabUrl,
            "http-url" => Self::HttpUrl,
            "path" => Self::Path,
            "ca-file" => Self::CaFile,
            "project-path" => Self::ProjectPath,
            "owner-path" => Self::OwnerPath,
            "histogram-buckets" => Self::HistogramBuckets,
            "headers" => Self::Headers,
            _ => return None,
        })
    }

    /// Checks a value whose type is right. The error is a clause such as `is not …` or `must …`.
    pub fn check(self, data: &Data) -> Result<(), String> {
        match (self, data) {
            (Self::HistogramBuckets, Data::List(items)) => buckets(items),
            (Self::Headers, Data::Map(entries)) => {
                entries.iter().try_for_each(|entry| match &entry.node.data {
                    Data::Secret(value) => header(&entry.key, value.expose()),
                    _ => Ok(()),
                })
            }
            (Self::Seconds, Data::Int(seconds)) => {
                let seconds = u64::try_from(*seconds).unwrap_or(0);
                duration::from_seconds(seconds)
                    .map(drop)
                    .map_err(|clause| format!("{clause}, not {}", show(data)))
            }
            (Self::DurationOrZero, Data::Int(number)) => {
                duration::parse_or_zero(&number.to_string())
                    .map(drop)
                    .map_err(|clause| format!("{} {clause}", show(data)))
            }
            (_, Data::Text(text)) => self.check_text(text),
            _ => Ok(()),
        }
    }

    fn check_text(self, text: &str) -> Result<(), String> {
        let quoted = |clause: String| format!("{text:?} {clause}");
        match self {
            Self::Secret if text == REDACTED => Err(format!(
                "is {REDACTED}, which stands for a secret that was not shown"
            )),
            Self::Regex => text.parse::<Pattern>().map(drop).map_err(quoted),
            Self::Duration | Self::Seconds => duration::parse(text).map(drop).map_err(quoted),
            Self::DurationOrZero => duration::parse_or_zero(text).map(drop).map_err(quoted),
            Self::DurationOrAuto => duration::parse_or_auto(text).map(drop).map_err(quoted),
            Self::OptionalListenAddresses if text.is_empty() => Ok(()),
            Self::ListenAddresses | Self::OptionalListenAddresses => {
                text.parse::<ListenAddresses>().map(drop).map_err(quoted)
            }
            Self::GitLabUrl => gitlab_url(text),
            Self::HttpUrl => http_url(text).map(drop),
            Self::ProjectPath => path(
                text,
                2,
                "is not the full path of a project like group/project",
            )
            .map_err(quoted),
            Self::OwnerPath => {
                path(text, 1, "is not the path of a group or the name of a user").map_err(quoted)
            }
            _ => Ok(()),
        }
    }
}

/// A value as an error may show it.
pub(super) fn show(data: &Data) -> String {
    match data {
        Data::Null => "nothing".to_owned(),
        Data::Bool(value) => value.to_string(),
        Data::Int(value) => value.to_string(),
        Data::Float(value) => value.to_string(),
        Data::Text(text) if text.chars().count() > 60 => {
            format!(
                "{:?}",
                text.chars().take(60).chain(['…']).collect::<String>()
            )
        }
        Data::Text(text) => format!("{text:?}"),
        Data::Secret(secret) => secret.to_string(),
        Data::List(_) => "a list".to_owned(),
        Data::Map(_) => "a section".to_owned(),
    }
}

/// Reads an address of http or https without credentials.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    // What stands before an @ may be a password: such an address is not repeated.
    if text.contains('@') {
        return Err("must not contain a user name or password".to_owned());
    }
    let shape = format!("{text:?} is not an address that starts with http:// or https://");
    let Ok(url) = Url::parse(text) else {
        let guess = format!("https://{text}");
        return Err(match Url::parse(&guess) {
            Ok(_) if !text.contains("//") && !text.is_empty() => {
                format!("{shape}; did you mean {guess}?")
            }
            _ => shape,
        });
    };
    match url.scheme() {
        "http" | "https" => {}
        // "localhost:8080" is read as the scheme "localhost".
        _ if !text.contains("//") => return Err(format!("{shape}; did you mean http://{text}?")),
        _ => return Err(shape),
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{text:?} must end before the ? or #"));
    }
    Ok(url)
}

fn gitlab_url(text: &str) -> Result<(), String> {
    let url = http_url(text)?;
    match url.path().split_once("/api/") {
        Some((before, _)) => {
            let mut base = url.clone();
            base.set_path(before);
            let base = base.as_str().trim_end_matches('/').to_owned();
            Err(format!(
                "{text:?} must end before /api; did you mean {base}?"
            ))
        }
        None => Ok(()),
    }
}

/// Checks a path of at least `parts` names, without a guess at what GitLab allows in a name.
fn path(text: &str, parts: usize, clause: &str) -> Result<(), String> {
    let names: Vec<&str> = text.split('/').collect();
    let clean = names.iter().all(|name| {
        !name.is_empty()
            && !name.contains(|c: char| c.is_whitespace() || c.is_control() || ":?#".contains(c))
    });
    if clean && names.len() >= parts {
        Ok(())
    } else {
        Err(clause.to_owned())
    }
}

fn buckets(items: &[Node]) -> Result<(), String> {
    let mut last: Option<f64> = None;
    for item in items {
        let bound = match item.data {
            Data::Int(value) => value as f64,
            Data::Float(value) => value,
            _ => continue,
        };
        if !bound.is_finite() {
            return Err(format!(
                "must hold finite numbers, not {bound}; the bucket +Inf is always there"
            ));
        }
        match last {
            Some(last) if bound <= last => {
                return Err(format!(
                    "must rise strictly, but {last} is followed by {bound}"
                ));
            }
            _ => last = Some(bound),
        }
    }
    Ok(())
}

/// Checks the name and the value of an HTTP header; the value is not repeated, it may be a secret.
pub(super) fn header(name: &str, value: &str) -> Result<(), String> {
    if HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!(
            "has {name:?}, which is not the name of an HTTP header"
        ));
    }
    if HeaderValue::from_str(value).is_err() {
        return Err(format!(
            "has a value for {name:?} that an HTTP header cannot carry"
        ));
    }
    Ok(())
}
