//! What a text does to the session beyond its transaction, read from its words: which settings it
//! changes, which state it makes that is bound to the connection, which it may end.
//!
//! It says what *may* happen: statements fail and transactions are rolled back. What did happen,
//! Postgres is asked afterwards (`server::inventory`). What functions do is left to [`super::hidden`].

use super::feature::{Feature, Features};
use super::glance::{escapes_quote, is_plain, is_single};
use super::lexer::{Backslashes, Lexer, TokenKind};
use super::prepare::portable;
use super::tokens::{Words, finds};

/// What a text may do to its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// State that is there if it succeeds.
    pub begins: Features,
    /// State that may be there, or be gone, afterwards.
    pub touches: Features,
    /// State that is gone afterwards, perhaps, if it was there.
    pub ends: Features,
    /// Which settings may have changed.
    pub scope: Scope,
    /// Settings that are named, in lower case, and what was last done to each.
    pub settings: Vec<(Box<str>, Change)>,
    /// Does it ask for what sequences gave last (`lastval`, `currval`)?
    pub asks_sequences: bool,
    /// Settings that it sets for its transaction only, behind `RESET ALL`: in the end they are what that made them, and
    /// Postgres says that they were set (`AtEOXact_GUC`, guc.c: what was masked is `PGC_S_SESSION`).
    pub locals: Vec<Box<str>>,
    /// What it says of the schemas that names are looked up in from then on, be it for its transaction only;
    /// nothing: what they are then cannot be told.
    pub schemas: Option<Box<str>>,
    /// What `SHOW search_path` says then, where the words tell.
    pub path: Option<Box<str>>,
}

/// Which settings a text may change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Those it names.
    #[default]
    Named,
    /// Any.
    All,
    /// All: they go back to what they were at the session's start.
    Reset,
    /// Both, in any order.
    ResetAndAll,
}

/// What happens to a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It gets a value.
    Set,
    /// It goes back to what it was at the session's start.
    Reset,
    /// One and the other: which of them stands, errors and savepoints decide.
    Both,
}

/// The longest text that is read; a longer one may do anything.
pub const MOST_READ: usize = 64 * 1024;

/// The most settings that one text names; one that names more may change any.
const MOST_SETTINGS: usize = 64;

/// `DEALLOCATE PREPARE name ;` and one to see that nothing follows.
const MOST_DEALLOCATE_TOKENS: usize = 5;

/// Settings of one transaction, whatever `pg_settings` says of their source.
pub const OF_TRANSACTION: [&str; 3] =
    ["transaction_isolation", "transaction_read_only", "transaction_deferrable"];

/// The setting that says which schemas names are looked up in.
const SCHEMAS: &str = "search_path";

/// The longest value of it that is kept.
const MOST_SCHEMAS: usize = 512;

/// What `SET SESSION CHARACTERISTICS AS TRANSACTION` sets.
const CHARACTERISTICS: [&str; 3] = [
    "default_transaction_isolation",
    "default_transaction_read_only",
    "default_transaction_deferrable",
];

impl Effects {
    /// Reads a text; `None`: it leaves the session as it is.
    #[must_use]
    pub fn read(sql: &[u8]) -> Option<Box<Self>> {
        if is_plain(sql) {
            return None;
        }
        if sql.len() > MOST_READ {
            return Some(Self::unreadable());
        }
        let mut effects = Self::read_as(sql, Backslashes::Literal);
        if escapes_quote(sql) {
            // Where a string ends depends on standard_conforming_strings: either way counts.
            effects.merge(&Self::read_as(sql, Backslashes::Escape));
        }
        (effects != Self::default()).then(|| Box::new(effects))
    }

    fn read_as(sql: &[u8], backslashes: Backslashes) -> Self {
        let mut effects = Self::default();
        let mut words = Vec::new();
        for token in Lexer::new(sql, backslashes).without_comments() {
            if token.is_byte(sql, b';') {
                effects.statement(&Words { sql, tokens: &words });
                words.clear();
            } else {
                words.push(token);
            }
        }
        effects.statement(&Words { sql, tokens: &words });
        effects
    }

