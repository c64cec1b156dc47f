//! The pages about statements. What they show is counted by `stats`, shown by `views`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Extension, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Sources;
use super::access::Sight;
use super::answer::{View, answer};
use super::follow::{Data, Followers, Pace};
use super::format::Format;
use super::parameters::{Asked, NoParameters};
use super::problem::Problem;
use super::views::histogram::{self, FingerprintsView, ForgottenView, HistogramView};
use super::views::plan::KnownPlan;
use super::views::queries::{QueriesView, QueryView};
use super::views::samples::{self, SamplesView};
use super::views::selection::{One, OwnerSelection, Selection};
use super::views::slow::{self, SlowView};
use crate::sql::fingerprint::{Fingerprint, SCAN_LIMIT};
use crate::stats::ledger::Ledger;

/// The longest body: a text in JSON as far as it is looked at, each byte escaped.
const BODY_LIMIT: usize = 6 * SCAN_LIMIT + 1024;

type Source = State<Arc<Sources>>;

/// The pages.
pub(super) fn router() -> Router<Arc<Sources>> {
    Router::new()
        .route("/queries", get(queries))
        .route("/queries/{fingerprint}", get(query))
        .route("/queries/{fingerprint}/histogram", get(histogram))
        .route("/queries/{fingerprint}/samples", get(samples))
        .route("/slow", get(slow))
        .route("/queries/reset", post(reset))
        .route("/fingerprint", post(fingerprint))
        .layer(Extension(Followers::default()))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
}

pub(super) fn ledger(sources: &Sources) -> Result<&Ledger, Problem> {
    sources.shared.ledger.as_deref().ok_or(Problem::NotCounted)
}

pub(super) fn wanted(text: &str) -> Result<Fingerprint, Problem> {
    text.parse().map_err(|_| Problem::NoFingerprint(text.to_owned()))
}

async fn queries(State(sources): Source, asked: Asked<Selection>) -> Response {
    let view = || QueriesView::new(ledger(&sources)?, &asked.parameters);
    answered(view(), asked.format)
}

async fn query(
    State(sources): Source,
    sight: Sight,
    Path(text): Path<String>,
    asked: Asked<One>,
) -> Response {
    let view = || {
        let fingerprint = wanted(&text)?;
        let view = QueryView::new(ledger(&sources)?, fingerprint, &asked.parameters)?;
        if view.is_empty() {
            return Err(Problem::NoFingerprint(text.clone()));
        }
        Ok(view.with_plans(|owner| KnownPlan::of(&sources.explainer, fingerprint, owner, sight)))
    };
    answered(view(), asked.format)
}

async fn histogram(
    State(sources): Source,
    Path(text): Path<String>,
    asked: Asked<histogram::Wanted>,
) -> Response {
    let view = || {
        let view = HistogramView::of(ledger(&sources)?, wanted(&text)?, &asked.parameters)?;
        view.ok_or_else(|| Problem::NoFingerprint(text.clone()))
    };
    answered(view(), asked.format)
}

async fn samples(
    State(sources): Source,
    sight: Sight,
    Path(text): Path<String>,
    asked: Asked<samples::Wanted>,
) -> Response {
    let view = || {
        let view = SamplesView::of(ledger(&sources)?, wanted(&text)?, &asked.parameters, sight);
        view.ok_or_else(|| Problem::NoFingerprint(text.clone()))
    };
    answered(view(), asked.format)
}

/// The page, or why there is none.
fn answered(view: Result<impl View, Problem>, format: Format) -> Response {
    match view {
        Ok(view) => answer(StatusCode::OK, &view, format),
        Err(problem) => problem.answer(format),
    }
}

async fn slow(
    State(sources): Source,
    Extension(followers): Extension<Followers>,
    sight: Sight,
    headers: HeaderMap,
    asked: Asked<slow::Selection>,
) -> Response {
    if asked.parameters.follow == slow::Follow::Yes {
        let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
        // As browsers' EventSource asks.
        let for_program = accept.is_some_and(|accept| accept.contains("text/event-stream"));
        let is_json = asked.format == Format::Json || for_program;
        let data = if is_json { Data::Json } else { Data::Line };
        let selection = asked.parameters.seen_with(sight);
        let follow = |_| followers.follow(&sources, selection, data, Pace::default());
        return ledger(&sources)
            .and_then(follow)
            .unwrap_or_else(|problem| problem.answer(asked.format));
    }
    match ledger(&sources) {
        Ok(ledger) => {
            let selection = asked.parameters.seen_with(sight);
            answer(StatusCode::OK, &SlowView::new(ledger, &selection), asked.format)
        }
        Err(problem) => problem.answer(asked.format),
    }
}

/// What is to be forgotten; everything that is not said is everything.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reset {
    fingerprint: Option<String>,
    db: Option<String>,
    user: Option<String>,
}

async fn reset(
    State(sources): Source,
    headers: HeaderMap,
    asked: Asked<NoParameters>,
    body: Bytes,
) -> Response {
    let forget = || {
        let Reset { fingerprint, db, user } = read(&headers, &body)?;
        let fingerprint = fingerprint.as_deref().map(wanted).transpose()?;
        let owner = OwnerSelection { database: db, user };
        let ledger = ledger(&sources)?;
        ledger.add_up();
        let forgotten = ledger.forget(fingerprint, |of| owner.owns(of));
        Ok::<_, Problem>(ForgottenView::from(forgotten))
    };
    match forget() {
        Ok(view) => answer(StatusCode::OK, &view, asked.format),
        Err(problem) => problem.answer(asked.format),
    }
}

/// What fingerprints are asked for of.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Sql {
    sql: String,
}

async fn fingerprint(headers: HeaderMap, asked: Asked<NoParameters>, body: Bytes) -> Response {
    match read::<Sql>(&headers, &body) {
        Ok(Sql { sql }) => answer(StatusCode::OK, &FingerprintsView::new(&sql), asked.format),
        Err(problem) => problem.answer(asked.format),
    }
}

/// A body of JSON that says so: a form on a web page can send none without asking first (CORS).
pub(super) fn read<T: DeserializeOwned>(headers: &HeaderMap, body: &[u8]) -> Result<T, Problem> {
    is_json(headers)?;
    serde_json::from_slice(body).map_err(|error| Problem::Body(error.to_string()))
}

/// The same of a request whose body says nothing.
pub(super) fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Problem::NotJson(kind.to_owned()));
    }
    Ok(())
}
