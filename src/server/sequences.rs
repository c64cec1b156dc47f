//! Whose sequence values a session remembers, which `lastval()` and `currval()` tell: a client reads its own or an
//! error, and never another's.

use std::sync::atomic::{AtomicU32, Ordering};

use super::connection::{ServerConnection, Undo};

/// What makes a session forget them.
pub const FORGET: &str = "DISCARD SEQUENCES";

/// Whose sequence values a session remembers, if it remembers any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sequences {
    /// Nobody's.
    #[default]
    Nobodys,
    /// Those of the client with this number.
    Of(u64),
    /// Those of several clients, of whom this one came last.
    Mixed(u64),
}

/// For how many minutes nobody gets another's after somebody asked for them.
const REMEMBERED: u32 = 60;

/// How long ago somebody in a database asked for them.
#[derive(Debug, Default)]
pub struct Questions(AtomicU32);

/// Does anybody ask for them?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Nobody did, as far as is known.
    None,
    /// Somebody did: nobody gets another's from now on.
    Some,
}

impl Questions {
    /// Somebody asks.
    pub fn note(&self) {
        self.0.store(REMEMBERED, Ordering::Relaxed);
    }

    /// A minute has passed.
    pub fn age(&self) {
        // A question at the same moment counts, or is asked again before the next one matters.
        let _ =
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    }

    /// Did anybody ask lately?
    #[inline]
    #[must_use]
    pub fn interest(&self) -> Interest {
        if self.0.load(Ordering::Relaxed) > 0 { Interest::Some } else { Interest::None }
    }
}

impl Sequences {
    /// A client takes the server; true: the session must forget what it remembers before.
    #[inline]
    #[must_use]
    pub fn take(&mut self, client: u64, interest: Interest) -> bool {
        let before = *self;
        *self = match (before, interest) {
            (Self::Nobodys, _) | (_, Interest::Some) => Self::Of(client),
            (Self::Of(other), Interest::None) if other == client => before,
            (Self::Of(_) | Self::Mixed(_), Interest::None) => Self::Mixed(client),
        };
        interest == Interest::Some && before != Self::Nobodys && before != Self::Of(client)
    }

    /// Forgetting them failed: a cancel request came at that moment.
    pub(super) fn doubt(&mut self) {
        if let Self::Of(client) = *self {
            *self = Self::Mixed(client);
        }
    }

    /// A client that has the server, and has done nothing with it in its transaction, asks for them; true: the
    /// session must forget them first.
    #[must_use]
    pub fn ask(&mut self) -> bool {
        match *self {
            Self::Mixed(client) => {
                *self = Self::Of(client);
                true
            }
            Self::Nobodys | Self::Of(_) => false,
        }
    }
}

impl ServerConnection {
    /// A client takes the server.
    #[inline]
    pub fn take_sequences(&mut self, client: u64, interest: Interest, now: u64) {
        if self.sequences.take(client, interest) {
            self.send_optional(FORGET, Undo::Optional, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asked_is_remembered_for_an_hour() {
        let questions = Questions::default();
        questions.age();
        assert_eq!(questions.interest(), Interest::None);
        questions.note();
        (1..REMEMBERED).for_each(|_| questions.age());
        assert_eq!(questions.interest(), Interest::Some);
        questions.age();
        assert_eq!(questions.interest(), Interest::None);
    }

    #[test]
    fn nobody_gets_anothers() {
        let mut sequences = Sequences::default();
        assert!(!sequences.take(1, Interest::None));
        assert!(!sequences.take(1, Interest::Some), "its own");
        assert!(!sequences.ask());
        assert!(!sequences.take(2, Interest::None), "nobody asks");
        assert!(sequences.ask(), "before it made any");
        assert!(!sequences.ask());
        assert!(!sequences.take(3, Interest::None));
        assert!(sequences.take(3, Interest::Some), "another's may be there");
        assert!(sequences.take(4, Interest::Some));
        assert!(!sequences.take(4, Interest::Some));
    }
}
