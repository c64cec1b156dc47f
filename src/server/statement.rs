//! Prepared statements that clients share: one name per meaning, and which of them a server knows.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use lru::LruCache;
use parking_lot::Mutex;
use rustc_hash::FxBuildHasher;
use xxhash_rust::xxh3::Xxh3Builder;

use super::effects::{Sharing, forgets, sharing};
use super::hidden::{HiddenState, Judged};
use super::sequences::Questions;
use crate::sql::effects::Effects;
use crate::sql::fingerprint::Fingerprint;
use crate::sql::named::{Named, may_name};
use crate::stats::queries::Run;
use crate::stats::said::Said;

/// Every shared name starts with this; a client's own name that does is never sent as it is.
pub const SHARED_PREFIX: &[u8] = b"pooler_";

/// Statements nobody uses are kept up to this many, so that clients which come and go (one
/// connection per web request) find what their predecessors prepared.
const KEEP_UNUSED: usize = 2_000;

/// And up to so many bytes of text.
const KEEP_UNUSED_BYTES: usize = 64 * 1024 * 1024;

/// A statement's meaning under one shared name.
#[derive(Debug)]
pub struct Statement {
    /// Unique within the database's registry.
    pub id: u64,
    /// Query text with its NUL, the count of parameter types, and the types.
    pub body: Arc<[u8]>,
    /// Which schemas its names are looked up in (see [`super::parameters::Settings::schemas`]).
    pub schemas: Option<Arc<str>>,
    /// The schema's age when it was first prepared.
    epoch: u64,
    /// May running it make Postgres forget prepared statements (DEALLOCATE, DISCARD)?
    pub forgets: bool,
    /// May others have it?
    sharing: Sharing,
    /// What running it may do to the session.
    pub effects: Option<Box<Effects>>,
    /// Which prepared statements it names.
    pub named: Option<Box<Named>>,
    /// What running it does out of sight.
    pub hidden: Judged,
    /// What its text runs, once anybody who counts has asked.
    pub run: OnceLock<Run>,
    /// Has Postgres accepted it?
    proven: AtomicBool,
}

/// What was taken off a client's text before its statement was looked up: see `strip_comments`.
#[derive(Clone, Debug)]
pub struct Tagged {
    /// What it says, if anybody counts.
    pub said: Option<Arc<Said>>,
    /// How many characters of it stood in front.
    pub lead: u16,
    /// A hash of it.
    pub hash: u64,
}

/// The name servers know a statement by.
#[derive(Clone, Copy)]
pub struct SharedName {
    bytes: [u8; 27],
    start: u8,
}

/// All statements of one database, shared by the clients that prepared them.
pub struct StatementRegistry {
    known: Mutex<Known>,
    epoch: AtomicU64,
    /// What functions leave in the session of whoever calls them.
    pub hidden: HiddenState,
    /// Who asks for what sequences gave last?
    pub sequences: Questions,
}

struct Known {
    /// By the schemas that names are looked up in.
    statements: HashMap<Arc<str>, Texts, Xxh3Builder>,
    count: usize,
    next_id: u64,
    sweep_at: usize,
    /// Bytes of their bodies.
    bytes: usize,
    sweep_at_bytes: usize,
}

type Texts = HashSet<ByBody, Xxh3Builder>;

/// A statement keyed by its body.
#[derive(Debug)]
struct ByBody(Arc<Statement>);

/// Which shared statements a server knows, least recently used first to go; and what its unnamed
/// statement is.
#[derive(Debug)]
pub struct ServerStatements {
    named: LruCache<u64, (), FxBuildHasher>,
    limit: usize,
    unnamed: Unnamed,
    /// What changed lately, and in which segment (see [`super::owed::Owed::segment`]).
    changed: HashMap<u64, u64, FxBuildHasher>,
    unnamed_changed: Option<u64>,
}

/// What is known of a server's unnamed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unnamed {
    /// There is none.
    Absent,
    /// The one with this id.
    Known(u64),
    /// Whatever a client left there, perhaps.
    Unknown,
}

impl Statement {
    /// The name servers know it by.
    #[must_use]
    pub fn shared_name(&self) -> SharedName {
        SharedName::new(self.id)
    }

    /// Are its names looked up in these schemas?
    #[inline]
    #[must_use]
    pub fn is_at_home(&self, schemas: Option<&Arc<str>>) -> bool {
        match (&self.schemas, schemas) {
            (None, None) => true,
            (Some(ours), Some(theirs)) => Arc::ptr_eq(ours, theirs) || ours == theirs,
            (None, Some(_)) | (Some(_), None) => false,
        }
    }

    /// Was it first prepared before the schema reached this age?
    #[inline]
    #[must_use]
    pub fn is_older(&self, epoch: u64) -> bool {
        self.epoch < epoch
    }

