//! What the applications of a database do to their sessions: what someone who comes from session
//! pooling wants to know.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::sql::effects::{Effects, Scope};
use crate::sql::feature::{FEATURES, Feature, Features};

/// The most applications that are told apart; the others count together.
const MOST_APPLICATIONS: usize = 256;

/// The most settings that are told apart for each of them.
const MOST_SETTINGS: usize = 64;

/// SQL's `PREPARE`, among the settings, whose names are in lower case.
pub const PREPARE: &str = "PREPARE";

/// What those are called that are not told apart.
const OTHERS: &str = "(others)";

/// By application.
#[derive(Debug, Default)]
pub struct Compat {
    applications: Mutex<BTreeMap<Box<str>, Uses>>,
}

/// What one application does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// How often each setting was changed, and carried; statements prepared in SQL, too.
    pub settings: BTreeMap<Box<str>, u64>,
    /// How often each feature made the client keep its server.
    pub pinned: [u64; FEATURES.len()],
    /// How often each feature was refused.
    pub refused: [u64; FEATURES.len()],
    /// How often it asked for what sequences gave last.
    pub sequences: u64,
    /// How often something ran whose effects cannot be read (DO, CALL).
    pub unreadable: u64,
}

impl Compat {
    /// Counts what was done to the settings.
    pub fn carried(&self, application: &str, effects: &Effects) {
        self.with(application, |uses| {
            for (name, _) in &effects.settings {
                *entry(&mut uses.settings, name, MOST_SETTINGS) += 1;
            }
            uses.sequences += u64::from(effects.asks_sequences);
            match effects.scope {
                Scope::Named if effects.touches.contains(Feature::Prepare) => {
                    *entry(&mut uses.settings, PREPARE, MOST_SETTINGS) += 1;
                }
                Scope::Named => {}
                Scope::All | Scope::ResetAndAll => uses.unreadable += 1,
                Scope::Reset => *entry(&mut uses.settings, "(all)", MOST_SETTINGS) += 1,
            }
        });
    }

    /// Counts a client that keeps its server from now on.
    pub fn pinned(&self, application: &str, pins: Features) {
        self.with(application, |uses| add(&mut uses.pinned, pins));
    }

    /// Counts what was refused.
    pub fn refused(&self, application: &str, features: Features) {
        self.with(application, |uses| add(&mut uses.refused, features));
    }

    /// What was counted so far.
    #[must_use]
    pub fn uses(&self) -> Vec<(Box<str>, Uses)> {
        let applications = self.applications.lock();
        applications.iter().map(|(name, uses)| (name.clone(), uses.clone())).collect()
    }

    fn with(&self, application: &str, count: impl FnOnce(&mut Uses)) {
        count(entry(&mut self.applications.lock(), application, MOST_APPLICATIONS));
    }
}

/// Each feature with its count, where there is any.
pub fn counted(counts: &[u64; FEATURES.len()]) -> impl Iterator<Item = (Feature, u64)> {
    FEATURES.into_iter().zip(counts.iter().copied()).filter(|(_, count)| *count > 0)
}

fn add(counts: &mut [u64; FEATURES.len()], features: Features) {
    for (count, feature) in counts.iter_mut().zip(FEATURES) {
        *count += u64::from(features.contains(feature));
    }
}

fn entry<'a, V: Default>(map: &'a mut BTreeMap<Box<str>, V>, name: &str, most: usize) -> &'a mut V {
    let name = if map.len() < most || map.contains_key(name) { name } else { OTHERS };
    map.entry(name.into()).or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_kept_by_application_and_bounded() {
        let compat = Compat::default();
        let read = |sql: &[u8]| Effects::read(sql).expect("it has effects");
        compat.carried("prepares", &read(b"PREPARE a AS SELECT 1"));
        assert_eq!(compat.uses()[0].1.settings["PREPARE"], 1);
        let compat = Compat::default();
        let effects = read(b"SET search_path = a; DO 'x'");
        compat.carried("web", &effects);
        compat.carried("web", &effects);
        compat.pinned("web", [Feature::Listen].into_iter().collect());
        compat.refused("web", [Feature::Load].into_iter().collect());
        let (name, uses) = compat.uses().remove(0);
        assert_eq!((&*name, uses.settings["search_path"], uses.unreadable), ("web", 2, 2));
        assert_eq!(counted(&uses.pinned).collect::<Vec<_>>(), [(Feature::Listen, 1)]);
        assert_eq!(counted(&uses.refused).collect::<Vec<_>>(), [(Feature::Load, 1)]);
        for number in 0..2 * MOST_APPLICATIONS {
            compat.carried(&number.to_string(), &effects);
        }
        let all = compat.uses();
        assert_eq!(all.len(), MOST_APPLICATIONS + 1);
        assert!(all.iter().any(|(name, _)| **name == *OTHERS));
    }
}
