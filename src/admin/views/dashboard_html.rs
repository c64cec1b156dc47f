//! The first page that a browser gets: everything on one screen.

use std::time::Duration;

use maud::{Markup, html};

use super::{Dashboard, MOST_DATABASES, MOST_POOLS};
use crate::admin::html::Page;
use crate::admin::html::pieces::{alert, card};
use crate::admin::human;
use crate::admin::views::databases::{self, DatabaseRow};
use crate::admin::views::idle::IdleRow;
use crate::admin::views::nplusone::html::table as finding_table;
use crate::admin::views::pools::PoolRow;
use crate::admin::views::pools::html::{missing, table as pool_table};
use crate::admin::views::queries::html::table as query_table;
use crate::admin::views::routes::html::table as route_table;
use crate::config::FALLBACK;
use crate::control::history::WINDOW;

/// The page.
pub(super) fn page(view: &Dashboard) -> Page {
    let busiest = view.busiest();
    let shown: Vec<_> = busiest.iter().copied().take(MOST_POOLS).collect();
    let urgent = databases::by_urgency(&view.databases);
    let live = html! {
        (cards(view))
        (missing(&view.pools.silent_workers))
        @for database in urgent.iter().filter(|database| database.health.error.is_some()) {
            (alert(&format!("database {}: {}", database.database, database.health_text())))
        }
        h2 { "pools" (more(busiest.len(), MOST_POOLS, "/pools")) }
        (pool_table(&shown))
        h2 { "statements that took the most time" a href="/queries" { "all" } }
        (query_table(&view.queries, None))
        @if !view.nplusone.is_empty() {
            h2 { "what repeats within a request" a href="/nplusone" { "all" } }
            (finding_table(&view.nplusone))
        }
        @if view.routes.iter().any(|row| row.is_named()) {
            h2 { "routes that took the most time" a href="/routes" { "all" } }
            (route_table(&view.routes, None))
        }
        @if let Some(line) = view.idle.as_ref().and_then(IdleRow::line) {
            h2 { "idle in a transaction" a href="/idle" { "all" } }
            p { (line) }
        }
        h2 { "databases" (more(urgent.len(), MOST_DATABASES, "/databases")) }
        (database_table(urgent.iter().copied().take(MOST_DATABASES)))
        footer {
            "Rates and times are of the last " (WINDOW.as_secs()) " seconds, statements are counted since the start. "
            "The same as text: curl; as JSON: "
            a href="/?format=json" { "?format=json" } ". For Prometheus: " a href="/metrics" { "/metrics" } "."
        }
    };
    Page::new("/", live)
}

fn cards(view: &Dashboard) -> Markup {
    let sum = |of: fn(&PoolRow) -> u32| view.pools.pools.iter().map(of).sum::<u32>();
    let rate = |of: fn(&PoolRow) -> f64| view.pools.pools.iter().map(of).sum::<f64>();
    let servers = sum(|pool| pool.servers_active + pool.servers_idle + pool.servers_opening);
    let up = human::span(Duration::from_secs_f64(view.uptime_s));
    let workers = match view.workers {
        1 => "1 worker".to_owned(),
        more => format!("{more} workers"),
    };
    let rate_of = |of| human::rate(rate(of));
    html! {
        div.cards {
            (card(view.stage, &up, &workers))
            (card("clients", &view.clients.to_string(), &format!("of {}", view.max_client_conn)))
            (card("waiting", &sum(|pool| pool.clients_waiting).to_string(), ""))
            (card("servers", &servers.to_string(), ""))
            (card("queries/s", &rate_of(|pool| pool.rates.queries_per_s), ""))
            (card("transactions/s", &rate_of(|pool| pool.rates.transactions_per_s), ""))
            (card("errors/s", &rate_of(|pool| pool.rates.errors_per_s), ""))
            @if let Some(bytes) = view.memory_bytes { (card("memory", &human::bytes(bytes), "")) }
        }
    }
}

fn more(all: usize, shown: usize, path: &str) -> Markup {
    let hidden = all.saturating_sub(shown);
    html! { @if hidden > 0 { a href=(path) { "and " (hidden) " more" } } }
}

fn database_table<'a>(databases: impl Iterator<Item = &'a DatabaseRow>) -> Markup {
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th.l { "database" }
                        th.l { "address" }
                        th { "pools" }
                        th { "clients" }
                        th { "servers" }
                        th.l { "Postgres" }
                    }
                }
                tbody { @for database in databases { (database_row(database)) } }
            }
        }
    }
}

fn database_row(row: &DatabaseRow) -> Markup {
    let of = |used: u32, limit: Option<u32>| {
        limit.map_or_else(|| used.to_string(), |limit| format!("{used} of {limit}"))
    };
    let color = match (&row.health.error, row.health.state) {
        (Some(_), _) => "l bad",
        (None, "up") => "l good",
        (None, _) => "l dim",
    };
    html! {
        tr {
            td.l { @if row.database == FALLBACK { "* (others)" } @else { (row.database) } }
            td.l { (row.address) }
            td { (row.pools) }
            td { (of(row.clients, row.max_clients)) }
            td { (of(row.servers, row.max_servers)) }
            td class=(color) { (row.health_text()) }
        }
    }
}
