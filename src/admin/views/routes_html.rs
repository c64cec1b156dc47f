//! Routes for browsers: a list that can be searched and sorted, and one route in full.

use maud::{Markup, html};

use super::super::choosing::{heading, owner, show, windows};
use super::super::ranking::{MOST_SHOWN, Sort};
use super::{RouteRow, RoutesView, Selection};
use crate::admin::html::Page;
use crate::admin::html::pieces::{encoded, route_link, share};
use crate::admin::human;
use crate::admin::views::numbers::known;

/// Columns of the list: how each is called, what it is sorted by, and whether a narrow screen has it.
const COLUMNS: [(&str, Option<Sort>, &str); 8] = [
    ("calls", Some(Sort::Calls), ""),
    ("errors", Some(Sort::Errors), "opt"),
    ("total", Some(Sort::Total), ""),
    ("share", None, "opt"),
    ("mean", Some(Sort::Mean), "opt"),
    ("p95", Some(Sort::P95), ""),
    ("p99", Some(Sort::P99), "opt"),
    ("max", Some(Sort::Max), "opt"),
];

/// The list.
pub(super) fn list(view: &RoutesView) -> Page {
    let hidden = view.matching.saturating_sub(view.routes.len());
    let live = html! {
        (table(&view.routes, Some(&view.selection)))
        footer {
            @if hidden > 0 { "and " (hidden) " more: ?limit=" (MOST_SHOWN) ". " }
            "Since " (view.stats_since) ". A route is the tag of a comment in the statement, or else the application."
        }
    };
    Page { title: "/routes".to_owned(), head: form(&view.selection), live }
}

fn form(selection: &Selection) -> Markup {
    html! {
        form id="select" method="get" action="/routes" {
            input type="search" name="q" placeholder="part of the name" value=[selection.part.as_deref()];
            (windows(&selection.past))
            (owner(&selection.owner))
            (show(&selection.ranking))
        }
    }
}

/// The table of these; it can be sorted where it is all there is.
pub(crate) fn table(routes: &[RouteRow], selection: Option<&Selection>) -> Markup {
    let ranking = selection.map(|selection| &selection.ranking);
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th.l { "route" }
                        @for (title, sort, class) in COLUMNS {
                            th class=(class) { (heading(title, sort, ranking)) }
                        }
                        th.l { "most time" }
                    }
                }
                tbody {
                    @for route in routes { (row(route)) }
                    @if routes.is_empty() { tr { td.l.dim colspan="10" { "no routes" } } }
                }
            }
        }
    }
}

fn row(route: &RouteRow) -> Markup {
    let times = route.exec_ms;
    html! {
        tr {
            td.l { (route_link(&route.route)) " " small.dim { (route.user) "@" (route.database) } }
            td { (human::count(route.calls)) }
            td.opt { @if route.errors > 0 { span.bad { (human::count(route.errors)) } } @else { "0" } }
            td { (human::millis(times.total)) }
            td.opt { (share(route.time_share)) " " (format!("{:.0} %", route.time_share * 100.0)) }
            td.opt { (human::millis(times.mean)) }
            td { (known(times.p95)) }
            td.opt { (known(times.p99)) }
            td.opt { (human::millis(times.max)) }
            td.l.sql {
                @if let Some(most) = route.statements.first() {
                    a href={ "/queries/" (encoded(&most.fingerprint)) } title=(most.text) { (most.text) }
                }
            }
        }
    }
}

/// One route: what it did for whom, and which statements took the most of its time.
pub(super) fn one(view: &RoutesView) -> Page {
    let name = view.routes.first().map_or("", |row| &row.route);
    let live = html! {
        h1 { "route " (name) }
        (table(&view.routes, None))
        p {
            a href={ "/queries?route=" (encoded(name)) } { "its statements in full" } ", "
            a href={ "/nplusone?route=" (encoded(name)) } { "what repeats" } ", "
            a href={ "/idle?route=" (encoded(name)) } { "where its transactions wait" }
        }
        @for row in &view.routes {
            h2 { (row.user) "@" (row.database) }
            div.wide {
                table {
                    thead { tr { th.l { "statement" } th { "calls" } th { "total" } } }
                    tbody {
                        @for statement in &row.statements {
                            tr {
                                td.l.sql {
                                    a href={ "/queries/" (encoded(&statement.fingerprint)) } title=(statement.text) { (statement.text) }
                                }
                                td { (human::count(statement.calls)) }
                                td { (human::millis(statement.total_ms)) }
                            }
                        }
                    }
                }
            }
        }
        footer { "Statements are those that took the most time since " (view.stats_since) "." }
    };
    Page::new(name, live)
}
