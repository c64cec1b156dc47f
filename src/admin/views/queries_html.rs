//! Statements for browsers: a list that can be searched and sorted, and one statement in full.

use maud::{Markup, html};

use super::super::choosing::{self, heading, show, windows};
use super::super::nplusone::{self, CLASSES, FindingRow};
use super::super::plan::{KnownPlan, buttons};
use super::super::ranking::{MOST_SHOWN, Sort};
use super::super::selection::{KINDS, OTHER, Selection};
use super::{QueriesView, QueryRow};
use crate::admin::html::Page;
use crate::admin::html::pieces::{Bars, alert, encoded, route_link, share};
use crate::admin::human;
use crate::admin::views::numbers::known;

/// Columns of the list: how each is called, what it is sorted by, and whether a narrow screen has it.
const COLUMNS: [(&str, Option<Sort>, &str); 8] = [
    ("calls", Some(Sort::Calls), ""),
    ("total", Some(Sort::Total), ""),
    ("share", None, "opt"),
    ("mean", Some(Sort::Mean), "opt"),
    ("p95", Some(Sort::P95), ""),
    ("p99", Some(Sort::P99), "opt"),
    ("max", Some(Sort::Max), "opt"),
    ("rows/call", None, "opt"),
];

/// The list.
pub(super) fn list(view: &QueriesView) -> Page {
    let hidden = view.matching.saturating_sub(view.queries.len());
    let live = html! {
        (table(&view.queries, Some(&view.selection)))
        footer {
            @if hidden > 0 { "and " (hidden) " more: ?limit=" (MOST_SHOWN) ". " }
            "Since " (view.stats_since) ", " (view.tracked) " of " (view.max) " tracked, "
            (view.evicted) " evicted, " (view.dropped_events) " events dropped."
        }
    };
    Page { title: "/queries".to_owned(), head: form(&view.selection), live }
}

fn form(selection: &Selection) -> Markup {
    let kind = KINDS.iter().find(|(_, kinds)| *kinds == selection.kinds).map(|(word, _)| *word);
    html! {
        form id="select" method="get" action="/queries" {
            input type="search" name="q" placeholder="part of the text" value=[selection.part.as_deref()];
            select name="kind" aria-label="kind" {
                option value="" { "all but BEGIN, COMMIT" }
                @for (word, _) in KINDS { option value=(word) selected[kind == Some(word)] { (word) } }
            }
            (windows(&selection.past))
            select name="limit" aria-label="how many" {
                @for limit in [20, 50, 100, MOST_SHOWN] {
                    option value=(limit) selected[limit == selection.ranking.limit] { "first " (limit) }
                }
            }
            (choosing::owner(&selection.owner))
            (show(&selection.ranking))
        }
    }
}

/// The table of these statements; with a selection, its headings sort.
pub(crate) fn table(queries: &[QueryRow], selection: Option<&Selection>) -> Markup {
    let ranking = selection.map(|selection| &selection.ranking);
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th.l { "statement" }
                        th { "times" }
                        @for (title, sort, class) in COLUMNS {
                            th class=(class) { (heading(title, sort, ranking)) }
                        }
                    }
                }
                tbody {
                    @for query in queries { (row(query)) }
                    @if queries.is_empty() {
                        tr { td.l.dim colspan="10" { "no statements" } }
                    }
                }
            }
        }
    }
}

fn row(query: &QueryRow) -> Markup {
    let per_call = if query.calls > 0 { query.rows as f64 / query.calls as f64 } else { 0.0 };
    let failed = query.failed;
    html! {
        tr {
            td.l.sql {
                @if query.fingerprint == OTHER { (query.text) } @else {
                    a href={ "/queries/" (query.fingerprint) } title=(query.text) { (query.text) }
                }
                small {
                    (query.user) "@" (query.database) " · " (query.kind)
                    @if let Some(most) = query.routes.iter().find(|most| !most.route.is_empty()) {
                        " · " a.inline href={ "/routes/" (encoded(&most.route)) } { (most.route) }
                    }
                    @for flag in &query.flags { " " (flag_link(flag)) }
                    @if failed > 0 { " · " span.bad { (human::count(failed)) " failed" } }
                }
            }
            td { (query.bars.small()) }
            td { (human::count(query.calls)) }
            td { (human::millis(query.exec_ms.total)) }
            td.opt { (share(query.time_share)) " " (format!("{:.0} %", query.time_share * 100.0)) }
            td.opt { (human::millis(query.exec_ms.mean)) }
            td { (known(query.exec_ms.p95)) }
            td.opt { (known(query.exec_ms.p99)) }
            td.opt { (human::millis(query.exec_ms.max)) }
            td.opt { (human::rate(per_call)) }
        }
    }
}

