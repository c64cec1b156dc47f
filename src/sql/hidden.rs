//! What a text does to the session out of sight: by functions that it calls, and by triggers, defaults, policies and
//! rules of the tables and views that it names.
//!
//! Names are compared without their schemas: a namesake counts too. Nothing is asked of a database without such
//! functions, and no text is looked at.

use std::collections::{BTreeMap, HashMap, HashSet};

use rustc_hash::FxBuildHasher;

use super::effects::{Effects, MOST_READ};
use super::feature::Feature;
use super::glance::escapes_quote;
use super::lexer::{Backslashes, Lexer, Token};
use super::routine::{Access, Body, WRITING};
use super::tokens::{LONGEST_NAME, Words};

/// The most names of bodies, and links, that are followed from one thing to the next: a second or so.
const MOST_FOLLOWED: usize = 20_000_000;

/// Kinds of objects that a statement defines, rather than calls.
const ROUTINES: [&str; 4] = ["function", "procedure", "routine", "aggregate"];

/// What makes one thing do what another does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What is named.
    pub named: Named,
    /// What happens then.
    pub by: By,
}

/// Something that texts name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Named {
    /// A function or procedure.
    Function(Box<str>),
    /// A table or view.
    Relation(Box<str>),
}

/// What happens to what is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The function is run for whoever uses it.
    Use(Named),
    /// The function is run for whoever writes to it.
    Write(Named),
}

/// What functions and relations do out of sight, by name.
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    functions: Known,
    relations: Known,
    written: Known,
    /// Functions that may be written as a field of a row.
    fields: HashSet<Box<str>, FxBuildHasher>,
    /// The length of the longest name.
    longest: usize,
    is_cut: bool,
}

type Known = HashMap<Box<str>, Effects, FxBuildHasher>;

/// What is looked at while the names are gathered.
#[derive(Debug, Default)]
pub struct Bodies {
    bodies: Vec<(Box<str>, Body)>,
    fields: HashSet<Box<str>, FxBuildHasher>,
}

/// How a function may be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calls {
    /// With its arguments in parentheses.
    Usual,
    /// Also as a field of its argument, a row.
    Field,
}

impl Bodies {
    /// Adds a function's body.
    pub fn add(&mut self, name: &str, calls: Calls, body: Body) {
        if calls == Calls::Field {
            self.fields.insert(name.into());
        }
        self.bodies.push((name.into(), body));
    }

    /// Does any of them do something by itself?
    #[must_use]
    pub fn do_anything(&self) -> bool {
        self.bodies.iter().any(|(_, body)| body.effects != Effects::default())
    }

    /// Who does something, by themselves or by others.
    #[must_use]
    pub fn hidden(self, links: &[Link]) -> Hidden {
        let mut hidden = Hidden { fields: self.fields, ..Hidden::default() };
        for (name, body) in self.bodies.iter().filter(|(_, b)| b.effects != Effects::default()) {
            add(&mut hidden.functions, name, &body.effects);
        }
        let round: usize = self.bodies.iter().map(|(_, body)| body.names.len() + 1).sum();
        let mut rounds = MOST_FOLLOWED / (round + links.len() + 1) + 1;
        while hidden.grow(&self.bodies, links) {
            rounds -= 1;
            if rounds == 0 {
                hidden.is_cut = true;
                break;
            }
        }
        // Aggregates, of which no more is known than what they call.
        let called = links.iter().filter_map(|link| match &link.named {
            Named::Function(name) => Some(name.clone()),
            Named::Relation(_) => None,
        });
        hidden.fields.extend(called);
        hidden.fields.retain(|name| hidden.functions.contains_key(name));
        let known = [&hidden.functions, &hidden.relations, &hidden.written];
        hidden.longest =
            known.iter().flat_map(|known| known.keys().map(|k| k.len())).max().unwrap_or(0);
        hidden
    }
}

/// Adds what one thing does; is that new?
fn add(known: &mut Known, name: &str, effects: &Effects) -> bool {
    match known.get_mut(name) {
        Some(found) => {
            let mut all = found.clone();
            all.merge(effects);
            all.forget_order();
            let new = all != *found;
            *found = all;
            new
        }
        None => {
            known.insert(name.into(), effects.clone());
            true
        }
    }
}

