//! Which statements are asked for: filters and the part of the past. Their order is left to [`super::ranking`].

use std::time::SystemTime;

use super::ranking::{Ranking, Sort};
use crate::admin::moment;
use crate::admin::parameters::{Parameters, number, word};
use crate::admin::problem::Problem;
use crate::sql::kind::Kind;
use crate::stats::record::{Owner, Record};
use crate::stats::window::{MINUTES, Minute, SPAN, Totals, Window};

/// What the sum of those that are not told apart is called.
pub(crate) const OTHER: &str = "other";

/// Which kinds are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kinds {
    /// All but transaction control, which is in every transaction.
    Telling,
    All,
    One(Kind),
}

pub(super) const KINDS: [(&str, Kinds); 8] = [
    ("select", Kinds::One(Kind::Select)),
    ("insert", Kinds::One(Kind::Insert)),
    ("update", Kinds::One(Kind::Update)),
    ("delete", Kinds::One(Kind::Delete)),
    ("txn", Kinds::One(Kind::Transaction)),
    ("utility", Kinds::One(Kind::Utility)),
    ("other", Kinds::One(Kind::Other)),
    ("all", Kinds::All),
];

/// Which part of the past is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Past {
    /// All that is counted.
    #[default]
    All,
    /// A part of it by its name.
    Window(Window),
    /// Since a moment, as it was written.
    Since(SystemTime, String),
}

pub(super) const WINDOWS: [(&str, Window); 3] =
    [("5m", Window::Minutes(SPAN)), ("1h", Window::Minutes(MINUTES)), ("all", Window::All)];

/// Which statements are asked for, and how.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) ranking: Ranking,
    pub(crate) kinds: Kinds,
    pub(crate) min_calls: u64,
    /// What the text must hold, in any case.
    pub(crate) part: Option<String>,
    /// One of the routes that it ran on most.
    pub(crate) route: Option<String>,
    pub(crate) owner: OwnerSelection,
    pub(crate) past: Past,
}

/// One statement, of some pools, in a part of the past.
#[derive(Clone, Debug, Default)]
pub(crate) struct One {
    pub(crate) owner: OwnerSelection,
    pub(crate) past: Past,
}

/// Whose statements are asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnerSelection {
    pub(crate) database: Option<String>,
    pub(crate) user: Option<String>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            ranking: Ranking::default(),
            kinds: Kinds::Telling,
            min_calls: 0,
            part: None,
            route: None,
            owner: OwnerSelection::default(),
            past: Past::All,
        }
    }
}

impl Parameters for Selection {
    const NAMES: &'static [&'static str] = &[
        "sort",
        "order",
        "limit",
        "cursor",
        "db",
        "user",
        "route",
        "kind",
        "min_calls",
        "q",
        "window",
        "since",
    ];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "sort" | "order" | "limit" | "cursor" => self.ranking.set(name, value)?,
            "kind" => self.kinds = word("kind", value, &KINDS)?,
            "min_calls" => self.min_calls = number("min_calls", value, 0..=usize::MAX)? as u64,
            "q" => self.part = Some(value.to_lowercase()),
            "route" => self.route = Some(value.to_owned()),
            "window" | "since" => self.past.set(name, value)?,
            _ => self.owner.set(name, value)?,
        }
        Ok(())
    }
}

impl Parameters for One {
    const NAMES: &'static [&'static str] = &["db", "user", "window", "since"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "window" | "since" => self.past.set(name, value),
            _ => self.owner.set(name, value),
        }
    }
}

impl Parameters for OwnerSelection {
    const NAMES: &'static [&'static str] = &["db", "user"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let field = if name == "db" { &mut self.database } else { &mut self.user };
        *field = Some(value.to_owned());
        Ok(())
    }
}

