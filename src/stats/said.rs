//! What statements say of themselves in their comments, and which part of an application they come from: each
//! such part, a route, has a number. Bounded: of routes beyond the limit only that they are others is known.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rustc_hash::FxBuildHasher;
use xxhash_rust::xxh3::{Xxh3Builder, xxh3_64_with_seed};

use crate::sql::tags::{Repeats, Tags};
use crate::sql::trace::TraceParent;

/// The most routes that are told apart.
pub const MOST_ROUTES: usize = 1_000;

/// The most values of each other key that are told apart.
const MOST_VALUES: usize = 1_000;

/// The longest name of a route, in bytes; longer ones are cut.
const NAME_LIMIT: usize = 200;

/// What routes and values beyond the limit are called.
pub const OTHER: &str = "other";

/// A part of an application, by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RouteId(u16);

impl RouteId {
    /// Nothing is known: no tag, and a client without `application_name`.
    pub const NONE: Self = Self(0);

    /// One of those that are not told apart.
    pub const OTHER: Self = Self(1);
}

/// What the comments of a statement say.
#[derive(Clone, Debug)]
pub struct Said {
    /// Keys that are kept, with their values, as in the comment.
    pub pairs: Vec<(Arc<str>, Arc<str>)>,
    /// Its route, if it says one.
    pub route: Option<RouteId>,
    /// Its place in a trace.
    pub trace: Option<TraceParent>,
    /// A hash of the trace or the request that it belongs to.
    pub unit: Option<u64>,
    /// Whether repeating it is meant.
    pub repeats: Repeats,
}

/// Reads comments, and gives routes their numbers. All workers share it.
#[derive(Debug)]
pub struct Sayings {
    keys: Vec<Arc<str>>,
    known: Mutex<Known>,
    seed: u64,
}

#[derive(Debug)]
struct Known {
    ids: HashMap<Arc<str>, RouteId, Xxh3Builder>,
    routes: Vec<Arc<str>>,
    values: HashMap<Arc<str>, HashMap<Arc<str>, (), Xxh3Builder>, FxBuildHasher>,
    seed: u64,
}

impl Default for Sayings {
    /// Those that keep no key.
    fn default() -> Self {
        Self::new(&[], 0)
    }
}

impl Sayings {
    /// Those that keep these keys. `seed` must be random: clients choose the names.
    #[must_use]
    pub fn new(keys: &[String], seed: u64) -> Self {
        let known = Known {
            ids: HashMap::with_hasher(Xxh3Builder::new().with_seed(seed)),
            routes: vec!["".into(), OTHER.into()],
            values: HashMap::default(),
            seed,
        };
        let keys = keys.iter().map(|key| key.as_str().into()).collect();
        Self { keys, known: Mutex::new(known), seed }
    }

    /// What these comments say, if that is anything.
    #[must_use]
    pub fn read<'a>(&self, comments: impl IntoIterator<Item = &'a [u8]>) -> Option<Said> {
        let tags = Tags::read(comments, |key| self.keys.iter().any(|kept| **kept == *key));
        if tags.is_empty() {
            return None;
        }
        let route = tags.route();
        let mut known = self.known.lock();
        let route = route.map(|name| known.route(&name));
        let pairs = tags.pairs.iter().filter_map(|(key, value)| {
            let key = self.keys.iter().find(|kept| ***kept == **key)?;
            Some((Arc::clone(key), known.value(key, value)))
        });
        let pairs = pairs.collect();
        let hash = |bytes: &[u8]| xxh3_64_with_seed(bytes, self.seed);
        let trace = tags.trace.map(|trace| hash(&trace.trace.to_be_bytes()));
        let request = || tags.request.as_ref().map(|request| hash(request.as_bytes()));
        let unit = trace.or_else(request);
        Some(Said { pairs, route, trace: tags.trace, unit, repeats: tags.repeats })
    }

    /// The number of a route; empty is none.
    #[must_use]
    pub fn route(&self, name: &str) -> RouteId {
        self.known.lock().route(name)
    }

    /// The number of a route that was seen.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<RouteId> {
        let known = self.known.lock();
        let plain = known.routes.iter().position(|route| **route == *name).filter(|at| *at < 2);
        // Both are among the first.
        plain.map(|at| RouteId(at as u16)).or_else(|| known.ids.get(name).copied())
    }

    /// The name of a route; empty if nothing is known.
    #[must_use]
    pub fn name(&self, route: RouteId) -> Arc<str> {
        let known = self.known.lock();
        known.routes.get(usize::from(route.0)).map_or_else(|| OTHER.into(), Arc::clone)
    }
}

