//! What is seen in statements that belong together: routes, what repeats within a unit of work, pauses in
//! transactions. Fed by the [`super::ledger`] with what workers hand over.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::findings::{Finding, Findings, Ignored};
use super::idle::{Idle, Pauses};
use super::ledger::{Batch, Forgotten};
use super::record::Owner;
use super::routes::{RouteRecord, Routes};
use super::said::Sayings;
use super::spread::Spread;
use super::work::Work;
use crate::sql::fingerprint::Fingerprint;
use crate::sql::query::About;

/// Pools that have a number; of more, statements are not looked at together.
const MOST_OWNERS: usize = 10_000;

/// Whether what repeats is looked for.
#[derive(Clone, Debug)]
pub enum Detection {
    /// It is not.
    Off,
    /// It is, but for these.
    On(Ignored),
}

/// All that.
#[derive(Debug)]
pub struct Insight {
    owners: HashMap<Arc<Owner>, u32>,
    since: SystemTime,
    routes: Routes,
    work: Work,
    findings: Option<Findings>,
    idle: Idle,
}

impl Insight {
    /// Nothing yet.
    #[must_use]
    pub fn new(detection: Detection, now: Instant) -> Self {
        let findings = match detection {
            Detection::Off => None,
            Detection::On(ignored) => Some(Findings::new(ignored)),
        };
        Self {
            owners: HashMap::new(),
            since: SystemTime::now(),
            routes: Routes::default(),
            work: Work::new(now),
            findings,
            idle: Idle::default(),
        }
    }

    /// What one worker handed over.
    pub(super) fn add(&mut self, batch: &Batch, now: Instant, wall: SystemTime) {
        let Some(pool) = self.pool(&batch.owner) else { return };
        for event in &batch.events {
            self.routes.note((&batch.owner, pool), event, wall);
            self.work.note((&batch.owner, pool), event, now);
        }
        batch.gone.iter().for_each(|client| self.work.gone(*client, now));
    }

    /// Looks at what has ended by now.
    pub(super) fn settle(&mut self, sayings: &Sayings, now: Instant, wall: SystemTime) {
        self.work.sweep(now);
        let (ended, pauses) = self.work.take();
        if let Some(findings) = &mut self.findings {
            ended.iter().for_each(|ended| findings.note(ended, sayings, now, wall));
        }
        for pause in pauses {
            if let Some(pool) = self.pool(&pause.owner) {
                self.idle.note(pool, pause, wall);
            }
        }
    }

    fn pool(&mut self, owner: &Arc<Owner>) -> Option<u32> {
        if let Some(known) = self.owners.get(owner) {
            return Some(*known);
        }
        // Not more than the limit.
        let next = self.owners.len() as u32;
        (self.owners.len() < MOST_OWNERS).then(|| {
            self.owners.insert(Arc::clone(owner), next);
            next
        })
    }

    /// Since when routes, findings and pauses are counted.
    #[must_use]
    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// What statements of each route did.
    pub fn routes(&self) -> impl Iterator<Item = &RouteRecord> {
        self.routes.each()
    }

    /// What repeats, as far as it is to be told.
    pub fn findings(&mut self, now: Instant) -> impl Iterator<Item = &Finding> {
        self.findings.iter_mut().flat_map(move |findings| findings.listed(now))
    }

    /// A finding is not told any more, up to the end of the program; gives it, if there is one.
    pub fn ignore(&mut self, id: u64) -> Option<Finding> {
        self.findings.as_mut()?.ignore(id).cloned()
    }

    /// As [`super::ledger::Ledger::forget`]. How the pauses of a pool are spread stays, as Prometheus reads it.
    pub(super) fn forget(
        &mut self,
        fingerprint: Option<Fingerprint>,
        owns: impl Fn(&Owner) -> bool,
    ) -> Forgotten {
        let is_it = |about: &About| fingerprint.is_none_or(|wanted| wanted == about.fingerprint);
        let findings = self.findings.as_mut().map_or(0, |findings| {
            findings.forget(|finding| owns(&finding.owner) && is_it(&finding.about))
        });
        let pauses = self.idle.forget(|pauses| owns(&pauses.owner) && is_it(&pauses.about));
        let routes = self.routes.forget(fingerprint, &owns);
        if self.routes.each().next().is_none() {
            self.since = SystemTime::now();
        }
        Forgotten { routes, findings, pauses, ..Forgotten::default() }
    }

    /// Where clients pause in transactions.
    pub fn pauses(&self) -> impl Iterator<Item = &Pauses> {
        self.idle.places()
    }

    /// How these pauses are spread, by pool, and their sum in microseconds.
    pub fn pause_spreads(&self) -> impl Iterator<Item = (&Arc<Owner>, Spread, u64)> {
        self.idle.spreads()
    }
}
