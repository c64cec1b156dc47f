//! The values of single calls, kept where the configuration asks for them: bounded, as they came. Nothing but the
//! pages for administrators reads them; they are not in `Debug`, so that no log line has them.

use std::cell::Cell;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::protocol::bound::{Value, Values, types};
use crate::protocol::frame::split_cstr;
use crate::sql::fingerprint::Fingerprinter;
use crate::sql::lexer::Backslashes;

/// As much of the values of one request is kept, in bytes.
pub const MOST_KEPT: usize = 2 * 1024;

/// As much is kept by one worker for one pool between two handings over, a twentieth of a second: of more calls than
/// that has room for, the values are not kept.
const MOST_AT_ONCE: usize = 1024 * 1024;

/// The longest statement (text and types) whose values are kept, in bytes: it lives as long as they do.
const MOST_STATEMENT: usize = 16 * 1024;

/// What is known of the values of single calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Nothing.
    #[default]
    Nothing,
    /// Which calls had the same.
    Hash,
    /// They themselves.
    All,
}

/// The same, to be changed while it is read.
#[derive(Debug, Default)]
pub struct Keeping(AtomicU8);

impl Keeping {
    /// What is kept now.
    #[inline]
    #[must_use]
    pub fn get(&self) -> Keep {
        match self.0.load(Ordering::Relaxed) {
            0 => Keep::Nothing,
            1 => Keep::Hash,
            _ => Keep::All,
        }
    }

    /// From now on this is kept.
    pub fn set(&self, keep: Keep) {
        let number = match keep {
            Keep::Nothing => 0,
            Keep::Hash => 1,
            Keep::All => 2,
        };
        self.0.store(number, Ordering::Relaxed);
    }
}

/// The values of one request.
#[derive(Clone, PartialEq, Eq)]
pub enum Kept {
    /// The text of a simple query.
    Text(Box<[u8]>),
    /// What a Bind had.
    Bound {
        /// The text that was prepared, a NUL, and types, as the Parse has them.
        statement: Arc<[u8]>,
        /// Formats and values, as the Bind has them.
        values: Box<[u8]>,
    },
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes())
    }
}

impl Kept {
    /// Memory that they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let own = size_of::<Self>() + 2 * size_of::<usize>();
        own + match self {
            Self::Text(text) => text.len(),
            // It is shared, but may live on with this alone.
            Self::Bound { statement, values } => statement.len() + values.len(),
        }
    }
}

/// The values of one call: a part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallValues {
    /// Those of the request.
    pub kept: Arc<Kept>,
    /// Which of its statements.
    pub part: usize,
}

/// They for people.
#[derive(Clone, PartialEq, Eq)]
pub enum Shown {
    /// The text of the statement as it was sent.
    Text {
        /// It.
        sql: String,
        /// Whether its end is missing.
        is_cut: bool,
    },
    /// What was bound to its parameters.
    Bound {
        /// Them, as far as they are there; none is NULL.
        values: Vec<Option<String>>,
        /// Whether some are missing.
        is_cut: bool,
    },
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl CallValues {
    /// The call, if nothing of it is missing.
    #[must_use]
    pub fn call(&self) -> Option<Call> {
        match &*self.kept {
            Kept::Text(text) => {
                let (range, is_cut) = range(text, self.part);
                let sql = text.get(range).filter(|sql| !is_cut && !sql.is_empty())?;
                // Its end, and no types.
                Some(Call { statement: [sql, &[0; 3]].concat().into(), values: None })
            }
            Kept::Bound { statement, values } => {
                Values::read(values).filter(Values::is_whole)?;
                Some(Call { statement: Arc::clone(statement), values: Some(values.clone()) })
            }
        }
    }

    /// Them for people; binary ones of types that are not known here in hexadecimal.
    #[must_use]
    pub fn shown(&self) -> Shown {
        match &*self.kept {
            Kept::Text(text) => {
                let (range, is_cut) = range(text, self.part);
                let sql = text.get(range).unwrap_or_default();
                Shown::Text { sql: String::from_utf8_lossy(sql).into_owned(), is_cut }
            }
            Kept::Bound { statement, values } => {
                let given = split_cstr(statement).map_or_else(Vec::new, |(_, given)| types(given));
                let read = Values::read(values).unwrap_or_default();
                let one = |(at, value): (usize, &Value<'_>)| {
                    value.shown(given.get(at).copied().unwrap_or(0))
                };
                let is_cut = !read.is_whole();
                Shown::Bound { values: read.values.iter().enumerate().map(one).collect(), is_cut }
            }
        }
    }
}

/// A call as it can be planned: the statement, and what was bound to its parameters.
#[derive(Clone, PartialEq, Eq)]
pub struct Call {
    /// Text, a NUL, and types, as a Parse has them.
    pub statement: Arc<[u8]>,
    /// Formats and values, as a Bind has them.
    pub values: Option<Box<[u8]>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Call")
    }
}

/// Where one statement stands in a text, and whether its end is missing.
fn range(text: &[u8], part: usize) -> (Range<usize>, bool) {
    let (mut at, mut range) = (0, 0..0);
    Fingerprinter::default().read(text, Backslashes::Literal, |statement| {
        if at == part {
            range = statement.range.clone();
        }
        at += 1;
    });
    // A text that is cut at a blank or within a comment looks whole.
    let is_last = part + 1 >= at;
    (range, text.len() >= MOST_KEPT && is_last)
}

