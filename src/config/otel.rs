//! `[otel]`: where OpenTelemetry's collector is and what it is told. How is left to those who send.

use std::fmt;

use super::fault::{Conflict, Fault, Place, Problem};
use super::kind::{Input, Kind, Literal, Word};
use super::secret_text::{MASK, SecretText};

/// OTLP's port for HTTP (<https://opentelemetry.io/docs/specs/otlp/#otlphttp-default-port>).
const USUAL_PORT: u16 = 4318;

/// More headers than any collector wants.
const MOST_HEADERS: usize = 32;

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// Protobuf over HTTP.
    HttpProtobuf,
}

impl Word for OtlpProtocol {
    const WORDS: &'static [(&'static str, Self)] = &[("http/protobuf", Self::HttpProtobuf)];
}

/// Is the collector spoken to in clear?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In clear.
    Http,
    /// Through TLS.
    Https,
}

/// Where a collector is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpEndpoint {
    /// In clear or not.
    pub scheme: Scheme,
    /// A name or an address; one of IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What paths begin with, without a slash at its end.
    pub base: String,
}

/// A collector, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Collector;

/// A secret; empty is none.
#[derive(Debug, Clone, Copy)]
pub(super) struct SecretOrNone;

impl Kind for SecretOrNone {
    type Value = Option<SecretText>;

    fn read(&self, input: Input<'_>) -> Result<Self::Value, Problem> {
        let given = input.text("headers such as name=value, with commas")?;
        Ok((!given.is_empty()).then(|| SecretText::new(given.to_owned())))
    }

    fn show(&self, value: &Self::Value) -> Option<Literal> {
        Some(Literal::text(if value.is_some() { MASK } else { "" }))
    }
}

impl OtlpEndpoint {
    fn read(given: &str) -> Option<Self> {
        let (scheme, rest) = match given.split_once("://")? {
            ("http", rest) => (Scheme::Http, rest),
            ("https", rest) => (Scheme::Https, rest),
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => rest.split_once(']')?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok().filter(|port| *port > 0)?,
            None if port.is_empty() => USUAL_PORT,
            None => return None,
        };
        let in_host = |c: char| c.is_ascii_alphanumeric() || "-._:".contains(c);
        let in_path = |c: char| c.is_ascii_alphanumeric() || "-._~/%".contains(c);
        let fits = !host.is_empty() && host.chars().all(in_host) && path.chars().all(in_path);
        let base = path.trim_end_matches('/').to_owned();
        fits.then(|| Self { scheme, host: host.to_owned(), port, base })
    }

    /// Host and port, as a URL has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for OtlpEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority(), self.base)
    }
}

impl Kind for Collector {
    type Value = Option<OtlpEndpoint>;

    fn read(&self, input: Input<'_>) -> Result<Self::Value, Problem> {
        const EXPECTED: &str =
            "a URL such as http://127.0.0.1:4318, without user, password or query";
        let given = input.text(EXPECTED)?.trim();
        if given.is_empty() {
            return Ok(None);
        }
        // Not quoted where it may hold a password.
        let quoted = if given.contains('@') { "..." } else { given };
        let wrong = || Problem::NotA { given: quoted.to_owned(), expected: EXPECTED };
        OtlpEndpoint::read(given).map(Some).ok_or_else(wrong)
    }

    fn show(&self, value: &Self::Value) -> Option<Literal> {
        Some(Literal::text(&value.as_ref().map(ToString::to_string).unwrap_or_default()))
    }
}

/// Headers as `OTEL_EXPORTER_OTLP_HEADERS` has them: `name=value`, with commas, values URL-encoded. `None`: they are not.
#[must_use]
pub fn otlp_headers(text: &SecretText) -> Option<Vec<(String, SecretText)>> {
    let mut headers = Vec::new();
    for given in text.expose().split(',').map(str::trim).filter(|given| !given.is_empty()) {
        let (name, value) = given.split_once('=')?;
        let (name, value) = (name.trim().to_ascii_lowercase(), decoded(value.trim())?);
        let in_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fits = !name.is_empty() && name.chars().all(in_name) && headers.len() < MOST_HEADERS;
        if !fits || !value.chars().all(|c| c == ' ' || c.is_ascii_graphic()) {
            return None;
        }
        headers.push((name, SecretText::new(value)));
    }
    Some(headers)
}

/// The fault of headers that cannot be read.
pub(super) fn check_headers(headers: Option<&SecretText>, place: Place) -> Option<Fault> {
    let fault = Fault { place, problem: Conflict::OtlpHeaders.into() };
    headers.filter(|headers| otlp_headers(headers).is_none()).map(|_| fault)
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, behind @ ..] = rest {
        rest = behind;
        if *byte == b'%' {
            let digits = std::str::from_utf8(behind.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &behind[2..];
        } else {
            bytes.push(*byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Option<String> {
        OtlpEndpoint::read(text).map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn endpoints_have_a_scheme_a_host_and_perhaps_more() {
        for (given, read) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
            ("http://collector", "http://collector:4318"),
            ("https://otlp.example.com:443/base/", "https://otlp.example.com:443/base"),
            ("https://[::1]:9000", "https://[::1]:9000"),
            ("http://[::1]", "http://[::1]:4318"),
        ] {
            assert_eq!(endpoint(given).as_deref(), Some(read));
        }
        for wrong in [
            "collector:4318",
            "grpc://collector",
            "http://",
            "http://:4318",
            "http://a:0",
            "http://a:port",
            "http://user:secret@collector",
            "http://a/?query",
            "http://[::1",
            "http://a b",
        ] {
            assert_eq!(endpoint(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn headers_are_pairs_with_encoded_values() {
        let read = |text: &str| {
            let headers = otlp_headers(&SecretText::new(text.to_owned()))?;
            let plain =
                |(name, value): &(String, SecretText)| format!("{name}: {}", value.expose());
            Some(headers.iter().map(plain).collect::<Vec<_>>())
        };
        let wanted = ["authorization: Bearer a=b", "x-scope: shop,eu"];
        assert_eq!(read("Authorization=Bearer%20a=b, x-scope=shop%2Ceu,").unwrap(), wanted);
        for wrong in ["novalue", "=x", "a b=x", "a=%2", "a=%0d%0aevil", "a=\u{e9}"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
