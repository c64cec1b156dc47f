//! Which page answers which path: asks `control` for what the page shows, no more.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Extension, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::Sources;
use super::access::Caller;
use super::answer::answer;
use super::explain;
use super::format::Format;
use super::guard::{Guard, guard};
use super::insight;
use super::metrics;
use super::parameters::{Asked, NoParameters};
use super::problem::Problem;
use super::process;
use super::queries::{self, is_json};
use super::views::clients::{self, ClientsView, EndedView, WITH_SERVER};
use super::views::compat::CompatView;
use super::views::dashboard::{Dashboard, Shown, TOP_FINDINGS, TOP_ROUTES};
use super::views::databases::DatabasesView;
use super::views::idle::IdleView;
use super::views::nplusone::FindingsView;
use super::views::pools::PoolsView;
use super::views::queries::QueriesView;
use super::views::routes::RoutesView;
use super::views::servers::ServersView;
use super::views::state::{Alive, Ready, VERSION, Version};
use crate::client::look::Wanted;
use crate::config::Role;
use crate::control::census::{Count, Measures};
use crate::control::refused::refused_logins;
use crate::lifecycle::Stage;

/// Every page and what it shows.
pub(super) const ENDPOINTS: [(&str, &str); 21] = [
    ("/", "everything on one screen"),
    ("/pools", "clients, servers, rates and times of each pool"),
    ("/pools/{database}/{user}", "one pool in full"),
    ("/clients", "who is connected and what each does"),
    ("/servers", "connections to Postgres and who has them"),
    ("/queries", "what statements did, the most expensive first"),
    ("/queries/{fingerprint}", "one statement in full"),
    ("/queries/{fingerprint}/histogram", "how its times are spread"),
    ("/queries/{fingerprint}/samples", "single calls of it, the slowest and the newest"),
    ("/slow", "the last statements that took long"),
    ("/routes", "what the statements of each route did, by the tags in their comments"),
    ("/routes/{route}", "one route in full"),
    ("/nplusone", "statements that repeat within a request and need not"),
    ("/idle", "where transactions are open while their client asks nothing"),
    ("/databases", "where each database is, its limits, whether it answers"),
    ("/compat", "what applications do to their sessions, and what became of it"),
    ("/healthz", "200 while the process answers"),
    ("/readyz", "503 while draining, or a configured database is down or refuses us"),
    ("/metrics", "all numbers for Prometheus"),
    ("/version", "which program this is"),
    ("/openapi.json", "all of this for programs: paths, parameters, schemas (OpenAPI 3.1)"),
];

/// What is sent with POST, and what it does.
pub(super) const ACTIONS: [(&str, &str); 5] = [
    (
        "/queries/reset",
        "forgets statements, routes, candidates and pauses: all, or of a `fingerprint`, `db`, `user`",
    ),
    (
        "/queries/{fingerprint}/explain",
        "asks Postgres how it would run a statement, without running it",
    ),
    ("/clients/{id}/end", "ends a client: it is told 57P01, its server is cleaned"),
    ("/nplusone/{id}/ignore", "lists a candidate no more, until the program ends"),
    ("/fingerprint", "gives hash and text of each statement in `sql`"),
];

/// After a start, how long `/readyz` waits for the first probes before it says no.
const FIRST_PROBES: Duration = Duration::from_secs(2);

type Source = State<Arc<Sources>>;

/// All pages.
pub(super) fn router(sources: Arc<Sources>) -> Router {
    Router::new()
        .route("/", get(dashboard))
        .route("/pools", get(pools))
        .route("/pools/{database}/{user}", get(pool))
        .route("/clients", get(clients))
        .route("/clients/{id}/end", post(end_client))
        .route("/servers", get(servers))
        .route("/databases", get(databases))
        .route("/compat", get(compat))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics::page))
        .route("/version", get(version))
        .route("/openapi.json", get(openapi))
        .merge(queries::router())
        .merge(insight::router())
        .merge(explain::router())
        .fallback(no_page)
        .method_not_allowed_fallback(no_method)
        .layer(from_fn_with_state(Guard::new(Arc::clone(&sources)), guard))
        .layer(map_response(describe))
        .with_state(sources)
}