impl Hidden {
    /// Is there nothing to look for?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.functions.is_empty()
    }

    /// Was there more to follow than is followed?
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The functions, in order, and what each does.
    #[must_use]
    pub fn functions(&self) -> BTreeMap<&str, &Effects> {
        self.functions.iter().map(|(name, effects)| (&**name, effects)).collect()
    }

    /// The tables and views, in order, and what each does.
    #[must_use]
    pub fn relations(&self) -> BTreeMap<&str, &Effects> {
        let all = self.written.iter().chain(&self.relations);
        all.map(|(name, effects)| (&**name, effects)).collect()
    }

    /// Whoever names one that does something does it too. Did anything come of it? Nothing is ever taken away, and
    /// what there is to do is bounded: it ends.
    fn grow(&mut self, bodies: &[(Box<str>, Body)], links: &[Link]) -> bool {
        let mut grown = false;
        for (name, body) in bodies {
            let mut effects = Effects::default();
            for named in &body.names {
                self.functions.get(named).into_iter().for_each(|more| effects.merge(more));
                self.relation(named, body.access, &mut effects);
            }
            if body.names_any {
                self.relations.values().for_each(|more| effects.merge(more));
                self.written.values().for_each(|more| effects.merge(more));
            }
            effects.forget_order();
            grown |= effects != Effects::default() && add(&mut self.functions, name, &effects);
        }
        links.iter().fold(grown, |grown, link| self.follow(link) || grown)
    }

    fn relation(&self, name: &str, access: Access, effects: &mut Effects) {
        let written = self.written.get(name).filter(|_| access == Access::Writes);
        self.relations.get(name).into_iter().chain(written).for_each(|more| effects.merge(more));
    }

    fn follow(&mut self, link: &Link) -> bool {
        let (By::Use(by) | By::Write(by)) = &link.by;
        let (used, written) = match by {
            Named::Function(name) => (self.functions.get(name).cloned(), None),
            Named::Relation(name) => {
                (self.relations.get(name).cloned(), self.written.get(name).cloned())
            }
        };
        let mut grown = false;
        if let Some(effects) = used {
            let known = match (&link.named, &link.by) {
                (Named::Function(_), _) => &mut self.functions,
                (Named::Relation(_), By::Use(_)) => &mut self.relations,
                (Named::Relation(_), By::Write(_)) => &mut self.written,
            };
            grown |= add(known, link.named.name(), &effects);
        }
        if let (Some(effects), Named::Relation(name)) = (written, &link.named) {
            grown |= add(&mut self.written, name, &effects);
        }
        grown
    }

    /// What a text does out of sight.
    #[must_use]
    pub fn effects(&self, sql: &[u8]) -> Option<Box<Effects>> {
        if self.is_empty() {
            return None;
        }
        if sql.len() > MOST_READ {
            return Some(Effects::unreadable());
        }
        let mut effects = self.read_as(sql, Backslashes::Literal);
        if escapes_quote(sql) {
            effects.merge(&self.read_as(sql, Backslashes::Escape));
        }
        (effects != Effects::default()).then(|| Box::new(effects))
    }

    fn read_as(&self, sql: &[u8], backslashes: Backslashes) -> Effects {
        let tokens: Vec<_> = Lexer::new(sql, backslashes).without_comments().collect();
        let mut effects = Effects::default();
        for statement in Words::statements(sql, &tokens) {
            self.statement(&statement, &mut effects);
        }
        effects
    }

    fn statement(&self, words: &Words<'_, '_>, effects: &mut Effects) {
        if defines(words) {
            return;
        }
        let token = |token: &Token| WRITING.iter().any(|word| token.is_word(words.sql, word));
        let writes = !self.written.is_empty() && words.tokens.iter().any(token);
        let access = if writes { Access::Writes } else { Access::Reads };
        let mut hidden = Effects::default();
        let mut room = [0; LONGEST_NAME];
        for at in 0..words.tokens.len() {
            let Some(name) = words.kept_name(at, self.longest, &mut room) else { continue };
            let is_field = || at > 0 && words.is_mark(at - 1, b'.') && self.fields.contains(&*name);
            if words.is_mark(at + 1, b'(') || is_field() {
                self.functions.get(&*name).into_iter().for_each(|more| hidden.merge(more));
            }
            self.relation(&name, access, &mut hidden);
        }
        // What was prepared may have been so before the function was known; functions of temporary schemas are not.
        if executes(words) || words.names("pg_temp") {
            hidden.merge(&Effects::unreadable());
        }
        if words.is(0, "prepare") && hidden != Effects::default() {
            // EXECUTE does not say what it runs.
            hidden.begins.insert(Feature::Unreadable);
        }
        effects.merge(&hidden);
    }
}

impl Named {
    fn name(&self) -> &str {
        let (Self::Function(name) | Self::Relation(name)) = self;
        name
    }
}

/// Does it run what was prepared?
fn executes(words: &Words<'_, '_>) -> bool {
    let of_other = |at| ["on", "function", "procedure"].iter().any(|word| words.is(at, word));
    (0..words.tokens.len()).any(|at| words.is(at, "execute") && !of_other(at + 1))
}

/// Does a statement define, change or drop a function, or say who may call it?
fn defines(words: &Words<'_, '_>) -> bool {
    let verb = ["create", "alter", "drop", "comment", "grant", "revoke", "security"];
    verb.iter().any(|verb| words.is(0, verb))
        && (1..5).any(|at| ROUTINES.iter().any(|kind| words.is(at, kind)))
}

#[cfg(test)]
#[path = "hidden_tests.rs"]
mod tests;
