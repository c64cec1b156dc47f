//! What was noticed of statements, in a word each: shown with them in every list.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use crate::sql::fingerprint::Fingerprint;
use crate::stats::ledger::Ledger;
use crate::stats::record::{Owner, Record};
use crate::stats::units::Confidence;

/// A pause in a transaction that is worth a word: longer than a network needs.
pub(crate) const LONG_PAUSE_MICROS: u64 = 100_000;

/// After this statement, a transaction was open for long while its client asked nothing.
const IDLE_AFTER: &str = "idle_after";

/// What is short enough for a column.
const SHORT: [(&str, &str); 4] =
    [("n_plus_one", "n+1"), ("duplicate", "dup"), ("loop_write", "loop"), (IDLE_AFTER, "idle")];

/// The words of all statements that have any.
#[derive(Debug, Default)]
pub(crate) struct Flags(HashMap<(Fingerprint, Arc<Owner>), Vec<&'static str>>);

impl Flags {
    /// Those of now. Findings count if they are listed unless asked otherwise.
    pub(crate) fn of(ledger: &Ledger) -> Self {
        let mut flags = Self::default();
        let mut insight = ledger.insight.lock();
        let sure = |confidence| confidence >= Confidence::Medium;
        for finding in insight.findings(Instant::now()).filter(|found| sure(found.confidence())) {
            flags.add(finding.about.fingerprint, &finding.owner, finding.class.name());
        }
        for pauses in insight.pauses().filter(|pauses| pauses.max_micros >= LONG_PAUSE_MICROS) {
            flags.add(pauses.about.fingerprint, &pauses.owner, IDLE_AFTER);
        }
        flags
    }

    fn add(&mut self, fingerprint: Fingerprint, owner: &Arc<Owner>, word: &'static str) {
        let words = self.0.entry((fingerprint, Arc::clone(owner))).or_default();
        if !words.contains(&word) {
            words.push(word);
            words.sort_unstable();
        }
    }

    /// Those of a statement.
    pub(crate) fn get(&self, record: &Record) -> Vec<&'static str> {
        let about = record.about.as_ref();
        let key = about.map(|about| (about.fingerprint, Arc::clone(&record.owner)));
        key.and_then(|key| self.0.get(&key)).cloned().unwrap_or_default()
    }
}

/// In a column of a terminal.
pub(crate) fn short(flags: &[&'static str]) -> String {
    let short = |flag: &&'static str| {
        SHORT.iter().find(|(word, _)| word == flag).map_or(*flag, |(_, short)| short)
    };
    flags.iter().map(short).collect::<Vec<_>>().join(",")
}