async fn dashboard(State(sources): Source, asked: Asked<Shown>) -> Response {
    let (count, measures) = gather(&sources).await;
    let silent = silent(&count, &measures);
    let config = sources.shared.pools.config();
    let databases =
        DatabasesView::new(&config, &count.pools, &sources.health.all(), silent.clone());
    let view = Dashboard {
        version: VERSION,
        stage: match sources.lifecycle.stage() {
            Stage::Serving => "serving",
            Stage::Draining => "draining",
        },
        uptime_s: sources.started.0.elapsed().as_secs_f64(),
        workers: sources.shared.workers.len(),
        memory_bytes: process::resident_bytes(),
        clients: sources.shared.pools.clients.used(),
        clients_logging_in: count.logging_in,
        max_client_conn: config.limits.max_client_conn,
        pools: PoolsView::new(&count.pools, &measures, silent, &sources.history),
        databases: databases.databases,
        nplusone: sources
            .shared
            .ledger
            .as_ref()
            .map_or_else(Vec::new, |ledger| FindingsView::top(ledger, TOP_FINDINGS)),
        routes: sources
            .shared
            .ledger
            .as_ref()
            .map_or_else(Vec::new, |ledger| RoutesView::top(ledger, TOP_ROUTES)),
        idle: sources.shared.ledger.as_ref().and_then(|ledger| IdleView::longest(ledger)),
        queries: sources.shared.ledger.as_ref().map_or_else(Vec::new, |ledger| {
            QueriesView::top(ledger, asked.parameters.sort, asked.parameters.limit)
        }),
        shown: asked.parameters,
    };
    answer(StatusCode::OK, &view, asked.format)
}

async fn pools(State(sources): Source, asked: Asked<NoParameters>) -> Response {
    let (count, measures) = gather(&sources).await;
    let silent = silent(&count, &measures);
    let view = PoolsView::new(&count.pools, &measures, silent, &sources.history);
    answer(StatusCode::OK, &view, asked.format)
}

async fn pool(
    State(sources): Source,
    Path((database, user)): Path<(String, String)>,
    asked: Asked<NoParameters>,
) -> Response {
    let mut count = sources.census.count().await;
    count.pools.retain(|c| *c.pool.key.database == *database && *c.pool.key.user == *user);
    let pools: Vec<_> = count.pools.iter().map(|count| Arc::clone(&count.pool)).collect();
    let measures = sources.census.measure(&pools).await;
    let view = PoolsView::new(&count.pools, &measures, count.silent.clone(), &sources.history);
    match view.pools.first() {
        Some(row) => answer(StatusCode::OK, row, asked.format),
        None => Problem::NoPool { database, user }.answer(asked.format),
    }
}

async fn clients(State(sources): Source, asked: Asked<clients::Selection>) -> Response {
    let (seen, silent) = sources.census.clients(asked.parameters.into()).await;
    answer(StatusCode::OK, &ClientsView::new(seen, asked.parameters, silent), asked.format)
}

async fn end_client(
    State(sources): Source,
    Path(id): Path<String>,
    headers: HeaderMap,
    asked: Asked<NoParameters>,
) -> Response {
    if let Err(problem) = is_json(&headers) {
        return problem.answer(asked.format);
    }
    let Ok(number) = id.parse() else { return Problem::NoClient(id).answer(asked.format) };
    match sources.census.end(number).await {
        (Some(client), _) => answer(StatusCode::OK, &EndedView::from(client), asked.format),
        (None, silent) if !silent.is_empty() => Problem::Silent(silent).answer(asked.format),
        (None, _) => Problem::NoClient(id).answer(asked.format),
    }
}

