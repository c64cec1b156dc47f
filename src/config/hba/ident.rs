//! Maps of `pg_ident.conf`: which names, proven elsewhere (a certificate's, a system user's), may log in as which user.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::fields::{self, Line, Word};
use super::pattern::Pattern;
use super::problem::HbaProblem;
use crate::config::fault::Fault;

/// The maps of a file by name.
pub(super) type IdentMaps = BTreeMap<String, Arc<IdentMap>>;

/// One map.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentMap(Vec<Entry>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    proven: Proven,
    user: MayBe,
}

/// What was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Proven {
    Name(Box<str>),
    Pattern(Pattern),
}

/// As whom one may log in.
#[derive(Debug, Clone, PartialEq, Eq)]
enum MayBe {
    Anybody,
    Name(Box<str>),
    Pattern(Pattern),
    /// The name with what the parentheses matched in place of its `\1`.
    Group(Box<str>),
}

/// Stands for what the first parentheses of the other expression matched.
const GROUP: &str = "\\1";

impl IdentMap {
    /// May who is proven to be `proven` log in as `user`?
    #[must_use]
    pub fn allows(&self, proven: &str, user: &str) -> bool {
        self.0.iter().any(|entry| entry.allows(proven, user))
    }
}

impl Entry {
    fn allows(&self, proven: &str, user: &str) -> bool {
        let group = match &self.proven {
            Proven::Name(name) if **name != *proven => return false,
            Proven::Name(_) => "",
            Proven::Pattern(pattern) if !pattern.fits(proven) => return false,
            Proven::Pattern(pattern) => pattern.first_group(proven).unwrap_or_default(),
        };
        match &self.user {
            MayBe::Anybody => true,
            MayBe::Name(name) => **name == *user,
            MayBe::Pattern(pattern) => pattern.fits(user),
            MayBe::Group(name) => name.replacen(GROUP, group, 1) == user,
        }
    }
}

/// Reads the file and those that it includes.
pub(super) fn read(path: &Path, faults: &mut Vec<Fault>) -> IdentMaps {
    let mut maps: BTreeMap<String, IdentMap> = BTreeMap::new();
    for line in fields::read(path, faults) {
        match entry(&line) {
            Ok((map, entry)) => maps.entry(map).or_default().0.push(entry),
            Err(problem) => faults.push(Fault { place: line.place(), problem: problem.into() }),
        }
    }
    maps.into_iter().map(|(name, map)| (name, Arc::new(map))).collect()
}

fn entry(line: &Line) -> Result<(String, Entry), HbaProblem> {
    const PARTS: [&str; 3] = ["map name", "system user", "Postgres user"];
    let mut words = PARTS.into_iter().enumerate().map(|(index, what)| {
        let field = line.fields.get(index).ok_or(HbaProblem::EndsBefore(what))?;
        if let [word] = &field[..] { Ok(word) } else { Err(HbaProblem::Several(what)) }
    });
    let mut next = || words.next().unwrap_or(Err(HbaProblem::TooLong));
    let (map, system, user) = (next()?, next()?, next()?);
    if line.fields.len() > PARTS.len() {
        return Err(HbaProblem::TooLong);
    }
    let proven = match Pattern::of(&system.text) {
        Some(pattern) => Proven::Pattern(pattern?),
        None => Proven::Name(system.text.as_str().into()),
    };
    let user = may_be(user, &proven)?;
    Ok((map.text.clone(), Entry { proven, user }))
}

fn may_be(user: &Word, proven: &Proven) -> Result<MayBe, HbaProblem> {
    if user.is("all") {
        return Ok(MayBe::Anybody);
    }
    if !user.quoted && user.text.starts_with('+') {
        return Err(HbaProblem::Roles(user.text.clone()));
    }
    if let Some(pattern) = Pattern::of(&user.text) {
        return pattern.map(MayBe::Pattern);
    }
    let name = || Box::from(user.text.as_str());
    match proven {
        Proven::Pattern(pattern) if user.text.contains(GROUP) => {
            if !pattern.has_group() {
                return Err(HbaProblem::NoGroup(format!("{pattern:?}")));
            }
            if pattern.has_alternatives() {
                return Err(HbaProblem::Alternatives(format!("{pattern:?}")));
            }
            Ok(MayBe::Group(name()))
        }
        Proven::Pattern(_) | Proven::Name(_) => Ok(MayBe::Name(name())),
    }
}