    /// Is it one statement, and of this fingerprint? Not known before it was run.
    fn is_single(&self, wanted: Fingerprint) -> bool {
        let parts = self.run.get().map(|run| &*run.query.parts);
        matches!(parts, Some([only]) if only.about.fingerprint == wanted)
    }

    /// Postgres has accepted it.
    pub fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }
}

impl SharedName {
    /// The name for a statement's id.
    #[must_use]
    pub fn new(mut id: u64) -> Self {
        let mut bytes = [0; 27];
        let mut start = bytes.len();
        loop {
            start -= 1;
            // A digit always fits a byte.
            bytes[start] = b'0' + (id % 10) as u8;
            id /= 10;
            if id == 0 {
                break;
            }
        }
        start -= SHARED_PREFIX.len();
        bytes[start..start + SHARED_PREFIX.len()].copy_from_slice(SHARED_PREFIX);
        Self { bytes, start: start as u8 }
    }

    /// The name's bytes, without a NUL.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..]
    }
}

impl StatementRegistry {
    /// An empty registry; `seed` must be random.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            known: Mutex::new(Known {
                // A client can choose the texts, so the hash is seeded.
                statements: HashMap::with_hasher(Xxh3Builder::new().with_seed(seed)),
                count: 0,
                next_id: 1,
                sweep_at: KEEP_UNUSED,
                bytes: 0,
                sweep_at_bytes: KEEP_UNUSED_BYTES,
            }),
            epoch: AtomicU64::new(0),
            hidden: HiddenState::default(),
            sequences: Questions::default(),
        }
    }

    /// The statement with this body, its names looked up in these schemas. `renew`: not one that was shared before
    /// (the client has closed that one and asks anew, so Postgres would analyse the text anew).
    pub fn intern(
        &self,
        body: &[u8],
        schemas: Option<&Arc<str>>,
        renew: impl FnOnce(&Statement) -> bool,
    ) -> Arc<Statement> {
        let epoch = self.epoch.load(Ordering::Relaxed);
        if let Some(found) = self.known.lock().find(body, schemas)
            && found.epoch == epoch
            && found.sharing == Sharing::Shared
            && !renew(found)
        {
            return Arc::clone(found);
        }
        // Reading takes time, and all workers want the lock. The text ends at its NUL.
        let text = body.split(|&b| b == 0).next().unwrap_or_default();
        let effects = Effects::read(text);
        let named = if may_name(text) { Named::read(text) } else { None };
        let mut known = self.known.lock();
        let statement = Arc::new(Statement {
            id: known.next_id,
            body: body.into(),
            schemas: schemas.map(Arc::clone),
            epoch,
            forgets: forgets(body),
            sharing: sharing(body),
            effects,
            named,
            hidden: Judged::default(),
            proven: AtomicBool::new(false),
            run: OnceLock::new(),
        });
        known.add(Arc::clone(&statement));
        statement
    }

    /// The statement with this body and these schemas, if Postgres has accepted it under the schema as it is.
    #[must_use]
    pub fn proven(&self, body: &[u8], schemas: Option<&Arc<str>>) -> Option<Arc<Statement>> {
        let epoch = self.epoch.load(Ordering::Relaxed);
        let known = self.known.lock();
        let found = known.find(body, schemas)?;
        let shared = found.epoch == epoch && found.sharing == Sharing::Shared;
        (shared && found.proven.load(Ordering::Relaxed)).then(|| Arc::clone(found))
    }

    /// A statement of this fingerprint that was run, the newest that Postgres has accepted. Looks at all of them:
    /// about a millisecond for ten thousand.
    #[must_use]
    pub fn of_fingerprint(&self, wanted: Fingerprint) -> Option<Arc<Statement>> {
        let known = self.known.lock();
        let all = known.statements.values().flatten().map(|ByBody(statement)| statement);
        let found = all.filter(|statement| statement.is_single(wanted));
        found.max_by_key(|found| (found.proven.load(Ordering::Relaxed), found.id)).cloned()
    }

    /// The schema has changed: texts that are prepared from now on are analysed anew.
    pub fn schema_changed(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
    }

    /// The schema's age.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// How many statements are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.known.lock().count
    }

    /// Is no statement known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for StatementRegistry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatementRegistry").field("statements", &self.len()).finish()
    }
}

#[allow(clippy::mutable_key_type, reason = "what a statement is found by does not change")]
impl Known {
    fn find(&self, body: &[u8], schemas: Option<&Arc<str>>) -> Option<&Arc<Statement>> {
        let texts = self.statements.get(schemas.map_or("", |schemas| &**schemas))?;
        texts.get(body).map(|ByBody(found)| found)
    }

    fn add(&mut self, statement: Arc<Statement>) {
        self.next_id += 1;
        let schemas = statement.schemas.clone().unwrap_or_default();
        let hasher = *self.statements.hasher();
        let texts = self.statements.entry(schemas).or_insert_with(|| HashSet::with_hasher(hasher));
        self.bytes += statement.body.len();
        match texts.replace(ByBody(statement)) {
            Some(ByBody(before)) => self.bytes -= before.body.len(),
            None => self.count += 1,
        }
        self.sweep_when_due();
    }