async fn servers(State(sources): Source, asked: Asked<NoParameters>) -> Response {
    // As many as there are servers, which the pools bound.
    let wanted = Wanted { phases: WITH_SERVER, limit: usize::MAX };
    let (holders, silent) = sources.census.clients(wanted).await;
    let view = ServersView::new(&sources.census.pools(), &holders.clients, silent);
    answer(StatusCode::OK, &view, asked.format)
}

async fn databases(State(sources): Source, asked: Asked<NoParameters>) -> Response {
    let count = sources.census.count().await;
    let config = sources.shared.pools.config();
    let view =
        DatabasesView::new(&config, &count.pools, &sources.health.all(), count.silent.clone());
    answer(StatusCode::OK, &view, asked.format)
}

async fn compat(State(sources): Source, asked: Asked<NoParameters>) -> Response {
    answer(StatusCode::OK, &CompatView::new(&sources.census.pools()), asked.format)
}

async fn healthz(asked: Asked<NoParameters>) -> Response {
    answer(StatusCode::OK, &Alive::default(), asked.format)
}

async fn readyz(
    State(sources): Source,
    Extension(caller): Extension<Caller>,
    asked: Asked<NoParameters>,
) -> Response {
    let config = sources.shared.pools.config();
    let round = sources.health.first_round(FIRST_PROBES).await;
    let mut ready = Ready::new(sources.lifecycle.stage(), &sources.history.silent());
    ready.hear_of(&config, &sources.health.all(), round);
    ready.hear_of_refusals(&refused_logins(&sources.shared, Instant::now()));
    if !caller.may(Role::Metrics) {
        ready.hide_reasons();
    }
    let status = if ready.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    answer(status, &ready, asked.format)
}

async fn version(asked: Asked<NoParameters>) -> Response {
    answer(StatusCode::OK, &Version::default(), asked.format)
}

async fn openapi() -> Response {
    let body = format!("{:#}\n", super::openapi::document());
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

async fn no_page(request: Request) -> Response {
    let path = request.uri().path().to_owned();
    Problem::NoPage { path }.answer(Format::accepted(request.headers()))
}

async fn no_method(request: Request) -> Response {
    let given = request.method().to_string();
    let given_path = request.uri().path();
    let ignores = given_path.starts_with("/nplusone/");
    let explains = given_path.starts_with("/queries/") && given_path.ends_with("/explain");
    let ends = given_path.starts_with("/clients/");
    let is_action =
        ignores || explains || ends || ACTIONS.iter().any(|(path, _)| *path == given_path);
    let allowed = if is_action { "POST" } else { "GET" };
    Problem::Method { given, allowed }.answer(Format::accepted(request.headers()))
}

/// What holds for every answer: it depends on `Accept`, and it is about this moment only.
async fn describe(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What most pages show.
pub(super) async fn gather(sources: &Sources) -> (Count, Measures) {
    let count = sources.census.count().await;
    let pools: Vec<_> = count.pools.iter().map(|count| Arc::clone(&count.pool)).collect();
    let measures = sources.census.measure(&pools).await;
    (count, measures)
}

/// The workers that are missing in it.
pub(super) fn silent(count: &Count, measures: &Measures) -> Vec<usize> {
    if count.silent.is_empty() { measures.silent.clone() } else { count.silent.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_docs_list_every_page_as_it_is() {
        let docs = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ADMIN.md"));
        let rows = ENDPOINTS.map(|(path, shows)| format!("| `{path}` | {shows} |"));
        let written: Vec<_> = docs.lines().filter(|line| line.starts_with("| `/")).collect();
        assert_eq!(written, rows, "docs/ADMIN.md should have:\n{}\n", rows.join("\n"));
        for (path, does) in ACTIONS {
            let row = format!("| `POST {path}` | {does} |");
            assert!(docs.lines().any(|line| line == row), "docs/ADMIN.md should have:\n{row}\n");
        }
    }
}
