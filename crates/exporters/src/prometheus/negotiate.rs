//! What a scraper wants: format, version, escaping of names, compression.
//!
//! Specification: Prometheus, ["Content Negotiation"](https://prometheus.io/docs/instrumenting/content_negotiation/);
//! RFC 9110, sections 12.5.1 and 12.5.3. A scraper that accepts nothing of what there is gets the text format, as from
//! Prometheus' own libraries.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, AsHeaderName};
use prom::text::Format;

/// Whether OpenMetrics may be sent (`enable_open_metrics`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenMetrics {
    Enabled,
    Disabled,
}

/// What happens to characters outside of the old character set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameEscaping {
    /// Names are sent as they are, in quotes.
    AllowUtf8,
    /// They become `_`: the scraper does not know better.
    Underscores,
}

/// The kind of answer that a scraper gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exposition {
    pub(super) format: Format,
    pub(super) version: &'static str,
    pub(super) escaping: NameEscaping,
}

/// How an answer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
}

impl Exposition {
    const DEFAULT: Exposition =
        Exposition { format: Format::Text, version: "0.0.4", escaping: NameEscaping::Underscores };

    /// What `Accept` asks for.
    pub(super) fn negotiate(headers: &HeaderMap, open_metrics: OpenMetrics) -> Exposition {
        let mut best: Option<(f32, Exposition)> = None;
        for item in items(headers, ACCEPT) {
            let Some(exposition) = Exposition::of(&item, open_metrics) else { continue };
            let quality = item.quality();
            // Of several that are as welcome the first one counts.
            if quality > best.map_or(0.0, |(best, _)| best) {
                best = Some((quality, exposition));
            }
        }
        best.map_or(Exposition::DEFAULT, |(_, exposition)| exposition)
    }

    /// One item of `Accept`, if there is something for it.
    fn of(item: &Item<'_>, open_metrics: OpenMetrics) -> Option<Exposition> {
        let version = item.parameter("version").unwrap_or_default();
        let is = |name: &str| item.name.eq_ignore_ascii_case(name);
        let (format, version) = if is("application/openmetrics-text") && open_metrics == OpenMetrics::Enabled {
            match version {
                "" | "1.0.0" => (Format::OpenMetrics, "1.0.0"),
                "0.0.1" => (Format::OpenMetrics, "0.0.1"),
                _ => return None,
            }
        } else if is("text/plain") {
            match version {
                "" | "0.0.4" => (Format::Text, "0.0.4"),
                "1.0.0" => (Format::Text, "1.0.0"),
                _ => return None,
            }
        } else if is("text/*") || is("*/*") {
            (Format::Text, "0.0.4")
        } else {
            return None;
        };
        let escaping = match item.parameter("escaping") {
            Some("allow-utf-8") => NameEscaping::AllowUtf8,
            _ => NameEscaping::Underscores,
        };
        Some(Exposition { format, version, escaping })
    }

    /// The `Content-Type` of the answer.
    pub(super) fn content_type(self) -> String {
        let media_type = match self.format {
            Format::Text => "text/plain",
            Format::OpenMetrics => "application/openmetrics-text",
        };
        let escaping = match self.escaping {
            NameEscaping::AllowUtf8 => "allow-utf-8",
            NameEscaping::Underscores => "underscores",
        };
        format!("{media_type}; version={}; charset=utf-8; escaping={escaping}", self.version)
    }
}

impl Compression {
    /// What `Accept-Encoding` permits.
    pub(super) fn negotiate(headers: &HeaderMap) -> Compression {
        let quality = |name: &str| {
            let mut named = items(headers, ACCEPT_ENCODING).filter(|item| item.name.eq_ignore_ascii_case(name));
            named.next().map(|item| item.quality())
        };
        match quality("gzip").or_else(|| quality("x-gzip")).or_else(|| quality("*")) {
            Some(quality) if quality > 0.0 => Compression::Gzip,
            _ => Compression::None,
        }
    }
}

/// One item of a list such as `a;q=0.5, b`.
struct Item<'h> {
    name: &'h str,
    parameters: &'h str,
}

impl<'h> Item<'h> {
    fn parameter(&self, name: &str) -> Option<&'h str> {
        self.parameters.split(';').find_map(|parameter| {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
        })
    }

    /// Its weight; one that cannot be read is none.
    fn quality(&self) -> f32 {
        self.parameter("q").map_or(1.0, |text| text.parse().unwrap_or(0.0))
    }
}

fn items(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = Item<'_>> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|item| {
        let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
        Item { name: name.trim(), parameters }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &'static str, open_metrics: OpenMetrics, content_type: &str) {
        let headers = HeaderMap::from_iter([(ACCEPT, http::HeaderValue::from_static(accept))]);
        assert_eq!(Exposition::negotiate(&headers, open_metrics).content_type(), content_type, "{accept}");
    }

    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
    const PROMETHEUS_2: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;\
                                q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
                                application/openmetrics-text;version=0.0.1;q=0.5,\
                                text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,\
                                */*;q=0.2";

    #[test]
    fn open_metrics_is_sent_to_those_who_want_it_where_it_is_enabled() {
        let utf8 = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";
        let old = "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores";
        check(PROMETHEUS_3, OpenMetrics::Enabled, utf8);
        check(PROMETHEUS_2, OpenMetrics::Enabled, old);
        check(PROMETHEUS_2, OpenMetrics::Disabled, TEXT);
        check(PROMETHEUS_3, OpenMetrics::Disabled, "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8");
        check(
            "application/openmetrics-text; version=0.0.1",
            OpenMetrics::Enabled,
            "application/openmetrics-text; version=0.0.1; charset=utf-8; escaping=underscores",
        );
    }

    #[test]
    fn everybody_else_gets_the_text_format() {
        for accept in
            ["", "*/*", "text/*", "text/html", "application/json", "application/openmetrics-text; version=2.0.0"]
        {
            check(accept, OpenMetrics::Enabled, TEXT);
        }
        check("application/openmetrics-text;q=0", OpenMetrics::Enabled, TEXT);
        check("application/openmetrics-text;q=0.1, text/plain;q=0.2", OpenMetrics::Enabled, TEXT);
        check("application/openmetrics-text;q=nan", OpenMetrics::Enabled, TEXT);
        assert_eq!(Exposition::negotiate(&HeaderMap::new(), OpenMetrics::Enabled).content_type(), TEXT);
    }

    fn gzip(accept_encoding: &'static str) -> bool {
        let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, http::HeaderValue::from_static(accept_encoding))]);
        Compression::negotiate(&headers) == Compression::Gzip
    }

    #[test]
    fn gzip_is_sent_only_to_those_who_accept_it() {
        for accepted in ["gzip", "deflate, gzip;q=0.5", "GZIP", "*", "x-gzip"] {
            assert!(gzip(accepted), "{accepted}");
        }
        for refused in ["", "identity", "gzip;q=0", "gzip;q=0, *", "br, zstd", "gzip;q=x"] {
            assert!(!gzip(refused), "{refused}");
        }
        assert_eq!(Compression::negotiate(&HeaderMap::new()), Compression::None);
    }
}