    /// Forgets what no client holds, once enough has gathered that looking at all is worth it.
    fn sweep_when_due(&mut self) {
        if self.count >= self.sweep_at || self.bytes >= self.sweep_at_bytes {
            self.statements.retain(|_, texts| {
                texts.retain(|s| Arc::strong_count(&s.0) > 1);
                !texts.is_empty()
            });
            self.count = self.statements.values().map(HashSet::len).sum();
            let left = self.statements.values().flatten();
            self.bytes = left.map(|s| s.0.body.len()).sum();
            self.sweep_at = KEEP_UNUSED + 2 * self.count;
            self.sweep_at_bytes = KEEP_UNUSED_BYTES + 2 * self.bytes;
        }
    }
}

impl ServerStatements {
    /// Room for `limit` named statements, at least one.
    #[must_use]
    pub fn new(limit: u32) -> Self {
        Self {
            named: LruCache::unbounded_with_hasher(FxBuildHasher),
            limit: (limit as usize).max(1),
            unnamed: Unnamed::Absent,
            changed: HashMap::default(),
            unnamed_changed: None,
        }
    }

    /// Does the server know it? If so it counts as just used.
    #[inline]
    pub fn knows(&mut self, id: u64) -> bool {
        self.named.get(&id).is_some()
    }

    /// Does the server know it? Unlike [`Self::knows`], asking is no use.
    #[must_use]
    pub fn has(&self, id: u64) -> bool {
        self.named.contains(&id)
    }

    /// Its unnamed statement.
    #[inline]
    #[must_use]
    pub fn unnamed(&self) -> Unnamed {
        self.unnamed
    }

    /// The server is being told, in this segment.
    #[inline]
    pub fn set_unnamed(&mut self, unnamed: Unnamed, segment: u64) {
        self.unnamed = unnamed;
        self.unnamed_changed = Some(segment);
    }

    /// Its unnamed statement may be anything.
    pub fn forget_unnamed(&mut self) {
        self.unnamed = Unnamed::Unknown;
    }

    /// Its unnamed statement, should there be one, may be gone.
    #[inline]
    pub fn doubt_unnamed(&mut self) {
        if self.unnamed != Unnamed::Absent {
            self.unnamed = Unnamed::Unknown;
        }
    }

    /// The server is told about a named statement in this segment.
    pub fn note_change(&mut self, id: u64, segment: u64) {
        self.changed.insert(id, segment);
    }

    /// Has another one to go for the next that it learns?
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.named.len() >= self.limit
    }

    /// Was the server told about named statements lately?
    #[must_use]
    pub fn is_changing(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The segment in which the server was told about a named statement lately.
    #[inline]
    #[must_use]
    pub fn changed_in(&self, id: u64) -> Option<u64> {
        self.changed.get(&id).copied()
    }

    /// The segment in which the server was told about its unnamed statement lately.
    #[inline]
    #[must_use]
    pub fn unnamed_changed_in(&self) -> Option<u64> {
        self.unnamed_changed
    }

    /// Everything the server was told has happened, or been taken back.
    #[inline]
    pub fn settle(&mut self) {
        self.changed.clear();
        self.unnamed_changed = None;
    }

    /// The server is being told, or knows it still. There may be a [`Self::surplus`] then.
    pub fn learn(&mut self, id: u64) {
        self.named.put(id, ());
    }

    /// A statement that has to go, as there are more than the limit; the server must be told.
    pub fn surplus(&mut self) -> Option<u64> {
        if self.named.len() <= self.limit {
            return None;
        }
        self.named.pop_lru().map(|(gone, ())| gone)
    }

    /// The server does not know it after all.
    pub fn forget(&mut self, id: u64) {
        self.named.pop(&id);
    }

    /// The server knows no named statement any more: `DEALLOCATE ALL` and `DISCARD ALL` leave the
    /// unnamed one (`DropAllPreparedStatements`, src/backend/commands/prepare.c).
    pub fn clear_named(&mut self) {
        self.named.clear();
        self.doubt_unnamed();
    }

    /// The server knows nothing any more.
    pub fn clear(&mut self) {
        self.named.clear();
        self.unnamed = Unnamed::Absent;
    }

    /// How many named statements the server knows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.named.len()
    }

    /// Does the server know no named statement?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }
}

impl Hash for ByBody {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.body.hash(state);
    }
}

impl PartialEq for ByBody {
    fn eq(&self, other: &Self) -> bool {
        self.0.body == other.0.body
    }
}

impl Eq for ByBody {}

impl Borrow<[u8]> for ByBody {
    fn borrow(&self) -> &[u8] {
        &self.0.body
    }
}

#[cfg(test)]
#[path = "statement_tests.rs"]
mod tests;
