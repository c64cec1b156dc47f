//! Which form an answer has: text for people (curl sends `*/*`), JSON for programs, HTML for browsers.

use axum::http::{HeaderMap, header};

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Plain text.
    Text,
    /// JSON.
    Json,
    /// A page for a browser.
    Html,
}

impl Format {
    /// The words of `?format=`.
    pub(super) const WORDS: [(&'static str, Self); 3] =
        [("text", Self::Text), ("json", Self::Json), ("html", Self::Html)];

    /// By the `Accept` header (RFC 9110, 12.5.1): the acceptable form of the greatest weight, the
    /// first one of equals; text where nothing that we have is named.
    pub(super) fn accepted(headers: &HeaderMap) -> Self {
        let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut best = (Self::Text, 0.0);
        for range in accept.flat_map(|value| value.split(',')) {
            if let Some((format, weight)) = Self::of_range(range)
                && weight > best.1
            {
                best = (format, weight);
            }
        }
        best.0
    }

    fn of_range(range: &str) -> Option<(Self, f64)> {
        let mut parts = range.split(';').map(str::trim);
        let format = match parts.next()?.to_ascii_lowercase().as_str() {
            "application/json" | "application/problem+json" | "application/*" => Self::Json,
            "text/html" | "application/xhtml+xml" => Self::Html,
            "text/plain" | "text/*" | "*/*" => Self::Text,
            _ => return None,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        Some((format, weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_decides() {
        for (accept, format) in [
            ("*/*", Format::Text),
            ("application/json", Format::Json),
            ("Application/JSON; charset=utf-8", Format::Json),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format::Html),
            ("application/json, text/html;q=0.9", Format::Json),
            ("application/json;q=0.2, text/plain", Format::Text),
            ("text/plain;q=0.2, application/json;q=0.3", Format::Json),
            ("application/json;q=0, */*;q=0.1", Format::Text),
            ("text/plain, application/json", Format::Text),
            ("application/json, text/plain, */*", Format::Json),
            ("image/png", Format::Text),
            (";;q=nonsense,", Format::Text),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(Format::accepted(&headers), format, "{accept}");
        }
        assert_eq!(Format::accepted(&HeaderMap::new()), Format::Text);
    }

    #[test]
    fn several_accept_headers_count_as_one() {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, "image/png".parse().unwrap());
        headers.append(header::ACCEPT, "application/json".parse().unwrap());
        assert_eq!(Format::accepted(&headers), Format::Json);
    }
}