impl Past {
    /// Sets `window` or `since`, of which there may be one.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let past = if name == "window" {
            Self::Window(word("window", value, &WINDOWS)?)
        } else {
            let since = moment::parse(value).ok_or_else(|| {
                let expected = "a moment such as 2026-08-19T07:12:01Z".to_owned();
                Problem::Value { name: "since", given: value.to_owned(), expected }
            })?;
            Self::Since(since, value.to_owned())
        };
        if *self != Self::All {
            let expected = "not possible together with the other of window and since".to_owned();
            let name = if name == "window" { "window" } else { "since" };
            return Err(Problem::Value { name, given: value.to_owned(), expected });
        }
        *self = past;
        Ok(())
    }

    /// What that is now, of what is counted since `counted`.
    ///
    /// # Errors
    /// When it begins before what is remembered by minutes.
    pub(crate) fn window(&self, counted: SystemTime, now: SystemTime) -> Result<Window, Problem> {
        match self {
            Self::All => Ok(Window::All),
            Self::Window(window) => Ok(*window),
            Self::Since(since, _) if *since <= counted => Ok(Window::All),
            Self::Since(since, given) => match Minute::of(*since).up_to(Minute::of(now)) {
                minutes @ 1..=MINUTES => Ok(Window::Minutes(minutes)),
                _ => {
                    let expected = "a moment of the last hour, or before stats_since".to_owned();
                    Err(Problem::Value { name: "since", given: given.clone(), expected })
                }
            },
        }
    }

    /// How it is called.
    pub(crate) fn word(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Window(window) => {
                let name = WINDOWS.iter().find(|(_, known)| known == window);
                name.map_or("all", |(name, _)| name).to_owned()
            }
            Self::Since(_, given) => given.clone(),
        }
    }
}

/// Is it known how times are spread over it?
pub(crate) fn has_percentiles(window: Window) -> bool {
    match window {
        Window::All => true,
        Window::Minutes(minutes) => minutes <= SPAN,
    }
}

impl OwnerSelection {
    /// Is it one of theirs?
    pub(crate) fn holds(&self, record: &Record) -> bool {
        self.owns(&record.owner)
    }

    /// Is it this pool?
    pub(crate) fn owns(&self, owner: &Owner) -> bool {
        let is = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|w| w == is);
        is(&self.database, &owner.database) && is(&self.user, &owner.user)
    }
}

impl Selection {
    /// The first so many of all.
    pub(crate) fn top(sort: Sort, limit: usize) -> Self {
        let ranking = Ranking { sort, limit, ..Ranking::default() };
        Self { ranking, ..Self::default() }
    }

    /// Is it asked for, with what it did in the window?
    pub(crate) fn holds(&self, record: &Record, totals: &Totals) -> bool {
        let kind = record.about.as_ref().map_or(Kind::Other, |about| about.kind);
        let wanted = match self.kinds {
            Kinds::Telling => kind != Kind::Transaction,
            Kinds::All => true,
            Kinds::One(one) => kind == one,
        };
        let text = || record.about.as_ref().map_or(OTHER, |about| &*about.text);
        wanted
            && totals.calls >= self.min_calls
            && self.owner.holds(record)
            && self.part.as_ref().is_none_or(|part| text().to_lowercase().contains(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_window_of_minutes_within_the_last_hour() {
        let at = |text: &str| moment::parse(text).unwrap();
        let (counted, now) = (at("2026-08-19T05:00:00Z"), at("2026-08-19T07:12:01Z"));
        let window = |text: &str| {
            let mut past = Past::default();
            past.set("since", text).unwrap();
            past.window(counted, now).map_err(|problem| problem.to_string())
        };
        assert_eq!(window("2026-08-19T07:12:00Z"), Ok(Window::Minutes(1)));
        assert_eq!(window("2026-08-19T07:08:59Z"), Ok(Window::Minutes(5)));
        assert_eq!(window("2026-08-19T04:00:00Z"), Ok(Window::All));
        assert_eq!(
            window("2026-08-19T06:00:00Z").unwrap_err(),
            "since is a moment of the last hour, or before stats_since, not \"2026-08-19T06:00:00Z\""
        );
        let mut past = Past::Window(Window::All);
        assert!(past.set("since", "2026-08-19T07:12:00Z").is_err(), "both");
    }
}
