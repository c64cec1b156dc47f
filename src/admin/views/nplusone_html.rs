//! What repeats, for browsers: each with its statement, where it comes from and what may help.

use maud::{Markup, html};

use super::{CLASSES, CONFIDENCES, FindingRow, FindingsView, MOST_FINDINGS};
use crate::admin::html::Page;
use crate::admin::html::pieces::{encoded, route_link};
use crate::admin::human;

/// The list.
pub(super) fn list(view: &FindingsView) -> Page {
    let hidden = view.matching.saturating_sub(view.candidates.len());
    let live = html! {
        @if view.candidates.is_empty() {
            p.dim { "Nothing repeats that should not, as far as was seen in three requests within ten minutes." }
        }
        (items(&view.candidates))
        footer {
            @if hidden > 0 { a href={ "/nplusone?limit=" (MOST_FINDINGS) } { "and " (hidden) " more" } ". " }
            @if view.less_sure > 0 { a href="/nplusone?confidence=low" { "and " (view.less_sure) " less sure" } ". " }
            "A request is a trace, a transaction, a short session or a run of statements with one route."
        }
    };
    Page { title: "/nplusone".to_owned(), head: form(view), live }
}

fn form(view: &FindingsView) -> Markup {
    let selection = &view.selection;
    html! {
        form method="get" action="/nplusone" {
            select name="class" aria-label="class" {
                option value="" { "all classes" }
                @for (word, class) in CLASSES {
                    option value=(word) selected[selection.class == Some(class)] { (word) }
                }
            }
            select name="confidence" aria-label="confidence" {
                @for (word, confidence) in CONFIDENCES {
                    option value=(word) selected[selection.confidence == confidence] { "at least " (word) }
                }
            }
            input type="search" name="route" placeholder="route" value=[selection.route.as_deref()];
            button { "show" }
        }
    }
}

/// Findings in full, one below the other.
pub(crate) fn items(findings: &[FindingRow]) -> Markup {
    html! { @for finding in findings { (item(finding)) } }
}

fn item(finding: &FindingRow) -> Markup {
    html! {
        div.card {
            p {
                b.small { (finding.class) } " "
                span class=(color(finding.confidence)) { (finding.confidence) } " · "
                (human::count(finding.units)) " requests · " (finding.n.p50) " times in each (most " (finding.n.max) ") · "
                b.small { "saves " (human::millis(finding.saved_ms)) " each" }
                @if !finding.route.is_empty() { " · " (route_link(&finding.route)) }
                " · " span.dim { (finding.user) "@" (finding.database) }
            }
            div.sql { a href={ "/queries/" (encoded(&finding.fingerprint)) } { (finding.text) } }
            @if let Some(source) = &finding.source {
                div.dim {
                    "after " (source.rows) " rows of "
                    a.sql href={ "/queries/" (encoded(&source.fingerprint)) } { (source.text) }
                }
            }
            @for other in &finding.with {
                div.dim { "with " a.sql href={ "/queries/" (encoded(other)) } { (other) } }
            }
            div.good { (finding.advice) }
        }
    }
}

/// Findings in a line each, for the overview.
pub(crate) fn table(findings: &[FindingRow]) -> Markup {
    html! {
        div.wide {
            table {
                thead {
                    tr {
                        th.l { "statement" }
                        th.l { "class" }
                        th { "requests" }
                        th { "times" }
                        th { "saves" }
                        th.l { "route" }
                    }
                }
                tbody {
                    @for finding in findings {
                        tr {
                            td.l.sql {
                                a href={ "/queries/" (encoded(&finding.fingerprint)) } title=(finding.text) { (finding.text) }
                            }
                            td.l { (finding.class) " " span class=(color(finding.confidence)) { (finding.confidence) } }
                            td { (human::count(finding.units)) }
                            td { (finding.n.p50) }
                            td { (human::millis(finding.saved_ms)) }
                            td.l { (route_link(&finding.route)) }
                        }
                    }
                }
            }
        }
    }
}

fn color(confidence: &str) -> &'static str {
    match confidence {
        "high" => "bad",
        "medium" => "warn",
        _ => "dim",
    }
}
