//! A client's prepared statements: its names, and what they mean.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;

use super::lending::NotLent;
use super::tagged::Cuts;
use super::watch::Watch;
use crate::server::connection::{ServerConnection, Undo};
use crate::server::owed::Discarded;
#[cfg(doc)]
use crate::server::owed::Owed;
use crate::server::statement::{Statement, StatementRegistry, Tagged};
use crate::sql::named::LONGEST_NAME;
use crate::stats::queries::QueryLog;

/// How many closed statements are remembered: one that the client closes and prepares again is
/// analysed anew by Postgres, and so it is here. More than a driver closes between the two.
const REMEMBERED_CLOSED: usize = 16;

/// What a table needs for an entry, in bytes.
const ENTRY_BYTES: usize = 64;

/// How many statements are remembered that do not hold where the client is.
const MOST_UNSETTLED: usize = 64;

/// The most bytes of named statements of one client: names, texts and types.
pub const MOST_HELD: usize = 128 * 1024 * 1024;

/// Up to so many statements, a client's new one is compared with the others: see `twins`.
const MOST_COMPARED: usize = 1_024;

/// One client's statements.
#[derive(Debug, Default)]
pub struct ClientStatements {
    named: HashMap<Box<[u8]>, Arc<Statement>, FxBuildHasher>,
    /// Bytes of the named ones, with their names.
    held: usize,
    /// How often a name got the meaning of another. Then the shared name does not say which of them an error is about.
    twins: u32,
    pub(super) unnamed: Option<Arc<Statement>>,
    /// Their numbers, and hashes of their tags.
    closed: Vec<(u64, u64)>,
    /// What names meant before they were prepared anew in other schemas.
    homes: HashMap<Box<[u8]>, Arc<Statement>, FxBuildHasher>,
    /// Those that do not hold in the schemas that the client has moved to, as it was told.
    unsettled: Vec<u64>,
    /// Names that got or lost their meaning lately, and in which segment (see [`Owed::segment`]).
    changed: HashMap<Box<[u8]>, u64, FxBuildHasher>,
    unnamed_changed: Option<u64>,
    /// Does something run that may make Postgres forget all of them?
    doubted: bool,
    /// Those prepared before the schema had this age are prepared anew before they are used.
    stale_before: u64,
    /// What is to be sent behind the next Execute, which may reset the client's settings.
    pub(super) restores: Option<Box<str>>,
    /// What the next Execute of the unnamed portal deallocates by name, prepared by the protocol.
    pub(super) drops: Option<Box<[u8]>>,
    /// Why Postgres did not prepare a statement under the client's own name.
    pub(super) not_lent: Option<Box<NotLent>>,
    /// What is counted of what they run; none: nothing.
    pub(super) watch: Option<Box<Watch>>,
    /// What was taken off their texts; none: nothing is to be.
    pub(super) cuts: Option<Box<Cuts>>,
}

impl ClientStatements {
    /// Those of a new client, noted in this log if there is one. `client`: its number; `application`: what it
    /// says it is.
    #[must_use]
    pub fn watched_by(log: Option<&Rc<QueryLog>>, client: u64, application: &str) -> Self {
        let watch = log.map(|log| Box::new(Watch::new(Rc::clone(log), client, application)));
        Self { watch, ..Self::default() }
    }

    /// The client had to wait for the server it has now, nanoseconds.
    pub fn waited(&mut self, nanos: u64) {
        if let Some(watch) = &mut self.watch {
            watch.waited(nanos);
        }
    }

    /// The client does not read what a statement has for it.
    #[cold]
    pub fn block(&mut self, now: u64) {
        if let Some(watch) = &mut self.watch {
            watch.block(now);
        }
    }

    /// The client has read all there was.
    #[cold]
    pub fn unblock(&mut self, now: u64) {
        if let Some(watch) = &mut self.watch {
            watch.unblock(now);
        }
    }

