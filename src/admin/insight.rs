//! The pages about statements that belong together: routes, what repeats, pauses in transactions. What they show is
//! found by `stats`, shown by `views`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};

use super::Sources;
use super::answer::answer;
use super::parameters::{Asked, NoParameters, Parameters};
use super::problem::Problem;
use super::queries::{is_json, ledger};
use super::views::idle::{self, IdleView};
use super::views::nplusone::{self, FindingsView, IgnoredView};
use super::views::routes::{self, RouteView, RoutesView};
use crate::admin::answer::View;
use crate::stats::ledger::Ledger;

type Source = State<Arc<Sources>>;

/// The pages.
pub(super) fn router() -> Router<Arc<Sources>> {
    Router::new()
        .route("/routes", get(all_routes))
        // A route has slashes, written as such or as %2F.
        .route("/routes/{*route}", get(one_route))
        .route("/nplusone", get(findings))
        .route("/nplusone/{id}/ignore", post(ignore))
        .route("/idle", get(idle))
}

fn show<P: Parameters, V: View>(
    sources: &Sources,
    asked: &Asked<P>,
    view: impl FnOnce(&Ledger, &P) -> Result<V, Problem>,
) -> Response {
    match ledger(sources).and_then(|ledger| view(ledger, &asked.parameters)) {
        Ok(view) => answer(StatusCode::OK, &view, asked.format),
        Err(problem) => problem.answer(asked.format),
    }
}

async fn all_routes(State(sources): Source, asked: Asked<routes::Selection>) -> Response {
    show(&sources, &asked, RoutesView::new)
}

async fn one_route(
    State(sources): Source,
    Path(route): Path<String>,
    asked: Asked<routes::Selection>,
) -> Response {
    show(&sources, &asked, |ledger, selection| {
        let view = RoutesView::of(ledger, &route, selection)?;
        if view.is_empty() { Err(Problem::NoRoute(route)) } else { Ok(RouteView(view)) }
    })
}

async fn findings(State(sources): Source, asked: Asked<nplusone::Selection>) -> Response {
    show(&sources, &asked, |ledger, selection| Ok(FindingsView::new(ledger, selection)))
}

async fn ignore(
    State(sources): Source,
    Path(id): Path<String>,
    headers: HeaderMap,
    asked: Asked<NoParameters>,
) -> Response {
    show(&sources, &asked, |ledger, _| {
        is_json(&headers)?;
        let number = u64::from_str_radix(&id, 16).ok().filter(|_| id.len() == 16);
        let ignored = number.and_then(|number| ledger.insight.lock().ignore(number));
        let ignored = ignored.ok_or(Problem::NoFinding(id))?;
        Ok(IgnoredView::from(&ignored))
    })
}

async fn idle(State(sources): Source, asked: Asked<idle::Selection>) -> Response {
    show(&sources, &asked, |ledger, selection| Ok(IdleView::new(ledger, selection)))
}
