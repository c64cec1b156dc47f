//! Session settings: the set a client wants, and the SQL that gives a server another set.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::sql_prepared::SqlStatements;
use crate::sql::effects::Effects;

/// Settings that differ from the server's own, by name in lower case. Equal sets are one object,
/// so that comparing a client's with a server's is comparing two pointers.
#[derive(Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Settings {
    values: BTreeMap<Box<str>, Box<str>>,
    /// What of them says which schemas names are looked up in.
    schemas: Option<Arc<str>>,
    /// Statements prepared with SQL's `PREPARE`, which go with them.
    prepared: SqlStatements,
}

/// What a server's settings are known to be.
#[derive(Clone, Debug)]
pub enum Applied {
    /// Exactly these.
    Known(Arc<Settings>),
    /// Somebody ran SET: anything.
    Unknown,
}

/// Makes equal sets one object. A set nobody uses is forgotten.
#[derive(Debug)]
pub struct Interner {
    none: Arc<Settings>,
    sets: Mutex<BTreeMap<u64, Vec<Weak<Settings>>>>,
    hasher: RandomState,
}

/// Settings a server reports that no SET can give: they are never carried.
const READ_ONLY: [&str; 6] = [
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "server_encoding",
    "server_version",
    "session_authorization",
];

impl Settings {
    /// Is it the server's own set?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.prepared.is_empty()
    }

    /// Is no setting another than the server's own?
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.values.is_empty()
    }

    /// Statements prepared with SQL's `PREPARE`.
    #[must_use]
    pub fn prepared(&self) -> &SqlStatements {
        &self.prepared
    }

    /// The settings, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (&**name, &**value))
    }

    /// What of them says which schemas names are looked up in: the same for the same text in a statement to mean
    /// the same. `None`: nothing.
    #[inline]
    #[must_use]
    pub fn schemas(&self) -> Option<&Arc<str>> {
        self.schemas.as_ref()
    }

    /// The value of one setting; `name` in lower case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|v| &**v)
    }
}

/// The `search_path`, and where one of its schemas is called as who acts, who that is.
fn schemas(values: &BTreeMap<Box<str>, Box<str>>) -> Option<Arc<str>> {
    let path = values.get("search_path");
    let who = ["role", "session_authorization"].iter().find_map(|name| values.get(*name));
    match (path, who) {
        (None, None) => None,
        (Some(path), Some(who)) if path.contains("$user") => Some(format!("{path}\0{who}").into()),
        (Some(path), _) => Some((&**path).into()),
        (None, Some(who)) => Some(format!("\0{who}").into()),
    }
}

/// Can this setting be carried from server to server?
#[must_use]
pub fn is_carried(name: &str) -> bool {
    !READ_ONLY.iter().any(|r| r.eq_ignore_ascii_case(name))
}

impl Default for Interner {
    fn default() -> Self {
        Self { none: Arc::default(), sets: Mutex::new(BTreeMap::new()), hasher: RandomState::new() }
    }
}

impl Interner {
    /// The empty set.
    #[must_use]
    pub fn none(&self) -> Arc<Settings> {
        Arc::clone(&self.none)
    }

    /// The set `base` with `changes` over it; a change to `None` takes a setting out.
    #[must_use]
    pub fn with<'a>(
        &self,
        base: &Settings,
        changes: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Arc<Settings> {
        let mut values = base.values.clone();
        for (name, value) in changes {
            let name = name.to_ascii_lowercase().into_boxed_str();
            match value {
                Some(value) => values.insert(name, value.into()),
                None => values.remove(&name),
            };
        }
        let schemas = schemas(&values);
        self.intern(Settings { values, schemas, prepared: base.prepared.clone() })
    }

    /// The set `base` with these statements in place of its own.
    #[must_use]
    pub fn preparing(&self, base: &Arc<Settings>, prepared: &SqlStatements) -> Arc<Settings> {
        if base.prepared == *prepared {
            return Arc::clone(base);
        }
        let (values, schemas) = (base.values.clone(), base.schemas.clone());
        self.intern(Settings { values, schemas, prepared: prepared.clone() })
    }

    fn intern(&self, set: Settings) -> Arc<Settings> {
        if set.is_empty() {
            return self.none();
        }
        let key = self.hasher.hash_one(&set);
        let mut sets = self.sets.lock();
        let same = sets.entry(key).or_default();
        if let Some(found) = same.iter().filter_map(Weak::upgrade).find(|s| **s == set) {
            return found;
        }
        same.retain(|s| s.strong_count() > 0);
        let set = Arc::new(set);
        same.push(Arc::downgrade(&set));
        // Rare enough (a new set of settings), and the table is as small as the number of sets in use.
        sets.retain(|_, same| same.iter().any(|s| s.strong_count() > 0));
        set
    }
}

/// Who acts: given up first and taken on last, because it decides what may be set at all.
/// `session_authorization` comes first, since setting it ends the role.
const IDENTITY: [&str; 2] = ["session_authorization", "role"];

