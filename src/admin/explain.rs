//! `POST /queries/{fingerprint}/explain`: which statement is meant, and who asked. What is asked of Postgres is left to
//! `control`, how it looks to `views`.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use schemars::JsonSchema;
use serde::Deserialize;
use tracing::info;

use super::Sources;
use super::access::Caller;
use super::answer::answer;
use super::format::Format;
use super::parameters::{Asked, NoParameters};
use super::problem::Problem;
use super::queries::{ledger, read, wanted};
use super::views::plan::PlanView;
use super::views::selection::OwnerSelection;
use crate::control::explain::ExplainError;
use crate::control::explained::{Explained, Target};
use crate::plan::text::Columns;
use crate::server::explain::Run;
use crate::sql::fingerprint::Fingerprint;
use crate::stats::ledger::Ledger;
use crate::stats::record::Owner;

/// Names and a flag.
const BODY_LIMIT: usize = 16 * 1024;

/// The page.
pub(super) fn router() -> Router<Arc<Sources>> {
    Router::new().route("/queries/{fingerprint}/explain", post(explain))
}

/// Which plan is wanted; of several pools, that of the one where the statement took the most time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    db: Option<String>,
    user: Option<String>,
    /// The schemas to look names up in, instead of those of the client that ran it: `tenant_1, public`.
    search_path: Option<String>,
    /// Without values, or with those of a single call that `samples.params = "full"` keeps; `analyze` runs the
    /// statement, too, where `explain_analyze` says that it may.
    #[serde(default)]
    mode: ModeWord,
    /// `text`, `json` or `html`, in place of what `Accept` says.
    format: Option<FormatWord>,
    /// Whether the text shows the columns that each node gives.
    #[serde(default)]
    verbose: bool,
}

/// For which values.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum ModeWord {
    #[default]
    Generic,
    Sample,
    Analyze,
}

/// In which form the plan is shown.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FormatWord {
    Text,
    Json,
    Html,
}

impl From<FormatWord> for Format {
    fn from(word: FormatWord) -> Self {
        match word {
            FormatWord::Text => Self::Text,
            FormatWord::Json => Self::Json,
            FormatWord::Html => Self::Html,
        }
    }
}

async fn explain(
    State(sources): State<Arc<Sources>>,
    Path(text): Path<String>,
    asked: Asked<NoParameters>,
    sent: Request,
) -> Response {
    let (parts, body) = sent.into_parts();
    let caller = parts.extensions.get().cloned().unwrap_or(Caller::Stranger);
    let body = to_bytes(body, BODY_LIMIT).await.unwrap_or_default();
    let begin = || {
        let request: Wanted = read(&parts.headers, &body)?;
        let target = target(ledger(&sources)?, &text, &request)?;
        Ok::<_, Problem>((request, target))
    };
    let (request, target) = match begin() {
        Ok(begun) => begun,
        Err(problem) => return problem.answer(asked.format),
    };
    let (about, owner) = (Arc::clone(&target.about), Arc::clone(&target.owner));
    let (explainer, path) = (Arc::clone(&sources.explainer), request.search_path);
    // A task of its own: whoever hangs up makes no room for the next one before the server is given back.
    let asking = tokio::spawn(async move {
        let began = Instant::now();
        let what = (target.about.fingerprint, Arc::clone(&target.owner));
        let path = path.as_deref();
        let explained = match request.mode {
            ModeWord::Generic => explainer.explain(target, path).await,
            ModeWord::Sample => explainer.explain_call(target, path, Run::No).await,
            ModeWord::Analyze => explainer.explain_call(target, path, Run::Analyze).await,
        };
        log(&caller, (what.0, &what.1), &explained, began);
        explained
    });
    let format = request.format.map_or(asked.format, Format::from);
    let explained = match asking.await.unwrap_or(Err(ExplainError::Silent)) {
        Ok(explained) => explained,
        Err(error) => return Problem::from(error).answer(format),
    };
    let (_, eras) = sources.explainer.known(about.fingerprint, (*owner).clone());
    let columns = if request.verbose { Columns::Shown } else { Columns::Hidden };
    answer(StatusCode::OK, &PlanView::new(&explained, eras, columns), format)
}

/// Every EXPLAIN leaves a line: who, what, and how long it took.
fn log(
    caller: &Caller,
    (fingerprint, owner): (Fingerprint, &Owner),
    explained: &Result<Arc<Explained>, ExplainError>,
    began: Instant,
) {
    let (who, took_ms) = (caller.name(), began.elapsed().as_micros() as f64 / 1e3);
    let Owner { database, user } = owner;
    match explained {
        Ok(explained) => {
            let plan = explained.plan.summary();
            info!(who, %fingerprint, %database, %user, took_ms, plan, "a statement was explained");
        }
        Err(error) => {
            let error = error.for_log();
            info!(who, %fingerprint, %database, %user, took_ms, error, "a statement was not explained");
        }
    }
}

/// The statement that is meant.
fn target(ledger: &Ledger, text: &str, request: &Wanted) -> Result<Target, Problem> {
    let fingerprint = wanted(text)?;
    let owner = OwnerSelection { database: request.db.clone(), user: request.user.clone() };
    ledger.add_up();
    let mut found: Option<(u64, Target)> = None;
    ledger.each(|record| {
        let is_it = record.about.as_ref().is_some_and(|about| about.fingerprint == fingerprint);
        let more = found.as_ref().is_none_or(|(most, _)| record.total_micros > *most);
        if is_it && more && owner.holds(record) {
            found = Target::of(record).map(|target| (record.total_micros, target));
        }
    });
    found.map(|(_, target)| target).ok_or_else(|| Problem::NoFingerprint(text.to_owned()))
}
