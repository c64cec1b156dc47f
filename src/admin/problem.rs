//! What went wrong with a request: RFC 9457 problem details in JSON, one line in text.

use std::fmt;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::format::Format;
use super::routes::ENDPOINTS;

/// Why a request is not answered as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Problem {
    /// There is no such page.
    #[error("there is no {path}; there are {}", Listed(&ENDPOINTS.map(|(path, _)| path)))]
    NoPage {
        /// What was asked for.
        path: String,
    },
    /// There is no such pool.
    #[error("there is no pool of database \"{database}\" and user \"{user}\"")]
    NoPool {
        /// The database asked for.
        database: String,
        /// The user asked for.
        user: String,
    },
    /// Nothing else is possible here.
    #[error("method {given} is not allowed: only {allowed} is")]
    Method {
        /// What was tried.
        given: String,
        /// What is possible.
        allowed: &'static str,
    },
    /// There is no such statement.
    #[error("there is no fingerprint \"{0}\" among those counted; /queries lists them")]
    NoFingerprint(String),
    /// Statements are not counted.
    #[error("statements are not counted: query_stats is off")]
    NotCounted,
    /// A change must come as JSON, which no web page can send here.
    #[error("the body must be application/json, not \"{0}\"")]
    NotJson(String),
    /// The body is not what it should be.
    #[error("the body cannot be read: {0}")]
    Body(String),
    /// A parameter that the page does not have.
    #[error("there is no parameter \"{name}\" here; there are {}", Listed(valid))]
    Parameter {
        /// The parameter.
        name: String,
        /// Those there are.
        valid: Vec<&'static str>,
    },
    /// A parameter's value is not possible.
    #[error("{name} is {expected}, not \"{given}\"")]
    Value {
        /// The parameter.
        name: &'static str,
        /// What it is given.
        given: String,
        /// What it can be.
        expected: String,
    },
    /// The `Host` header names another machine.
    #[error("host \"{0}\" is not this machine's own: use localhost, 127.0.0.1 or [::1]")]
    Host(String),
    /// Workers did not answer, so that counters would seem to go back.
    #[error("workers {0:?} do not answer")]
    Silent(Vec<usize>),
}

/// Words with commas.
struct Listed<'a, T>(&'a [T]);

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoPage { .. }
            | Self::NoPool { .. }
            | Self::NoFingerprint(_)
            | Self::NotCounted => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Parameter { .. } | Self::Value { .. } | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::NotJson(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Host(_) => StatusCode::FORBIDDEN,
            Self::Silent(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer.
    pub(super) fn answer(&self, format: Format) -> Response {
        let status = self.status();
        let (kind, body) = match format {
            Format::Text => ("text/plain; charset=utf-8", format!("{self}\n")),
            Format::Json => {
                let title = status.canonical_reason();
                let body = json!({ "title": title, "status": status.as_u16(), "detail": self.to_string() });
                ("application/problem+json", format!("{body}\n"))
            }
        };
        let mut response = (status, [(header::CONTENT_TYPE, kind)], body).into_response();
        if let Self::Method { allowed, .. } = self {
            let allowed = if *allowed == "GET" { "GET, HEAD" } else { allowed };
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}

impl<T: fmt::Display> fmt::Display for Listed<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.0.iter().enumerate() {
            write!(f, "{}{word}", if index == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