    /// What a name means; the empty one is the unnamed statement.
    #[inline]
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(key(name)) }
    }

    /// Gives a name its meaning.
    pub fn define(&mut self, name: &[u8], statement: Arc<Statement>) {
        if name.is_empty() {
            self.unnamed = Some(statement);
            return;
        }
        self.leave_home(name);
        self.name(name, statement);
    }

    fn name(&mut self, name: &[u8], statement: Arc<Statement>) {
        let name = key(name);
        if self.named.len() <= MOST_COMPARED
            && self.named.iter().any(|(n, s)| Arc::ptr_eq(s, &statement) && **n != *name)
        {
            self.twins = self.twins.saturating_add(1);
        }
        self.held += weight(name, &statement.body);
        if let Some(before) = self.named.insert(name.into(), statement) {
            self.held -= weight(name, &before.body);
        }
    }

    /// What a name meant before it was first prepared anew in other schemas.
    #[must_use]
    pub fn home(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.homes.get(key(name)).or_else(|| self.named.get(key(name)))
    }

    /// Gives a name the same meaning in other schemas than those of its Parse.
    pub fn define_abroad(&mut self, name: &[u8], home: Arc<Statement>, statement: Arc<Statement>) {
        self.name(name, statement);
        self.held += weight(name, &home.body);
        if let Some(before) = self.homes.insert(key(name).into(), home) {
            self.held -= weight(name, &before.body);
        }
    }

    fn leave_home(&mut self, name: &[u8]) {
        if !self.homes.is_empty()
            && let Some(home) = self.homes.remove(key(name))
        {
            self.held -= weight(name, &home.body);
        }
    }

    /// Takes a name back.
    pub fn remove(&mut self, name: &[u8]) -> Option<Arc<Statement>> {
        if name.is_empty() {
            return self.unnamed.take();
        }
        self.untag(name);
        self.leave_home(name);
        let name = key(name);
        let removed = self.named.remove(name)?;
        self.held -= weight(name, &removed.body);
        if self.named.len() < 2 {
            self.twins = 0;
        }
        Some(removed)
    }

    /// Is a statement with this name and body more than one client may have?
    #[must_use]
    pub fn is_full(&self, name: &[u8], body: &[u8]) -> bool {
        self.held + weight(key(name), body) > MOST_HELD
    }

    /// What goes with a request that uses the statement of this name, where an error would not say which it was, or
    /// tells of schemas that the client has moved to.
    #[inline]
    pub(super) fn used(&self, name: &[u8], strays: Option<u64>) -> Option<Box<Undo>> {
        match strays {
            Some(id) => Some(Box::new(Undo::Strayed { id, name: name.into() })),
            None => (self.twins > 0 && !name.is_empty()).then(|| Box::new(Undo::Used(name.into()))),
        }
    }

    /// The client was told that a statement does not hold in the schemas of now: it is prepared in those next time.
    #[cold]
    pub(super) fn unsettle(&mut self, id: u64) {
        if !self.unsettled.contains(&id) {
            if self.unsettled.len() == MOST_UNSETTLED {
                self.unsettled.remove(0);
            }
            self.unsettled.push(id);
        }
    }

    /// Is it to be prepared in the schemas of now? It is asked once.
    #[cold]
    pub(super) fn settle_in(&mut self, id: u64) -> bool {
        let before = self.unsettled.len();
        self.unsettled.retain(|&unsettled| unsettled != id);
        self.unsettled.len() < before
    }

    /// What a name means changes with a request in this segment.
    #[inline]
    pub fn note_change(&mut self, name: &[u8], segment: u64) {
        if name.is_empty() {
            self.unnamed_changed = Some(segment);
        } else {
            self.changed.insert(key(name).into(), segment);
        }
    }

    /// The segment in which a name got or lost its meaning lately.
    #[inline]
    #[must_use]
    pub fn changed_in(&self, name: &[u8]) -> Option<u64> {
        if name.is_empty() {
            return self.unnamed_changed;
        }
        self.changed.get(key(name)).copied()
    }

    /// What was bound is not executed any more.
    #[inline]
    pub(super) fn forget_next(&mut self) {
        self.restores = None;
    }

    /// The client was told that a result has changed: from now on it means the schema as it is.
    pub fn outdate(&mut self, epoch: u64) {
        self.stale_before = epoch;
    }

    /// Is a statement to be prepared anew before it is used?
    #[inline]
    #[must_use]
    pub fn is_stale(&self, statement: &Statement) -> bool {
        statement.is_older(self.stale_before)
    }

    /// Something is sent that may make Postgres forget the named ones.
    pub fn doubt_all(&mut self) {
        self.doubted = true;
    }

    /// May a name have lost its meaning by what runs, whatever came before?
    #[inline]
    #[must_use]
    pub fn is_doubted(&self, name: &[u8]) -> bool {
        self.doubted && !name.is_empty()
    }

    /// Everything that was asked for has happened, or been taken back.
    #[inline]
    pub fn settle(&mut self) {
        self.doubted = false;
        self.not_lent = None;
        self.unnamed_changed = None;
        if !self.changed.is_empty() {
            // An idle client owns no buffer.
            self.changed = HashMap::default();
        }
    }

    /// The client closed a statement: should it ask for the same again, that is a new one. With other tags it is not the same.
    pub fn remember_closed(&mut self, id: u64, tagged: Option<&Tagged>) {
        if self.closed.len() == REMEMBERED_CLOSED {
            self.closed.remove(0);
        }
        self.closed.push((id, hash(tagged)));
    }

    /// The shared statement for a Parse of this client.
    pub fn intern(
        &self,
        registry: &StatementRegistry,
        (body, tagged): (&[u8], Option<&Tagged>),
        schemas: Option<&Arc<str>>,
    ) -> Arc<Statement> {
        registry.intern(body, schemas, |found| self.closed.contains(&(found.id, hash(tagged))))
    }

    /// Does a Parse of this client need no server, because Postgres has accepted the same text
    /// already? Then the name has its meaning now. A name that is taken is Postgres' to refuse.
    pub fn define_proven(
        &mut self,
        registry: &StatementRegistry,
        schemas: Option<&Arc<str>>,
        (name, body): (&[u8], &[u8]),
    ) -> bool {
        if name.is_empty() || self.named.contains_key(key(name)) || self.is_full(name, body) {
            return false;
        }
        let (body, tagged) = self.without_tags(body);
        match registry.proven(&body, schemas) {
            Some(statement) if !self.closed.contains(&(statement.id, hash(tagged.as_ref()))) => {
                self.tag(name, statement.id, tagged);
                self.define(name, statement);
                true
            }
            Some(_) | None => false,
        }
    }

    /// `DEALLOCATE` of one statement was run.
    pub fn deallocated(&mut self, server: &mut ServerConnection) {
        let name = match server.owed.front_undo_mut() {
            Some(Undo::Deallocated { name, .. }) => Some(name.clone()),
            Some(Undo::Queried { deallocates, .. }) => {
                deallocates.pop_front().map(|name| name.into_boxed_bytes())
            }
            Some(_) | None => None,
        };
        let Some(name) = name.filter(|name| !name.is_empty()) else { return };
        let tagged = self.untag(&name);
        if let Some(statement) = self.remove(&name) {
            self.remember_closed(statement.id, tagged.as_ref());
        }
    }

    /// `DEALLOCATE ALL` was run: the client has no named statement but those it has asked for
    /// since.
    pub fn clear(&mut self, server: &ServerConnection) {
        self.named.clear();
        self.homes.clear();
        (self.held, self.twins) = (0, 0);
        for undo in server.owed.in_flight() {
            match undo {
                Undo::Parsed { name, statement, .. } => {
                    self.define(name, Arc::clone(statement));
                }
                Undo::Closed { name, .. } if !name.is_empty() => drop(self.remove(name)),
                Undo::Closed { .. }
                | Undo::Used(_)
                | Undo::Strayed { .. }
                | Undo::ParsedUnnamed { .. }
                | Undo::Queried { .. }
                | Undo::Lent(_)
                | Undo::Deallocated { .. }
                | Undo::Injected(_)
                | Undo::Homed(_)
                | Undo::InjectedUnnamed
                | Undo::Duplicate(_)
                | Undo::Evicted(_)
                | Undo::SqlPrepared(_)
                | Undo::Optional => {}
            }
        }
        self.untag_lost();
    }

    /// The client's name for a statement.
    #[must_use]
    pub fn name_of(&self, id: u64) -> Option<&[u8]> {
        self.named.iter().find(|(_, statement)| statement.id == id).map(|(name, _)| &**name)
    }

    /// How many named statements the client has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.named.len()
    }

    /// Has the client no named statement?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// A request of this client was discarded by Postgres: what it did here is taken back.
    pub fn undo(&mut self, undo: Undo, how: Discarded) {
        match undo {
            Undo::Parsed { name, .. } => {
                self.remove(&name);
            }
            Undo::ParsedUnnamed { statement, before } => {
                // A later batch may have another one by now.
                if self.unnamed.as_ref().is_some_and(|now| Arc::ptr_eq(now, &statement)) {
                    self.unnamed = match how {
                        // Postgres drops the old one before it looks at the new one.
                        Discarded::Failed => None,
                        Discarded::Skipped => before,
                    };
                }
            }
            Undo::Queried { unnamed: Some(before), .. }
            | Undo::Deallocated { unnamed: Some(before), .. } => {
                self.unnamed.get_or_insert(before);
            }
            Undo::Closed { name, statement, tagged } => {
                if self.get(&name).is_none() {
                    self.tag(&name, statement.id, tagged);
                    self.define(&name, statement);
                }
            }
            Undo::Deallocated { unnamed: None, .. }
            | Undo::Queried { unnamed: None, .. }
            | Undo::Lent(_)
            | Undo::Used(_)
            | Undo::Strayed { .. }
            | Undo::Injected(_)
            | Undo::Homed(_)
            | Undo::InjectedUnnamed
            | Undo::Duplicate(_)
            | Undo::Evicted(_)
            | Undo::SqlPrepared(_)
            | Undo::Optional => {}
        }
    }
}

/// A name as Postgres keeps it: names of statements are cut as others are (`NAMEDATALEN`, dynahash.c).
#[inline]
pub(super) fn key(name: &[u8]) -> &[u8] {
    &name[..name.len().min(LONGEST_NAME)]
}

/// What a named statement counts for: its name, its body, and the entry.
fn weight(name: &[u8], body: &[u8]) -> usize {
    key(name).len() + body.len() + ENTRY_BYTES
}

/// Tells apart what was taken off; nothing is 0.
fn hash(tagged: Option<&Tagged>) -> u64 {
    tagged.map_or(0, |tagged| tagged.hash)
}