/// A setting that no result depends on.
const HARMLESS: &str = "application_name";

/// Goes back to the user that logged in.
const NOBODY_ELSE: &str = "SET SESSION AUTHORIZATION DEFAULT;RESET ROLE;";

impl Settings {
    fn has_identity(&self) -> bool {
        IDENTITY.iter().any(|name| self.get(name).is_some())
    }

    /// Do two sets differ in nothing that any result depends on?
    #[must_use]
    pub fn is_alike(&self, other: &Self) -> bool {
        let real = |(name, _): &(&str, &str)| *name != HARMLESS;
        self.iter().filter(real).eq(other.iter().filter(real))
    }
}

/// The SQL that takes a server from `applied` to `wanted`; empty when nothing is to be done.
///
/// Values go through `set_config`, which reads them as a startup packet's (`a, b` of a search path
/// is a list, not one name), quoted for any `standard_conforming_strings`.
#[must_use]
pub fn transition(applied: &Applied, wanted: &Settings) -> String {
    let mut sql = String::new();
    let mut known = None;
    match applied {
        Applied::Unknown => {
            sql.push_str(NOBODY_ELSE);
            sql.push_str("RESET ALL;");
        }
        Applied::Known(settings) => {
            if settings.has_identity() {
                sql.push_str(NOBODY_ELSE);
            }
            for (name, _) in settings.iter().filter(|(name, _)| wanted.get(name).is_none()) {
                if !IDENTITY.contains(&name) {
                    sql.push_str("RESET ");
                    quote(&mut sql, name, '"');
                    sql.push(';');
                }
            }
            known = Some(&**settings);
        }
    }
    let differs = |(name, value): &(&str, &str)| known.and_then(|k| k.get(name)) != Some(value);
    let others = wanted.iter().filter(|(name, _)| !IDENTITY.contains(name)).filter(differs);
    let identity = IDENTITY.iter().filter_map(|name| Some((*name, wanted.get(name)?)));
    let mut separator = "SELECT ";
    for (name, value) in others.chain(identity) {
        let _ = write!(sql, "{separator}pg_catalog.set_config(E");
        quote(&mut sql, name, '\'');
        sql.push_str(",E");
        quote(&mut sql, value, '\'');
        sql.push_str(",false)");
        separator = ",";
    }
    sql
}

/// The SQL that gives a session back what its client logged in with, where a text with these effects may have
/// reset it: `None` if it names nothing of that. It changes no setting that is set in the session, so it is right
/// whatever of the text was done, failed or was rolled back. What was set for the transaction stands while that is open: it began
/// before this then, and is this else.
#[must_use]
pub fn restoration(initial: &Settings, effects: &Effects) -> Option<String> {
    let mut values = String::new();
    let mut custom = String::new();
    for (name, value) in initial.iter().filter(|(name, _)| effects.resets_setting(name)) {
        if IDENTITY.contains(&name) {
            continue;
        }
        values.push_str(if values.is_empty() { "(E" } else { ",(E" });
        quote(&mut values, name, '\'');
        values.push_str(",E");
        quote(&mut values, value, '\'');
        let local = effects.locals.iter().any(|local| **local == *name);
        let _ = write!(values, ",{local})");
        if name.contains('.') {
            custom.push_str(" UNION ALL SELECT pg_catalog.set_config(E");
            quote(&mut custom, name, '\'');
            custom.push_str(",E");
            quote(&mut custom, value, '\'');
            custom.push_str(",false) WHERE COALESCE(pg_catalog.current_setting(E");
            quote(&mut custom, name, '\'');
            custom.push_str(",true),'') OPERATOR(pg_catalog.=) ''");
        }
    }
    (!values.is_empty()).then(|| {
        format!(
            "SELECT pg_catalog.set_config(s.name,v.value,false) FROM pg_catalog.pg_settings AS s \
             JOIN (VALUES {values}) AS v(name,value,local) \
             ON pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) v.name \
             WHERE s.source OPERATOR(pg_catalog.<>) 'session' \
             OR v.local AND s.setting OPERATOR(pg_catalog.=) s.reset_val \
             AND pg_catalog.now() OPERATOR(pg_catalog.=) pg_catalog.statement_timestamp(){custom}"
        )
    })
}

/// The SQL that has names looked up, up to [`BACK_FROM_SCHEMAS`] or the end of the transaction, as where a statement with
/// these schemas was prepared (see [`Settings::schemas`]); `None`: that cannot be said. NULL is the server's own
/// `search_path` (`set_config_by_name`, guc_funcs.c).
#[must_use]
pub fn to_schemas(schemas: Option<&str>) -> Option<String> {
    let mut sql = String::from(
        "SELECT pg_catalog.set_config('pooler.search_path',pg_catalog.current_setting('search_path'),true),\
         pg_catalog.set_config('search_path',",
    );
    match schemas {
        None => sql.push_str("NULL"),
        Some(path) if path.contains('\0') => return None,
        Some(path) => {
            sql.push('E');
            quote(&mut sql, path, '\'');
        }
    }
    sql.push_str(",true)");
    Some(sql)
}

