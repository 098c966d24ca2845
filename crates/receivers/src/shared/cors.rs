//! Cross-origin requests of browsers, for telemetry that pages send themselves (Fetch standard, "CORS protocol").

use config::shapes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, VARY,
};
use http::{HeaderMap, HeaderValue};

/// Which pages may send.
#[derive(Debug)]
pub(super) struct Cors {
    allowed_origins: Vec<String>,
    allowed_headers: Vec<String>,
    exposed_headers: Option<HeaderValue>,
    max_age_seconds: Option<u32>,
}

/// Always allowed, as in the Collector.
const ALWAYS_ALLOWED: [&str; 4] = ["accept", "content-type", "content-encoding", "x-requested-with"];

impl Cors {
    pub(super) fn new(shape: &shapes::Cors) -> Cors {
        let exposed = (!shape.exposed_headers.is_empty()).then(|| shape.exposed_headers.join(", "));
        Cors {
            allowed_origins: shape.allowed_origins.clone(),
            allowed_headers: shape.allowed_headers.iter().map(|name| name.to_ascii_lowercase()).collect(),
            exposed_headers: exposed.and_then(|names| HeaderValue::from_str(&names).ok()),
            max_age_seconds: shape.max_age_seconds,
        }
    }

    /// Marks an answer as readable by the page, if its origin is allowed.
    pub(super) fn allow(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        headers.append(VARY, HeaderValue::from_static("Origin"));
        let allowed =
            origin.to_str().is_ok_and(|text| self.allowed_origins.iter().any(|pattern| matches(pattern, text)));
        if allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            if let Some(exposed) = &self.exposed_headers {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
            }
        }
    }

    /// The answer to a browser that asks before it sends.
    pub(super) fn preflight(&self, asked: &HeaderMap) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        let wanted = asked.get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(|value| value.to_str().ok()).unwrap_or("");
        let any = self.allowed_headers.iter().any(|name| name == "*");
        let wanted = wanted.split(',').map(|name| name.trim().to_ascii_lowercase());
        let granted: Vec<String> = wanted
            .filter(|name| any || ALWAYS_ALLOWED.contains(&name.as_str()) || self.allowed_headers.contains(name))
            .filter(|name| !name.is_empty())
            .collect();
        if let Ok(granted) = HeaderValue::from_str(&granted.join(", ")) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, granted);
        }
        if let Some(age) = self.max_age_seconds {
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(age));
        }
        headers
    }
}

/// `*` stands for any characters, as often as it occurs.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_matched_by_its_pattern_and_no_other() {
        let cases = [
            ("https://shop.example", "https://shop.example", true),
            ("https://shop.example", "https://shop.example.evil", false),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("*", "https://anything", true),
            ("http://*:*", "http://localhost:3000", true),
            ("", "https://shop.example", false),
        ];
        for (pattern, origin, expected) in cases {
            assert_eq!(matches(pattern, origin), expected, "{pattern} {origin}");
        }
    }
}
