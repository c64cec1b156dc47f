//! What a worker knows of the texts that the clients of one pool send: which statements they are, and what their
//! comments say. Most texts are recognised, or read, without an allocation.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;

use lru::LruCache;
use rustc_hash::FxBuildHasher;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::said::{Said, Sayings};
use crate::sql::fingerprint::{Fingerprinter, SCAN_LIMIT, Statement};
use crate::sql::query::{About, Part, Query, read_parts};
use crate::sql::tags::Edges;

/// Texts of simple queries that a worker recognises without reading them, for each pool.
const KNOWN_TEXTS: NonZeroUsize = NonZeroUsize::new(1_024).expect("not zero");

/// Statements whose description a worker has at hand, for each pool: more than one application has.
const KNOWN_STATEMENTS: NonZeroUsize = NonZeroUsize::new(2_048).expect("not zero");

/// Comments that a worker recognises without decoding them, for each pool: routes do not differ more, and those
/// with a trace do not come again.
const KNOWN_COMMENTS: NonZeroUsize = NonZeroUsize::new(512).expect("not zero");

/// Texts that were seen once, of which one that comes again is told: so many numbers of four bytes.
const SEEN_ONCE: usize = 512;

/// The caches of one worker and pool.
#[derive(Debug)]
pub(super) struct Known {
    fingerprinter: Fingerprinter,
    texts: LruCache<u64, Text, FxBuildHasher>,
    /// Parts of hashes of texts. A text with values in it seldom comes again: it is kept when it does.
    seen_once: Vec<u32>,
    statements: LruCache<u64, Told, FxBuildHasher>,
    comments: LruCache<u64, Option<Arc<Said>>, FxBuildHasher>,
    /// Of the text that is read.
    parts: Vec<Part>,
    /// Clients choose the texts, and equal hashes would be counted as one.
    seed: u64,
}

/// What a text is.
#[derive(Clone, Debug)]
pub(super) struct Text {
    /// Its statements.
    pub(super) query: Arc<Query>,
    /// What its comments say.
    pub(super) said: Option<Arc<Said>>,
}

/// A statement.
#[derive(Debug)]
struct Told {
    about: Arc<About>,
    /// The last text that is this statement alone; those that differ in their values share it.
    alone: Option<Arc<Query>>,
}

impl Told {
    fn new(statement: &Statement<'_>) -> Self {
        Self { about: Arc::new(About::new(statement)), alone: None }
    }

    fn alone(&mut self, part: &Part) -> Arc<Query> {
        if let Some(query) = &self.alone
            && query.parts.first().is_some_and(|known| known.max_list == part.max_list)
        {
            return Arc::clone(query);
        }
        let query = Arc::new(Query { parts: [part.clone()].into() });
        self.alone = Some(Arc::clone(&query));
        query
    }
}

/// A cache that takes room as it fills; `with_hasher` would take all of it for every pool at once.
fn empty<T>(most: NonZeroUsize) -> LruCache<u64, T, FxBuildHasher> {
    let mut cache = LruCache::unbounded_with_hasher(FxBuildHasher);
    cache.resize(most);
    cache
}

impl Known {
    /// Nothing yet. `seed` must be random.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            fingerprinter: Fingerprinter::default(),
            texts: empty(KNOWN_TEXTS),
            seen_once: Vec::new(),
            statements: empty(KNOWN_STATEMENTS),
            comments: empty(KNOWN_COMMENTS),
            parts: Vec::new(),
            seed,
        }
    }

    /// What a text is, and a hash of it without the comments at its ends: texts that differ only in those, as the
    /// tags of two requests do, are read once.
    #[inline]
    pub(super) fn text(&mut self, text: &[u8], sayings: &Sayings) -> (Text, u64) {
        let edges = Edges::of(text);
        let said = if edges.is_bare() { None } else { self.at_ends(text, &edges, sayings) };
        let body = &text[edges.body];
        let body = body.get(..=SCAN_LIMIT).unwrap_or(body);
        let hash = xxh3_64_with_seed(body, self.seed);
        let Text { query, said: within } = match self.texts.get(&hash) {
            Some(text) => text.clone(),
            None => self.read(body, hash, sayings),
        };
        (Text { query, said: said.or(within) }, hash)
    }

    fn read(&mut self, body: &[u8], hash: u64, sayings: &Sayings) -> Text {
        let statements = &mut self.statements;
        self.parts.clear();
        let mut last = 0;
        let comments = read_parts(body, &mut self.fingerprinter, &mut self.parts, |statement| {
            last = statement.fingerprint.0;
            Arc::clone(&statements.get_or_insert(last, || Told::new(statement)).about)
        });
        let query = match (&*self.parts, statements.peek_mut(&last)) {
            ([part], Some(told)) => told.alone(part),
            (parts, _) => Arc::new(Query { parts: parts.into() }),
        };
        let comments = [comments.first, comments.last];
        let comments = comments.into_iter().flatten().filter_map(|range| body.get(range));
        let text = Text { query, said: sayings.read(comments).map(Arc::new) };
        // A text with a trace in it does not come again.
        if text.said.as_ref().is_none_or(|said| said.unit.is_none()) && self.was_seen(hash) {
            self.texts.put(hash, text.clone());
        }
        text
    }

    /// Was this text seen lately? It is now.
    fn was_seen(&mut self, hash: u64) -> bool {
        if self.seen_once.is_empty() {
            self.seen_once.resize(SEEN_ONCE, 0);
        }
        // The lower half says where, the upper half what.
        let (at, what) = (hash as usize % SEEN_ONCE, (hash >> 32) as u32);
        std::mem::replace(&mut self.seen_once[at], what) == what
    }

    /// What the comments at the ends say.
    fn at_ends(&mut self, text: &[u8], edges: &Edges, sayings: &Sayings) -> Option<Arc<Said>> {
        let of = |range: &Option<Range<usize>>| range.clone().map(|range| &text[range]);
        match (of(&edges.first), of(&edges.last)) {
            (Some(first), Some(last)) => self.comments(&[first, last], sayings),
            (Some(one), None) | (None, Some(one)) => self.comments(&[one], sayings),
            (None, None) => None,
        }
    }

    /// What these comments say.
    pub(super) fn comments(&mut self, comments: &[&[u8]], sayings: &Sayings) -> Option<Arc<Said>> {
        let hash = |seed, comment: &&[u8]| xxh3_64_with_seed(comment, seed);
        let key = comments.iter().fold(self.seed, hash);
        let read = || sayings.read(comments.iter().copied()).map(Arc::new);
        self.comments.get_or_insert(key, read).clone()
    }
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