/// What one worker may keep for one pool until it hands over.
#[derive(Debug, Default)]
pub(super) struct Allowance(Cell<usize>);

impl Allowance {
    /// Keeps a text.
    #[cold]
    pub(super) fn text(&self, text: &[u8]) -> Option<Arc<Kept>> {
        let text = text.strip_suffix(&[0]).unwrap_or(text);
        self.take(Kept::Text(start(text).into()))
    }

    /// Keeps values of a statement (text, NUL, types), unless that is long: it would live as long.
    #[cold]
    pub(super) fn bound(&self, statement: &Arc<[u8]>, values: &[u8]) -> Option<Arc<Kept>> {
        let values = start(values).into();
        let kept = || Kept::Bound { statement: Arc::clone(statement), values };
        if statement.len() <= MOST_STATEMENT { self.take(kept()) } else { None }
    }

    fn take(&self, kept: Kept) -> Option<Arc<Kept>> {
        let used = self.0.get() + kept.bytes();
        (used <= MOST_AT_ONCE).then(|| {
            self.0.set(used);
            Arc::new(kept)
        })
    }

    /// All was handed over.
    pub(super) fn renew(&self) {
        self.0.set(0);
    }
}

fn start(bytes: &[u8]) -> &[u8] {
    bytes.get(..MOST_KEPT).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(text: &str) -> CallValues {
        CallValues { kept: Arc::new(Kept::Text(text.as_bytes().into())), part: 1 }
    }

    #[test]
    fn of_a_text_with_several_statements_each_has_its_own() {
        let shown = kept("SELECT 1; SELECT 'two' /* x */ ; SELECT 3").shown();
        assert_eq!(shown, Shown::Text { sql: "SELECT 'two'".to_owned(), is_cut: false });
        assert_eq!(
            kept("SELECT 1").shown(),
            Shown::Text { sql: String::new(), is_cut: false },
            "there is no second one"
        );
    }

    #[test]
    fn a_long_text_is_cut_and_says_so() {
        let allowance = Allowance::default();
        let long = format!("SELECT 1; SELECT '{}'\0", "x".repeat(MOST_KEPT));
        let kept = allowance.text(long.as_bytes()).unwrap();
        let Shown::Text { sql, is_cut } = (CallValues { kept, part: 1 }).shown() else { panic!() };
        assert!(is_cut && sql.len() < MOST_KEPT && sql.starts_with("SELECT 'xxx"), "{sql}");
    }

    #[test]
    fn a_text_that_is_cut_where_it_looks_whole_is_no_call() {
        let allowance = Allowance::default();
        for (head, filler) in [("SELECT id FROM t WHERE a = 1", " "), ("SELECT 1 /*", "x")] {
            let long = format!("SELECT 1; {head}{} */ LIMIT 1\0", filler.repeat(MOST_KEPT));
            let kept = allowance.text(long.as_bytes()).unwrap();
            let of = |part| CallValues { kept: Arc::clone(&kept), part };
            let Shown::Text { sql: _, is_cut } = of(1).shown() else { panic!() };
            assert!(is_cut && of(1).call().is_none() && of(0).call().is_some(), "{head}");
        }
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let allowance = Allowance::default();
        let values = vec![0; MOST_KEPT];
        let statement: Arc<[u8]> = b"select $1\0\0\0"[..].into();
        let kept = (0..10_000).map_while(|_| allowance.bound(&statement, &values)).count();
        assert!((400..=512).contains(&kept), "{kept}");
        allowance.renew();
        assert!(allowance.bound(&statement, &values).is_some());
        let half: Arc<[u8]> = vec![0; MOST_STATEMENT / 2].into();
        let kept = (0..10_000).map_while(|_| allowance.bound(&half, &values)).count();
        assert!((90..=102).contains(&kept), "a statement counts, too: {kept}");
        let long: Arc<[u8]> = vec![0; MOST_STATEMENT + 1].into();
        assert_eq!(allowance.bound(&long, &values), None);
    }

    #[test]
    fn bound_values_are_shown_as_text_or_else_in_hexadecimal() {
        let statement = [&b"select $1, $2\0"[..], &[0, 2, 0, 0, 0, 23, 0, 0, 0, 0]].concat();
        let values = [
            &[0, 1, 0, 1, 0, 3][..],
            &[0, 0, 0, 4, 0, 0, 0, 7],
            &[0, 0, 0, 2, 1, 2],
            &[255, 255, 255, 255],
        ];
        let kept = Kept::Bound { statement: statement.into(), values: values.concat().into() };
        let debug = format!("{kept:?}");
        assert!(debug.ends_with(" bytes") && !debug.contains("select"), "{debug}");
        let shown = (CallValues { kept: Arc::new(kept), part: 0 }).shown();
        let text = |text: &str| Some(text.to_owned());
        let values = vec![text("7"), text("\\x0102"), None];
        assert_eq!(shown, Shown::Bound { values, is_cut: false });
    }
}
