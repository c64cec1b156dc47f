//! The order of a list, and the part of it that is shown: read page by page, and made of no more than the page shows.

use std::borrow::Cow;
use std::cmp::Ordering;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::numbers::millis;
use super::selection::has_percentiles;
use crate::admin::parameters::{number, word};
use crate::admin::problem::Problem;
use crate::stats::spread::Spread;
use crate::stats::window::{Totals, Window};

/// The most that are shown at once.
pub(crate) const MOST_SHOWN: usize = 500;

/// As many are shown unless asked otherwise.
const SHOWN: usize = 20;

/// What statements and routes can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Total,
    Mean,
    P95,
    P99,
    Calls,
    Rows,
    Errors,
    Wait,
    Max,
}

pub(super) const SORTS: [(&str, Sort); 9] = [
    ("total", Sort::Total),
    ("mean", Sort::Mean),
    ("p95", Sort::P95),
    ("p99", Sort::P99),
    ("calls", Sort::Calls),
    ("rows", Sort::Rows),
    ("errors", Sort::Errors),
    ("wait", Sort::Wait),
    ("max", Sort::Max),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Descending,
    Ascending,
}

/// How a list is sorted, and which part of it is shown.
#[derive(Clone, Debug)]
pub(crate) struct Ranking {
    pub(crate) sort: Sort,
    pub(crate) order: Order,
    pub(crate) limit: usize,
    /// The last one that was shown before.
    pub(crate) after: Option<Position>,
}

/// Where something stands in a list: what the list is sorted by, then what tells equals apart.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Position {
    key: f64,
    names: [String; 3],
}