/// What was noticed, with a link to where it is explained.
fn flag_link(flag: &str) -> Markup {
    let page = if CLASSES.iter().any(|(class, _)| *class == flag) { "/nplusone" } else { "/idle" };
    html! { a.inline.flag href=(page) { (flag) } }
}

/// One statement in full: its text, how its times are spread, and what it did for whom.
pub(super) fn one(view: &QueriesView, findings: &[FindingRow], plans: &[KnownPlan]) -> Page {
    let mut bars = Bars::default();
    view.queries.iter().for_each(|query| bars.add(&query.bars));
    let first = view.queries.first();
    let title = first.map_or_else(String::new, |first| first.fingerprint.clone());
    let live = html! {
        @if let Some(first) = first {
            h1 { (first.summary) " " small.dim { (first.kind) " · " (first.fingerprint) } }
            pre.text.sql { (first.text) }
            @if first.incomplete { (alert("The text is longer, or its quotes or brackets do not close.")) }
        }
        h2 { "times" }
        (bars.large())
        h2 { "by user and database" }
        div.wide {
            table {
                thead {
                    tr {
                        th.l { "user@database" }
                        @for title in [
                            "calls", "rows", "total", "min", "p50", "p95", "p99", "max", "mean", "waited", "longest list",
                        ] { th { (title) } }
                        th.l { "errors" }
                        th.l { "first seen" }
                        th.l { "last seen" }
                    }
                }
                tbody { @for query in &view.queries { (owner(query)) } }
            }
        }
        (routes(&view.queries))
        @if !findings.is_empty() {
            h2 { "what repeats" a href="/nplusone" { "all" } }
            (nplusone::html::items(findings))
        }
        @for plan in plans { (plan.html()) }
        footer {
            "Percentiles are off by " (format!("{:.0}", view.rel_error * 100.0)) " % at most. "
            a href={ "/queries/" (title) "/samples" } { "Single calls" } ", "
            a href={ "/queries/" (title) "/histogram" } { "times in numbers" } "."
        }
    };
    let owners = view.queries.iter().map(|query| (&*query.database, &*query.user));
    let head = buttons(&title, owners);
    Page { title, head, live }
}

/// Where it ran most.
fn routes(queries: &[QueryRow]) -> Markup {
    let routes = || queries.iter().flat_map(|query| &query.routes);
    html! {
        @if routes().any(|row| !row.route.is_empty()) {
            h2 { "by route" a href="/routes" { "all" } }
            div.wide {
                table {
                    thead { tr { th.l { "route" } th { "calls" } } }
                    tbody {
                        @for row in routes() {
                            tr { td.l { (route_link(&row.route)) } td { (human::count(row.calls)) } }
                        }
                    }
                }
            }
        }
    }
}

fn owner(query: &QueryRow) -> Markup {
    let times = query.exec_ms;
    html! {
        tr {
            td.l { (query.user) "@" (query.database) }
            td { (human::count(query.calls)) }
            td { (human::count(query.rows)) }
            @for time in [
                Some(times.total), times.min, times.p50, times.p95, times.p99, Some(times.max),
                Some(times.mean), Some(query.pool_wait_ms.total),
            ] { td { (known(time)) } }
            @if let Some(whole) = &query.whole {
                td { (whole.max_list) }
                td.l.bad { @for (code, count) in &whole.errors { (count) " × " (code) " " } }
            } @else {
                td { "-" }
                td.l.bad { @if query.failed > 0 { (query.failed) } }
            }
            td.l.dim { (query.first_seen) }
            td.l.dim { (query.last_seen) }
        }
    }
}
