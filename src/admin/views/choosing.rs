//! What the forms of lists for browsers have in common: which part of the past, whose, and by what they are sorted.

use maud::{Markup, html};

use super::ranking::{Ranking, SORTS, Sort};
use super::selection::{OwnerSelection, Past, WINDOWS};

/// Which part of the past.
pub(super) fn windows(past: &Past) -> Markup {
    html! {
        select name="window" aria-label="when" {
            @for (word, _) in WINDOWS {
                option value=(word) selected[word == past.word()] {
                    @match word { "all" => "since the start", word => { "last " (word) } }
                }
            }
        }
    }
}

/// Whose, where that is asked for.
pub(super) fn owner(owner: &OwnerSelection) -> Markup {
    html! {
        @if let Some(database) = &owner.database { input name="db" aria-label="database" value=(database); }
        @if let Some(user) = &owner.user { input name="user" aria-label="user" value=(user); }
    }
}

/// The button that asks, by what it is sorted now.
pub(super) fn show(ranking: &Ranking) -> Markup {
    html! { button name="sort" value=(word_of(ranking.sort)) { "show" } }
}

/// A button of the form, so that everything else that is asked for stays; without a ranking, words alone.
pub(super) fn heading(title: &str, sort: Option<Sort>, ranking: Option<&Ranking>) -> Markup {
    html! {
        @match (sort, ranking) {
            (Some(sort), Some(ranking)) => {
                @let current = (sort == ranking.sort).then_some("true");
                button.sort form="select" name="sort" value=(word_of(sort)) aria-current=[current] { (title) }
            }
            (Some(_) | None, _) => (title),
        }
    }
}

fn word_of(sort: Sort) -> &'static str {
    SORTS.iter().find(|(_, known)| *known == sort).map_or("total", |(word, _)| word)
}