/// What has a place in a list.
pub(crate) trait Named {
    /// What tells it from its equals.
    fn names(&self) -> [Cow<'_, str>; 3];
}

/// The part of a list that is shown.
#[derive(Debug)]
pub(crate) struct Picked<T> {
    pub(crate) rows: Vec<T>,
    /// How many there are, shown or not.
    pub(crate) matching: usize,
    /// What `cursor` gets for the next page.
    pub(crate) next_cursor: Option<String>,
}

impl Sort {
    /// What something is sorted by, of which this is known. How its times are spread is asked for if it matters.
    pub(crate) fn key(self, totals: &Totals, spread: impl FnOnce() -> Spread) -> f64 {
        let most = totals.max_micros;
        let at = |share, spread: Spread| millis(spread.quantile_micros(share).min(most));
        match self {
            Self::Total => millis(totals.total_micros),
            Self::Mean => millis(totals.total_micros) / totals.calls.max(1) as f64,
            Self::P95 => at(0.95, spread()),
            Self::P99 => at(0.99, spread()),
            Self::Calls => totals.calls as f64,
            Self::Rows => totals.rows as f64,
            Self::Errors => totals.failed as f64,
            Self::Wait => millis(totals.wait_micros),
            Self::Max => millis(most),
        }
    }
}

impl Default for Ranking {
    fn default() -> Self {
        Self { sort: Sort::Total, order: Order::Descending, limit: SHOWN, after: None }
    }
}

impl Ranking {
    /// Sets `sort`, `order`, `limit` or `cursor`.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        match name {
            "sort" => self.sort = word("sort", value, &SORTS)?,
            "order" => {
                let orders = [("desc", Order::Descending), ("asc", Order::Ascending)];
                self.order = word("order", value, &orders)?;
            }
            "limit" => self.limit = number("limit", value, 1..=MOST_SHOWN)?,
            _ => self.after = Some(Position::parse(value)?),
        }
        Ok(())
    }

    /// Can it be sorted so?
    ///
    /// # Errors
    /// When the window has no percentiles.
    pub(crate) fn check(&self, window: Window) -> Result<(), Problem> {
        match self.sort {
            Sort::P95 | Sort::P99 if !has_percentiles(window) => Err(Problem::Value {
                name: "sort",
                given: if self.sort == Sort::P95 { "p95" } else { "p99" }.to_owned(),
                expected:
                    "something else, as percentiles are known of window=5m and window=all only"
                        .to_owned(),
            }),
            Sort::Total
            | Sort::Mean
            | Sort::P95
            | Sort::P99
            | Sort::Calls
            | Sort::Rows
            | Sort::Errors
            | Sort::Wait
            | Sort::Max => Ok(()),
        }
    }

    /// Of all that there are, each with what it is sorted by, those that are shown. Only these are sorted.
    pub(crate) fn pick<T: Named>(&self, mut all: Vec<(f64, T)>) -> Picked<T> {
        let matching = all.len();
        if let Some(after) = &self.after {
            let names = || after.names.each_ref().map(|name| Cow::Borrowed(name.as_str()));
            all.retain(|(key, one)| {
                self.compare((*key, || one.names()), (after.key, names)).is_gt()
            });
        }
        let compare =
            |a: &(f64, T), b: &(f64, T)| self.compare((a.0, || a.1.names()), (b.0, || b.1.names()));
        let more = all.len() > self.limit;
        if more {
            all.select_nth_unstable_by(self.limit, compare);
            all.truncate(self.limit);
        }
        all.sort_unstable_by(compare);
        let next_cursor = all.last().filter(|_| more).map(|(key, one)| {
            let names = one.names().map(Cow::into_owned);
            Position { key: *key, names }.word()
        });
        let rows = all.into_iter().map(|(_, one)| one).collect();
        Picked { rows, matching, next_cursor }
    }

    /// Which of the two comes first? Names are asked for of equals only.
    fn compare<'a, 'b>(
        &self,
        (a, names_of_a): (f64, impl FnOnce() -> [Cow<'a, str>; 3]),
        (b, names_of_b): (f64, impl FnOnce() -> [Cow<'b, str>; 3]),
    ) -> Ordering {
        let ascending = a.total_cmp(&b).then_with(|| names_of_b().cmp(&names_of_a()));
        match self.order {
            Order::Ascending => ascending,
            Order::Descending => ascending.reverse(),
        }
    }
}

impl<T> Picked<T> {
    /// The same of something else.
    pub(crate) fn map<U>(self, make: impl FnMut(T) -> U) -> Picked<U> {
        let Self { rows, matching, next_cursor } = self;
        Picked { rows: rows.into_iter().map(make).collect(), matching, next_cursor }
    }
}

/// What is said below a part of a list.
pub(crate) fn more(hidden: usize, next_cursor: Option<&str>) -> String {
    let mut text = String::new();
    if hidden > 0 {
        text.push_str(&format!("and {hidden} more: ?limit={MOST_SHOWN}\n"));
    }
    if let Some(cursor) = next_cursor {
        text.push_str(&format!("next page: ?cursor={cursor}\n"));
    }
    text
}

impl Position {
    /// As a word for `cursor`.
    fn word(&self) -> String {
        let bits = self.key.to_bits().to_string();
        let [first, second, third] = &self.names;
        URL_SAFE_NO_PAD.encode([&bits, first, second, third].map(String::as_str).join("\0"))
    }

    fn parse(word: &str) -> Result<Self, Problem> {
        let read = || {
            let text = String::from_utf8(URL_SAFE_NO_PAD.decode(word).ok()?).ok()?;
            let mut parts = text.split('\0').map(str::to_owned);
            let key = f64::from_bits(parts.next()?.parse().ok()?);
            let names = [parts.next()?, parts.next()?, parts.next()?];
            parts.next().is_none().then_some(Self { key, names })
        };
        read().ok_or_else(|| {
            let expected = "the next_cursor of the page before".to_owned();
            Problem::Value { name: "cursor", given: word.to_owned(), expected }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct One(&'static str);

    impl Named for One {
        fn names(&self) -> [Cow<'_, str>; 3] {
            [self.0.into(), "".into(), "".into()]
        }
    }

    #[test]
    fn a_cursor_reads_back_and_nonsense_does_not() {
        let position = Position { key: 12.75, names: ["2c34", "shop", "büro"].map(str::to_owned) };
        assert_eq!(Position::parse(&position.word()).unwrap(), position);
        for word in ["", "!", "AAAA", &URL_SAFE_NO_PAD.encode(["1", "2", "3", "4", "5"].join("\0"))]
        {
            let fault = Position::parse(word).unwrap_err().to_string();
            assert!(fault.starts_with("cursor is the next_cursor of the page before"), "{fault}");
        }
    }

    #[test]
    fn pages_show_each_once_in_order_and_equals_by_name() {
        let all = vec![(1.0, One("c")), (2.0, One("x")), (1.0, One("a")), (1.0, One("b"))];
        for (order, expected) in
            [(Order::Descending, ["x", "a", "b", "c"]), (Order::Ascending, ["c", "b", "a", "x"])]
        {
            let mut ranking = Ranking { order, limit: 3, ..Ranking::default() };
            let first = ranking.pick(all.clone());
            ranking.set("cursor", &first.next_cursor.unwrap()).unwrap();
            let second = ranking.pick(all.clone());
            assert_eq!((first.matching, second.matching, second.next_cursor), (4, 4, None));
            let names: Vec<_> = first.rows.iter().chain(&second.rows).map(|one| one.0).collect();
            assert_eq!(names, expected);
        }
    }
}
