//! What went wrong with a request: RFC 9457 problem details in JSON, one line in text, a page in HTML.

use std::fmt;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use maud::html;
use serde_json::json;

use super::access::WINDOW;
use super::follow::MOST_FOLLOWERS;
use super::format::Format;
use super::html::Page;
use super::html::pieces::alert;
use super::routes::ENDPOINTS;
use crate::client::explain::ErrandError;
use crate::control::explain::ExplainError;

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
    /// There is no such route.
    #[error("there is no route \"{0}\" among those seen; /routes lists them")]
    NoRoute(String),
    /// There is no such finding.
    #[error("there is no candidate \"{0}\"; /nplusone lists them")]
    NoFinding(String),
    /// There is no such client.
    #[error("there is no client \"{0}\"; /clients lists them")]
    NoClient(String),
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
    /// There are tokens, and the request shows none.
    #[error("a token is needed: Authorization: Bearer TOKEN, or TOKEN as the password of any user")]
    NoToken,
    /// It shows one that is not there.
    #[error("the token is not known here")]
    WrongToken,
    /// Its address showed too many of those.
    #[error("too many wrong tokens from this address: wait for {} s, or show one that is known", WINDOW.as_secs())]
    TooManyWrong,
    /// The token's role is not enough.
    #[error("this needs a token with the role {needed}, which that of \"{who}\" has not")]
    Role {
        /// The least role that would do.
        needed: &'static str,
        /// The token's name.
        who: String,
    },
    /// `admin_pages = "metrics"`.
    #[error("admin_pages is metrics: there are /metrics, /healthz, /readyz and /version")]
    MetricsOnly,
    /// There is no plan.
    #[error("{text}")]
    NoPlan {
        /// Whose fault it is.
        status: StatusCode,
        /// Why, for people.
        text: String,
        /// When to ask again, seconds; 0: not by itself.
        again: u64,
    },
    /// Each follower holds a connection.
    #[error("{MOST_FOLLOWERS} follow already, which is the most that can")]
    TooManyFollowers,
    /// Workers did not answer, so that counters would seem to go back.
    #[error("workers {0:?} do not answer")]
    Silent(Vec<usize>),
}

/// How a token can be shown (RFC 6750, RFC 7617); browsers know the second.
const CHALLENGES: [&str; 2] =
    ["Bearer realm=\"pooler\"", "Basic realm=\"pooler\", charset=\"UTF-8\""];

/// Words with commas.
struct Listed<'a, T>(&'a [T]);

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoPage { .. }
            | Self::NoPool { .. }
            | Self::NoFingerprint(_)
            | Self::NoRoute(_)
            | Self::NoFinding(_)
            | Self::NoClient(_)
            | Self::NotCounted
            | Self::MetricsOnly => StatusCode::NOT_FOUND,
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
            Self::TooManyWrong => StatusCode::TOO_MANY_REQUESTS,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Parameter { .. } | Self::Value { .. } | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::NotJson(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Host(_) | Self::Role { .. } => StatusCode::FORBIDDEN,
            Self::Silent(_) | Self::TooManyFollowers => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoPlan { status, .. } => *status,
        }
    }

    /// The answer.
    pub(super) fn answer(&self, format: Format) -> Response {
        let status = self.status();
        let title = status.canonical_reason().unwrap_or_default();
        let mut response = match format {
            Format::Html => {
                let page = html! { h1 { (title) } (alert(&self.to_string())) };
                Page::new("", page).answer(status)
            }
            Format::Text => {
                let kind = "text/plain; charset=utf-8";
                (status, [(header::CONTENT_TYPE, kind)], format!("{self}\n")).into_response()
            }
            Format::Json => {
                let detail = self.to_string();
                let body = json!({ "title": title, "status": status.as_u16(), "detail": detail });
                let kind = "application/problem+json";
                (status, [(header::CONTENT_TYPE, kind)], format!("{body}\n")).into_response()
            }
        };
        if let Self::Method { allowed, .. } = self {
            let allowed = if *allowed == "GET" { "GET, HEAD" } else { allowed };
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        let headers = response.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => {
                for scheme in CHALLENGES {
                    headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
                }
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let again =
                    if let Self::NoPlan { again, .. } = self { *again } else { WINDOW.as_secs() };
                headers.insert(header::RETRY_AFTER, HeaderValue::from(again));
            }
            _ => {}
        }
        response
    }
}

impl From<ExplainError> for Problem {
    fn from(error: ExplainError) -> Self {
        let (status, again) = match &error {
            ExplainError::Off => (StatusCode::NOT_FOUND, 0),
            ExplainError::AnalyzeOff => (StatusCode::FORBIDDEN, 0),
            ExplainError::Running => (StatusCode::TOO_MANY_REQUESTS, 1),
            ExplainError::TooOften(wait) => (StatusCode::TOO_MANY_REQUESTS, wait.as_secs() + 1),
            ExplainError::NoSample | ExplainError::Errand(ErrandError::Busy) => {
                (StatusCode::CONFLICT, 0)
            }
            ExplainError::Errand(
                ErrandError::NoServer(_) | ErrandError::Lost(_) | ErrandError::Late,
            )
            | ExplainError::NoPool
            | ExplainError::Silent => (StatusCode::SERVICE_UNAVAILABLE, 0),
            ExplainError::NoPlan(_)
            | ExplainError::Incomplete
            | ExplainError::NotRun(_)
            | ExplainError::Unwritable
            | ExplainError::Refused { .. }
            | ExplainError::Unreadable => (StatusCode::UNPROCESSABLE_ENTITY, 0),
        };
        Self::NoPlan { status, text: error.to_string(), again }
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