impl Known {
    fn route(&mut self, name: &str) -> RouteId {
        let cut = (0..=NAME_LIMIT.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
        let name = &name[..cut.unwrap_or(0)];
        if name.is_empty() {
            return RouteId::NONE;
        }
        if let Some(known) = self.ids.get(name) {
            return *known;
        }
        if self.ids.len() >= MOST_ROUTES {
            return RouteId::OTHER;
        }
        // Not more than the limit.
        let id = RouteId(self.routes.len() as u16);
        let name: Arc<str> = name.into();
        self.routes.push(Arc::clone(&name));
        self.ids.insert(name, id);
        id
    }

    fn value(&mut self, key: &Arc<str>, value: &str) -> Arc<str> {
        let seed = self.seed;
        let empty = || HashMap::with_hasher(Xxh3Builder::new().with_seed(seed));
        let values = self.values.entry(Arc::clone(key)).or_insert_with(empty);
        if let Some((known, ())) = values.get_key_value(value) {
            return Arc::clone(known);
        }
        if values.len() >= MOST_VALUES {
            return OTHER.into();
        }
        let value: Arc<str> = value.into();
        values.insert(Arc::clone(&value), ());
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sayings() -> Sayings {
        Sayings::new(&["route".to_owned(), "job".to_owned()], 1)
    }

    #[test]
    fn routes_have_numbers_up_to_the_limit() {
        let sayings = sayings();
        assert_eq!(sayings.route(""), RouteId::NONE);
        let first = sayings.route("/a");
        assert_eq!((sayings.route("/a"), sayings.find("/a")), (first, Some(first)));
        assert_eq!(&*sayings.name(first), "/a");
        for n in 1..MOST_ROUTES {
            assert_ne!(sayings.route(&format!("/{n}")), RouteId::OTHER);
        }
        assert_eq!(sayings.route("/one/too/many"), RouteId::OTHER);
        assert_eq!(sayings.route("/a"), first, "those that are known stay");
        assert_eq!(&*sayings.name(RouteId::OTHER), OTHER);
        assert_eq!(sayings.find(OTHER), Some(RouteId::OTHER));
        assert_eq!(sayings.find("/never"), None);
    }

    #[test]
    fn values_beyond_the_limit_are_others() {
        let sayings = sayings();
        let job = |n: usize| {
            let comment = format!("/*job='{n}'*/");
            sayings.read([comment.as_bytes()]).map(|said| said.pairs[0].1.to_string())
        };
        for n in 0..MOST_VALUES {
            assert_eq!(job(n), Some(n.to_string()));
        }
        assert_eq!(job(MOST_VALUES), Some(OTHER.to_owned()));
    }

    #[test]
    fn a_trace_or_a_request_makes_a_unit() {
        let sayings = sayings();
        let unit = |comment: &str| sayings.read([comment.as_bytes()]).and_then(|said| said.unit);
        let trace =
            |parent| unit(&format!("/*traceparent='00-{}-{}-00'*/", "1".repeat(32), parent));
        assert_eq!(trace("1".repeat(16)), trace("2".repeat(16)), "two spans of one trace");
        assert!(trace("1".repeat(16)).is_some());
        assert_ne!(unit("/*request_id='a'*/"), unit("/*request_id='b'*/"));
        assert_eq!(unit("/*route='/a'*/"), None);
        assert!(sayings.read([&b"/* nothing */"[..]]).is_none());
    }
}
