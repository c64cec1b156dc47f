//! Pools for browsers.

use maud::{Markup, html};

use super::{PoolRow, PoolsView};
use crate::admin::html::Page;
use crate::admin::html::pieces::{alert, card, encoded, share};
use crate::admin::human;
use crate::admin::views::numbers::Percentiles;
use crate::admin::views::silence;

/// Every pool.
pub(super) fn all(view: &PoolsView) -> Page {
    let live = html! {
        (missing(&view.silent_workers))
        (table(&view.pools.iter().collect::<Vec<_>>()))
    };
    Page::new("/pools", live)
}

/// Says which workers are missing.
pub(crate) fn missing(silent: &[usize]) -> Markup {
    html! { @if !silent.is_empty() { (alert(&silence(silent))) } }
}

/// The table of these pools.
pub(crate) fn table(pools: &[&PoolRow]) -> Markup {
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th rowspan="2" class="l" { "pool" }
                        th.g colspan="3" { "clients" }
                        th.g colspan="4" { "servers" }
                        th.g colspan="2" { "wait" }
                        th.g colspan="3" { "per second" }
                        th.g colspan="3" { "query time" }
                    }
                    tr {
                        @for title in ["active", "waiting", "idle"] { th { (title) } }
                        th { "in use" }
                        th { "idle" }
                        th.opt { "opening" }
                        th { "of" }
                        @for title in ["now", "p99", "queries", "trans.", "errors", "p50", "p95", "p99"] {
                            th { (title) }
                        }
                    }
                }
                tbody {
                    @for pool in pools { (row(pool)) }
                    @if pools.is_empty() {
                        tr { td.l.dim colspan="16" { "no pools yet: nobody has logged in" } }
                    }
                }
            }
        }
    }
}

fn row(pool: &PoolRow) -> Markup {
    let path = format!("/pools/{}/{}", encoded(&pool.database), encoded(&pool.user));
    let size = pool.pool_size.map_or_else(|| "∞".to_owned(), |size| size.to_string());
    let used = pool.pool_size.map(|size| f64::from(pool.servers_active) / f64::from(size.max(1)));
    let warn = |bad: bool| bad.then_some("warn");
    html! {
        tr {
            td.l {
                a href=(path) { (pool.name()) }
                @if let Some(error) = &pool.connect_error { " " span.bad title=(error) { "no connection" } }
            }
            td { (pool.clients_active) }
            td class=[warn(pool.clients_waiting > 0)] { (pool.clients_waiting) }
            td { (pool.clients_idle) }
            td { @if let Some(used) = used { (share(used)) " " } (pool.servers_active) }
            td { (pool.servers_idle) }
            td.opt { (pool.servers_opening) }
            td.dim { (size) }
            td class=[warn(pool.maxwait_ms > 0.0)] { (human::millis(pool.maxwait_ms)) }
            td { (human::millis(pool.wait_ms.p99)) }
            td { (human::rate(pool.rates.queries_per_s)) }
            td { (human::rate(pool.rates.transactions_per_s)) }
            td class=[warn(pool.rates.errors_per_s > 0.0)] { (human::rate(pool.rates.errors_per_s)) }
            td { (human::millis(pool.query_ms.p50)) }
            td { (human::millis(pool.query_ms.p95)) }
            td { (human::millis(pool.query_ms.p99)) }
        }
    }
}

/// One pool in full.
pub(super) fn one(pool: &PoolRow) -> Page {
    let size = pool.pool_size.map_or_else(|| "no limit".to_owned(), |size| format!("of {size}"));
    let servers = pool.servers_active + pool.servers_idle + pool.servers_opening;
    let totals = pool.totals.text();
    let live = html! {
        h1 { (pool.name()) }
        @if let Some(error) = &pool.connect_error {
            (alert(&format!("no connection to Postgres: {error}")))
        }
        div.cards {
            (card("servers", &servers.to_string(), &size))
            (card("clients active", &pool.clients_active.to_string(), ""))
            (card("clients waiting", &pool.clients_waiting.to_string(), ""))
            (card("clients idle", &pool.clients_idle.to_string(), ""))
            (card("idle in transaction", &pool.clients_idle_in_transaction.to_string(), ""))
            (card("pinned", &pool.clients_pinned.to_string(), ""))
            (card("queries per second", &human::rate(pool.rates.queries_per_s), ""))
            (card("errors per second", &human::rate(pool.rates.errors_per_s), ""))
        }
        h2 { "times of the last minute" }
        (times(pool))
        h2 { "since the start" }
        pre.text { (totals) }
    };
    Page::new(pool.name(), live)
}

fn times(pool: &PoolRow) -> Markup {
    let kinds = [
        ("wait for a server", &pool.wait_ms),
        ("query", &pool.query_ms),
        ("transaction", &pool.transaction_ms),
        ("connect to Postgres", &pool.connect_ms),
    ];
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th {}
                        @for title in ["count", "p50", "p95", "p99", "max"] { th { (title) } }
                    }
                }
                tbody {
                    @for (name, Percentiles { count, p50, p95, p99, max }) in kinds {
                        tr {
                            td.l { (name) }
                            td { (human::count(*count)) }
                            @for time in [p50, p95, p99, max] { td { (human::millis(*time)) } }
                        }
                    }
                }
            }
        }
    }
}