    /// The statement that a text deallocates by name, if that is all it does.
    #[must_use]
    pub fn deallocated(sql: &[u8]) -> Option<Box<str>> {
        if !sql.trim_ascii_start().first()?.eq_ignore_ascii_case(&b'd') || !is_single(sql) {
            return None;
        }
        let tokens = Lexer::new(sql, Backslashes::Literal).without_comments();
        let tokens: Vec<_> = tokens.take(MOST_DEALLOCATE_TOKENS).collect();
        let words = Words { sql, tokens: &tokens };
        let at = if words.is(1, "prepare") && tokens.len() > 2 && !words.is_mark(2, b';') {
            2
        } else {
            1
        };
        let ends = tokens.get(at + 1).is_none_or(|token| token.is_byte(sql, b';'));
        if !words.is(0, "deallocate") || words.is(at, "all") || !ends {
            return None;
        }
        words.name(at)
    }

    /// Is nothing behind a semicolon?
    #[must_use]
    pub fn is_single(sql: &[u8]) -> bool {
        is_single(sql)
    }

    /// Is `NONE` the last word, as in `SET ROLE NONE`?
    #[must_use]
    pub fn says_none(sql: &[u8]) -> bool {
        let ends = |b: u8| b.is_ascii_whitespace() || b == b';';
        let mut words = sql.split(|b| ends(*b)).filter(|word| !word.is_empty());
        words.next_back().is_some_and(|word| word.eq_ignore_ascii_case(b"none"))
    }

    /// What cannot be read may do anything.
    #[must_use]
    pub fn unreadable() -> Box<Self> {
        let mut effects = Self::default();
        effects.anything();
        Box::new(effects)
    }

    /// Adds what another text does after this one.
    pub fn merge(&mut self, later: &Self) {
        self.begins = self.begins.union(later.begins);
        self.touches = self.touches.union(later.touches);
        self.ends = self.ends.union(later.ends);
        self.widen(later.scope);
        self.asks_sequences |= later.asks_sequences;
        self.locals.extend(later.locals.iter().take(MOST_SETTINGS - self.locals.len()).cloned());
        if later.schemas.is_some() {
            self.schemas.clone_from(&later.schemas);
            self.path.clone_from(&later.path);
        }
        for (name, change) in &later.settings {
            self.change(name, *change);
        }
    }

    /// Does a setting go back to what it was at the session's start?
    #[must_use]
    pub fn resets(&self) -> bool {
        matches!(self.scope, Scope::Reset | Scope::ResetAndAll)
            || self.settings.iter().any(|(_, change)| *change != Change::Set)
    }

    /// May this setting go back to what it was at the session's start?
    #[must_use]
    pub fn resets_setting(&self, name: &str) -> bool {
        let named =
            |(known, change): &(Box<str>, Change)| **known == *name && *change != Change::Set;
        matches!(self.scope, Scope::Reset | Scope::ResetAndAll) || self.settings.iter().any(named)
    }

    /// May it take back what was done in its transaction, or go on in another?
    #[must_use]
    pub fn may_roll_back(sql: &[u8]) -> bool {
        let ends = |part: &[u8]| {
            let first = part.trim_ascii_start().get(..3);
            first.is_some_and(|word| word.eq_ignore_ascii_case(b"end"))
        };
        finds(sql, b"rollback", 4)
            || finds(sql, b"abort", 1)
            || finds(sql, b"commit", 0)
            || sql.split(|b| *b == b';').any(ends)
    }

    /// May it change this setting?
    #[must_use]
    pub fn names_or_any(&self, name: &str) -> bool {
        self.scope != Scope::Named || self.settings.iter().any(|(known, _)| **known == *name)
    }

