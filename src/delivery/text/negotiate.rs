//! What a scraper can read, from its request headers.

/// A text format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Prometheus text 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The value of the answer's `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that a request's `Accept` header prefers; text when it names neither, as a
    /// browser's does.
    #[must_use]
    pub fn negotiate(accept: Option<&str>) -> Self {
        let ranges = accept.unwrap_or_default().split(',').map(Range::parse);
        let mut best = (Self::Text, 0.0);
        for range in ranges {
            if let Some(format) = range.format()
                && range.quality > best.1
            {
                best = (format, range.quality);
            }
        }
        best.0
    }
}

/// Whether a request's `Accept-Encoding` header admits gzip.
#[must_use]
pub fn accepts_gzip(accept_encoding: Option<&str>) -> bool {
    let codings = accept_encoding.unwrap_or_default().split(',');
    let codings: Vec<Range<'_>> = codings.map(Range::parse).collect();
    let named = |name: &str| {
        codings
            .iter()
            .find(|coding| coding.name.eq_ignore_ascii_case(name))
    };
    named("gzip")
        .or_else(|| named("*"))
        .is_some_and(|coding| coding.quality > 0.0)
}

/// One element of an `Accept` or `Accept-Encoding` header.
struct Range<'a> {
    name: &'a str,
    version: Option<&'a str>,
    quality: f64,
}

impl<'a> Range<'a> {
    fn parse(element: &'a str) -> Self {
        let mut parts = element.split(';').map(str::trim);
        let mut range = Self {
            name: parts.next().unwrap_or_default(),
            version: None,
            quality: 1.0,
        };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match key.trim() {
                "version" => range.version = Some(value),
                "q" => range.quality = value.parse().unwrap_or(0.0),
                _ => {}
            }
        }
        range
    }

    /// The format to answer with, if it is one of ours. Any version of `text/plain` is answered
    /// with 0.0.4, which the answer says.
    fn format(&self) -> Option<Format> {
        let is = |name: &str| self.name.eq_ignore_ascii_case(name);
        if is("application/openmetrics-text") {
            let known = matches!(self.version, None | Some("1.0.0"));
            return known.then_some(Format::OpenMetrics);
        }
        (is("text/plain") || is("text/*") || is("*/*")).then_some(Format::Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Prometheus 3 sends.
    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;\
        q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;\
        escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    /// What Prometheus 2.42 sends.
    const PROMETHEUS_2: &str = "application/openmetrics-text;version=1.0.0,\
        application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    /// What Prometheus sends with native histograms or created timestamps switched on.
    const PROMETHEUS_PROTOBUF: &str = "application/vnd.google.protobuf;\
        proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.5,\
        application/openmetrics-text;version=1.0.0;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    /// What Prometheus sends with `scrape_protocols: [PrometheusText0.0.4]`.
    const PROMETHEUS_TEXT: &str = "text/plain;version=0.0.4;q=0.5,*/*;q=0.2";

    #[test]
    fn scrapers_get_what_they_prefer() {
        for accept in [PROMETHEUS_3, PROMETHEUS_2, PROMETHEUS_PROTOBUF] {
            assert_eq!(
                Format::negotiate(Some(accept)),
                Format::OpenMetrics,
                "{accept}"
            );
        }
        let text = [
            PROMETHEUS_TEXT,
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "*/*",
            "",
            "application/json",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.2,text/plain;q=0.3",
            ";;;=,q=q;q",
        ];
        for accept in text {
            assert_eq!(Format::negotiate(Some(accept)), Format::Text, "{accept}");
        }
        assert_eq!(Format::negotiate(None), Format::Text);
        let bare = "Application/OpenMetrics-Text ; Version=\"1.0.0\" ; q=1";
        assert_eq!(
            Format::negotiate(Some("application/openmetrics-text")),
            Format::OpenMetrics
        );
        assert_eq!(Format::negotiate(Some(bare)), Format::OpenMetrics);
    }

    #[test]
    fn gzip_is_used_when_it_is_admitted() {
        for accept in ["gzip", "deflate, gzip;q=0.5", "*", "GZIP"] {
            assert!(accepts_gzip(Some(accept)), "{accept}");
        }
        for accept in [
            "",
            "identity",
            "gzip;q=0",
            "gzip;q=0, *",
            "*;q=0",
            "x-gzipped",
        ] {
            assert!(!accepts_gzip(Some(accept)), "{accept}");
        }
        assert!(!accepts_gzip(None));
    }
}