/// Has names looked up as before [`to_schemas`].
pub const BACK_FROM_SCHEMAS: &str = "SELECT pg_catalog.set_config('search_path',pg_catalog.current_setting('pooler.search_path'),true)";

/// Appends `text` between quotes: an identifier's, or those of an `E''` string.
pub(super) fn quote(sql: &mut String, text: &str, mark: char) {
    sql.push(mark);
    for c in text.chars().filter(|&c| c != '\0') {
        if mark == '\'' && !c.is_ascii() {
            // Whatever the session's client_encoding is at that moment.
            let _ = write!(sql, "\\U{:08X}", u32::from(c));
            continue;
        }
        if c == mark || (mark == '\'' && c == '\\') {
            sql.push(c);
        }
        sql.push(c);
    }
    sql.push(mark);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(interner: &Interner, pairs: &[(&str, &str)]) -> Arc<Settings> {
        interner.with(&Settings::default(), pairs.iter().map(|&(k, v)| (k, Some(v))))
    }

    #[test]
    fn equal_sets_are_one_object() {
        let interner = Interner::default();
        let a = set(&interner, &[("TimeZone", "UTC"), ("DateStyle", "ISO")]);
        let b = set(&interner, &[("datestyle", "ISO"), ("timezone", "UTC")]);
        assert!(Arc::ptr_eq(&a, &b));
        assert!(Arc::ptr_eq(
            &interner.none(),
            &interner.with(&a, [("TIMEZONE", None), ("DateStyle", None)])
        ));
    }

    #[test]
    fn sets_nobody_uses_are_forgotten() {
        let interner = Interner::default();
        for i in 0..1_000 {
            drop(set(&interner, &[("application_name", &i.to_string())]));
        }
        assert!(interner.sets.lock().len() <= 1);
    }

    #[test]
    fn only_the_difference_is_said() {
        let interner = Interner::default();
        let a = set(&interner, &[("a", "1"), ("b", "2")]);
        let b = set(&interner, &[("b", "2"), ("c", "it's \\")]);
        assert_eq!(transition(&Applied::Known(a.clone()), &a), "");
        assert_eq!(
            transition(&Applied::Known(a), &b),
            "RESET \"a\";SELECT pg_catalog.set_config(E'c',E'it''s \\\\',false)"
        );
    }

    #[test]
    fn an_unknown_server_is_told_everything() {
        let interner = Interner::default();
        let a = set(&interner, &[("a", "1")]);
        assert_eq!(
            transition(&Applied::Unknown, &a),
            "SET SESSION AUTHORIZATION DEFAULT;RESET ROLE;RESET ALL;SELECT pg_catalog.set_config(E'a',E'1',false)"
        );
    }

    #[test]
    fn who_acts_is_given_up_first_and_taken_on_last() {
        let interner = Interner::default();
        let a = set(&interner, &[("role", "r"), ("x", "1")]);
        let b = set(&interner, &[("role", "q"), ("session_authorization", "s"), ("z", "1")]);
        assert_eq!(
            transition(&Applied::Known(a), &b),
            "SET SESSION AUTHORIZATION DEFAULT;RESET ROLE;RESET \"x\";\
             SELECT pg_catalog.set_config(E'z',E'1',false),\
             pg_catalog.set_config(E'session_authorization',E's',false),\
             pg_catalog.set_config(E'role',E'q',false)"
        );
    }

    #[test]
    fn values_are_written_in_ascii() {
        let mut sql = String::new();
        quote(&mut sql, "é'\\😀", '\'');
        assert_eq!(sql, r"'\U000000E9''\\\U0001F600'");
    }

    #[test]
    fn schemas_depend_on_the_path_and_on_who_acts() {
        let interner = Interner::default();
        let of = |pairs: &[(&str, &str)]| set(&interner, pairs).schemas().map(ToString::to_string);
        assert_eq!(of(&[("work_mem", "1MB")]), None);
        assert_eq!(of(&[("search_path", "a")]), of(&[("search_path", "a"), ("role", "r")]));
        assert_ne!(of(&[("search_path", "a")]), of(&[("search_path", "b")]));
        assert_ne!(of(&[("role", "q")]), of(&[("role", "r")]));
        let users = [("search_path", "\"$user\", a"), ("role", "r")];
        assert_ne!(of(&users), of(&users[..1]));
    }

    #[test]
    fn the_name_of_an_application_matters_to_no_result() {
        let interner = Interner::default();
        let a = set(&interner, &[("application_name", "a"), ("x", "1")]);
        let b = set(&interner, &[("x", "1")]);
        assert!(a.is_alike(&b) && b.is_alike(&a));
        assert!(!a.is_alike(&set(&interner, &[("x", "2")])) && !b.is_alike(&interner.none()));
    }

    #[test]
    fn what_no_set_can_give_is_not_carried() {
        assert!(!is_carried("Server_Version"));
        assert!(is_carried("TimeZone"));
    }
}