    /// May it do anything, for all that is known?
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self.scope, Scope::All | Scope::ResetAndAll)
    }

    /// Must the answer to what is left be known before the client goes on? Settings that it names are
    /// asked for again if it changes them again; of those it does not name, the answer would be old.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        self.scope != Scope::Named || self.resets()
    }

    /// In which order it happens is not known: nothing is sure to have its first value in the end.
    pub(super) fn forget_order(&mut self) {
        self.settings.iter_mut().for_each(|(_, change)| *change = Change::Set);
        if self.resets() {
            self.scope = Scope::All;
        }
        if self.schemas.is_some() {
            self.cannot_tell();
        }
    }

    fn widen(&mut self, scope: Scope) {
        self.scope = match (self.scope, scope) {
            (Scope::All, Scope::Reset) | (Scope::Reset, Scope::All) => Scope::ResetAndAll,
            (ours, theirs) => ours.max(theirs),
        };
    }

    fn anything(&mut self) {
        self.widen(Scope::All);
        self.cannot_tell();
        self.touches = self.touches.union(Features::visible());
    }

    fn change(&mut self, name: &str, change: Change) {
        let full = self.settings.len() >= MOST_SETTINGS;
        match self.settings.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, before)) if *before != change => *before = Change::Both,
            Some(_) => {}
            None if full => self.widen(Scope::All),
            None => self.settings.push((name.into(), change)),
        }
    }

    fn begin(&mut self, feature: Feature) {
        self.begins.insert(feature);
        self.touches.insert(feature);
    }

    /// Adds what one statement does.
    pub(super) fn statement(&mut self, words: &Words<'_, '_>) {
        let Some(first) = words.keyword(0) else { return };
        match &*first {
            "set" => self.set(words),
            "reset" => self.reset(words),
            "listen" => self.begin(Feature::Listen),
            "unlisten" => self.ends.insert(Feature::Listen),
            "load" => self.begins.insert(Feature::Load),
            "update" if words.names("pg_settings") => self.widen(Scope::All),
            "explain" if words.has(&["create"]) => self.begin(Feature::TemporaryTable),
            "declare" if words.has(&["with", "hold"]) => self.begin(Feature::HoldCursor),
            "close" => self.ends.insert(Feature::HoldCursor),
            "prepare" if words.is(1, "transaction") => {}
            "prepare" => self.prepare(words),
            "deallocate" => self.ends.insert(Feature::Prepare),
            "discard" if words.is(1, "all") => {
                self.widen(Scope::Reset);
                self.cannot_tell();
                self.ends = self.ends.union(Features::visible());
            }
            "discard" => self.ends.insert(Feature::TemporaryTable),
            "drop" => self.ends.insert(Feature::TemporaryTable),
            "create" => self.create(words),
            "do" | "call" => self.anything(),
            "rollback" | "abort" | "commit" | "end" => self.path = None,
            _ => {}
        }
        self.called_by(words);
        if words.is_into_temporary() || words.names("pg_temp") {
            self.begin(Feature::TemporaryTable);
        }
        if words.tokens.iter().any(|token| token.kind == TokenKind::UnicodeIdentifier) {
            // A name in disguise.
            self.anything();
        }
    }

    /// `SET`, in all its forms: gram.y, `VariableSetStmt`.
    fn set(&mut self, words: &Words<'_, '_>) {
        let at = match words.keyword(1).as_deref() {
            Some("local") => {
                self.note_local(words.setting_name(2));
                return self.path(words, 2, Change::Set);
            }
            Some("session") if words.is(2, "characteristics") => {
                return CHARACTERISTICS.iter().for_each(|name| self.change(name, Change::Set));
            }
            // `SET SESSION AUTHORIZATION`, also as `SET SESSION SESSION AUTHORIZATION`.
            Some("session") if !words.is(2, "authorization") => 2,
            _ => 1,
        };
        let last = words.tokens.len() - 1;
        let resets = words.is(last, "default") || words.is(at, "time") && words.is(last, "local");
        if !resets && let Some(name) = words.setting_name(at) {
            // The session's value from then on, whatever was set for the transaction before.
            self.locals.retain(|local| *local != name);
        }
        self.named(words, at, if resets { Change::Reset } else { Change::Set });
    }

    fn reset(&mut self, words: &Words<'_, '_>) {
        if words.is(1, "all") {
            self.widen(Scope::Reset);
            self.cannot_tell();
        } else {
            self.named(words, 1, Change::Reset);
        }
    }

    fn note_local(&mut self, name: Option<Box<str>>) {
        let resets = matches!(self.scope, Scope::Reset | Scope::ResetAndAll);
        if let Some(name) = name
            && resets
            && self.locals.len() < MOST_SETTINGS
        {
            self.locals.push(name);
        }
    }

    /// The setting that is named from `at` on.
    fn named(&mut self, words: &Words<'_, '_>, at: usize, change: Change) {
        self.path(words, at, change);
        let Some(name) = words.setting(at) else { return };
        match &*name {
            "time" if words.is(at + 1, "zone") => self.change("timezone", change),
            "session" => {
                self.change("session_authorization", change);
                self.change("role", change);
            }
            "names" => self.change("client_encoding", change),
            "schema" => self.change("search_path", change),
            "xml" => self.change("xmloption", change),
            // Those of one transaction; and the seed, which is no state to carry.
            "transaction" | "constraints" | "seed" => {}
            name if OF_TRANSACTION.contains(&name) => {}
            name => self.change(name, change),
        }
    }

    /// Notes which schemas names are looked up in, if that is what is set from `at` on.
    fn path(&mut self, words: &Words<'_, '_>, at: usize, change: Change) {
        if !words.is(at, "schema") && words.setting(at).as_deref() != Some(SCHEMAS) {
            return;
        }
        let said = if change == Change::Set { words.rest(at + 1) } else { String::new() };
        self.schemas = Some(if said.len() > MOST_SCHEMAS { "" } else { &*said }.into());
        self.path = if change == Change::Set { words.schemas(at + 1) } else { None };
    }

    /// Which schemas names are looked up in cannot be told any more.
    fn cannot_tell(&mut self) {
        (self.schemas, self.path) = (Some(Box::default()), None);
    }

    /// What the statement itself does is done when it is executed, and its name says nothing then.
    fn prepare(&mut self, words: &Words<'_, '_>) {
        if portable(words).is_some() {
            self.touches.insert(Feature::Prepare);
        } else {
            self.begin(Feature::Prepare);
        }
        let mut inner = Self::default();
        inner.called_by(words);
        if inner != Self::default() {
            self.begins.insert(Feature::Unreadable);
        }
    }

    fn create(&mut self, words: &Words<'_, '_>) {
        let kind = words.keywords(1).find(|word| {
            !matches!(&**word, "or" | "replace" | "local" | "global" | "unlogged" | "recursive")
        });
        match kind.as_deref() {
            Some("temp" | "temporary") if words.has(&["on", "commit", "drop"]) => {}
            Some("temp" | "temporary") => self.begin(Feature::TemporaryTable),
            // It is a temporary one if the search path says so.
            Some("table" | "view" | "sequence") => self.touches.insert(Feature::TemporaryTable),
            Some(_) | None => {}
        }
    }

    /// Adds what functions do that are called by name.
    pub(super) fn called_by(&mut self, words: &Words<'_, '_>) {
        for at in 1..words.tokens.len() {
            if !words.is_mark(at, b'(') {
                continue;
            }
            match words.name(at - 1).as_deref() {
                Some("set_config") => self.set_config(words, at + 1),
                Some(
                    "pg_advisory_lock"
                    | "pg_advisory_lock_shared"
                    | "pg_try_advisory_lock"
                    | "pg_try_advisory_lock_shared",
                ) => self.begin(Feature::AdvisoryLock),
                Some(
                    "pg_advisory_unlock" | "pg_advisory_unlock_shared" | "pg_advisory_unlock_all",
                ) => self.ends.insert(Feature::AdvisoryLock),
                Some("lastval" | "currval") => self.asks_sequences = true,
                Some(_) | None => {}
            }
        }
    }

    /// `set_config(name, value, is_local)`, with its arguments from `at` on.
    fn set_config(&mut self, words: &Words<'_, '_>, at: usize) {
        let arguments = words.arguments(at);
        let only = |range: &std::ops::Range<usize>| (range.len() == 1).then_some(range.start);
        let name = arguments.first().and_then(only).and_then(|name| words.string(name));
        if name.as_deref().is_none_or(|name| name == SCHEMAS) {
            let value = arguments.get(1).and_then(only).and_then(|value| words.string(value));
            (self.schemas, self.path) = (Some(name.as_ref().and(value).unwrap_or_default()), None);
        }
        if let Some(third) = arguments.get(2).and_then(only)
            && (words.is(third, "true") || words.string(third).as_deref() == Some("t"))
        {
            self.note_local(name);
            return;
        }
        match name {
            Some(name) => self.change(&name, Change::Set),
            // Which one is only known at run time; custom settings are listed nowhere.
            None => {
                self.widen(Scope::All);
                self.begins.insert(Feature::Unreadable);
            }
        }
    }
}

#[cfg(test)]
#[path = "effects_tests.rs"]
mod tests;
