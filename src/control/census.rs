//! Asking all workers at once and adding up what they say. A worker that is stuck holds nobody up:
//! the answer says which one did not answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::client::context::{Command, Shared};
use crate::client::look::{ClientCounts, SeenClient, SeenClients, Tally, Wanted};
use crate::pool::shared::{Pool, PoolKey};
use crate::pool::slots::Counts;
use crate::stats::meter::{ErrorClasses, Meter, Reasons, merge_errors};
use crate::stats::spread::Spread;
use crate::stats::totals::Totals;

/// A worker answers between two clients' turns, within a millisecond; one that takes longer than
/// this is stuck.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);

/// Pools whose histograms are asked for at once: each is up to 80 KiB to copy, on the worker.
const POOLS_AT_ONCE: usize = 16;

/// The workers that did not answer, ascending.
pub type Silent = Vec<usize>;

/// The numbers of all workers.
#[derive(Debug, Default)]
pub struct Count {
    /// By pool, sorted by name; a pool that no worker knows yet is there as well.
    pub pools: Vec<PoolCount>,
    /// Logins under way.
    pub logging_in: usize,
    /// Logins that were refused, by the class of the SQLSTATE that said so.
    pub refused: ErrorClasses,
    /// Who did not answer.
    pub silent: Silent,
}

/// The numbers of one pool.
#[derive(Debug)]
pub struct PoolCount {
    /// The pool.
    pub pool: Arc<Pool>,
    /// What was counted since the start.
    pub totals: Totals,
    /// What its clients do.
    pub clients: ClientCounts,
    /// What its servers do.
    pub servers: Counts,
    /// How long the client at the head of the queue has been waiting.
    pub longest_wait: Duration,
}

/// How the times of a pool are spread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spreads {
    /// Waiting for a server, with those that did not have to.
    pub wait: Spread,
    /// Queries.
    pub query: Spread,
    /// Transactions.
    pub transaction: Spread,
}

/// All that was measured of one pool since the start.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// What was counted.
    pub totals: Totals,
    /// How its times are spread.
    pub spreads: Spreads,
    /// Errors sent to clients.
    pub errors: ErrorClasses,
    /// Those of them that are the pooler's own.
    pub reports: Reasons,
}

/// What was measured, by pool.
#[derive(Debug, Default)]
pub struct Measures {
    /// By pool, for those that any worker knows.
    pub pools: HashMap<PoolKey, Measured>,
    /// Who did not answer.
    pub silent: Silent,
}

/// Asks the workers.
#[derive(Clone)]
pub struct Census {
    shared: Arc<Shared>,
    limit: Duration,
}

impl Census {
    /// For these workers.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared, limit: ANSWER_LIMIT }
    }

    /// The numbers: cheap, can be asked for every second. Cancel safe.
    pub async fn count(&self) -> Count {
        let (answers, silent) = self.ask(Command::Tally).await;
        let mut known: HashMap<PoolKey, (Totals, ClientCounts)> = HashMap::new();
        let mut count = Count { silent, ..Count::default() };
        for tally in answers {
            count.add(&tally);
            for pool in tally.pools {
                let (totals, clients) = known.entry(pool.pool.key.clone()).or_default();
                totals.add(&pool.totals);
                clients.add(pool.clients);
            }
        }
        let now = Instant::now();
        count.pools = self
            .pools()
            .into_iter()
            .map(|pool| {
                let (totals, clients) = known.remove(&pool.key).unwrap_or_default();
                let (servers, longest_wait) = (pool.counts(), pool.longest_wait(now));
                PoolCount { pool, totals, clients, servers, longest_wait }
            })
            .collect();
        count
    }

    /// What was measured of these pools. Asks for a few at a time, so that no worker copies for
    /// long. Cancel safe.
    pub async fn measure(&self, pools: &[Arc<Pool>]) -> Measures {
        let mut measures = Measures::default();
        for pools in pools.chunks(POOLS_AT_ONCE) {
            let pools: Arc<[Arc<Pool>]> = pools.into();
            let asked = |answer| Command::Meters(Arc::clone(&pools), answer);
            let (answers, silent) = self.ask(asked).await;
            let mut sums: HashMap<PoolKey, Meter> = HashMap::new();
            for (pool, meter) in answers.into_iter().flatten() {
                sums.entry(pool.key.clone()).or_default().merge(&meter);
            }
            measures.pools.extend(sums.into_iter().map(|(pool, meter)| (pool, meter.into())));
            if !silent.is_empty() {
                measures.silent = silent;
                break;
            }
        }
        measures
    }

    /// Some clients: of each worker as many as are wanted. Cancel safe.
    pub async fn clients(&self, wanted: Wanted) -> (SeenClients, Silent) {
        let (answers, silent) = self.ask(|answer| Command::Clients(wanted, answer)).await;
        let mut all = SeenClients::default();
        for seen in answers {
            all.matching += seen.matching;
            all.clients.extend(seen.clients);
        }
        (all, silent)
    }

    /// Ends a client, and tells who it was; `None`: no worker that answers has it.
    pub async fn end(&self, client: u64) -> (Option<SeenClient>, Silent) {
        let (answers, silent) = self.ask(|answer| Command::End(client, answer)).await;
        (answers.into_iter().flatten().next(), silent)
    }

    /// All pools, sorted by name.
    #[must_use]
    pub fn pools(&self) -> Vec<Arc<Pool>> {
        let mut pools = self.shared.pools.all();
        pools.sort_unstable_by(|a, b| {
            (&a.key.database, &a.key.user).cmp(&(&b.key.database, &b.key.user))
        });
        pools
    }

    async fn ask<T>(&self, command: impl Fn(oneshot::Sender<T>) -> Command) -> (Vec<T>, Silent) {
        let asked: Vec<_> = self
            .shared
            .workers
            .iter()
            .map(|worker| {
                let (sender, answer) = oneshot::channel();
                // A worker that is gone drops the sender, which is an answer too.
                let _ = worker.send(command(sender));
                answer
            })
            .collect();
        let until = tokio::time::Instant::now() + self.limit;
        let (mut answers, mut silent) = (Vec::with_capacity(asked.len()), Silent::new());
        for (worker, answer) in asked.into_iter().enumerate() {
            match timeout_at(until, answer).await {
                Ok(Ok(answer)) => answers.push(answer),
                Ok(Err(_)) | Err(_) => silent.push(worker),
            }
        }
        (answers, silent)
    }
}

impl Count {
    fn add(&mut self, tally: &Tally) {
        self.logging_in += tally.logging_in;
        merge_errors(&mut self.refused, &tally.refused);
    }
}

impl From<Meter> for Measured {
    fn from(meter: Meter) -> Self {
        let at_once = meter.assignments.saturating_sub(meter.wait.count());
        Self {
            totals: meter.totals(),
            spreads: Spreads {
                wait: meter.wait.spread().with_zeros(at_once),
                query: meter.query.spread(),
                transaction: meter.transaction.spread(),
            },
            errors: meter.errors,
            reports: meter.reports,
        }
    }
}

impl Spreads {
    /// What came since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            wait: self.wait.since(&earlier.wait),
            query: self.query.since(&earlier.query),
            transaction: self.transaction.since(&earlier.transaction),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::client::look::PoolTally;
    use crate::pool::pools::Pools;

    fn tally(pool: &Arc<Pool>, queries: u64) -> Tally {
        let clients = ClientCounts { idle: 1, ..ClientCounts::default() };
        let totals = Totals { queries, ..Totals::default() };
        let pools = vec![PoolTally { pool: Arc::clone(pool), totals, clients }];
        Tally { pools, logging_in: 2, refused: vec![(*b"28", queries)] }
    }

    /// The count of three workers: two answer, what the third does is left to the test.
    fn count(third: impl FnOnce(mpsc::UnboundedReceiver<Command>)) -> Count {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (senders, mut receivers): (Vec<_>, Vec<_>) =
                (0..3).map(|_| mpsc::unbounded_channel()).unzip();
            let shared =
                Arc::new(Shared::new(Pools::new(Arc::default(), Arc::default(), 3), senders));
            let pool = shared.pools.pool("shop", "app").unwrap();
            let _idle = shared.pools.pool("crm", "app").unwrap();
            third(receivers.pop().unwrap());
            let census = Census { shared, limit: Duration::from_millis(20) };
            let answers = async {
                for (receiver, queries) in receivers.iter_mut().zip([10, 5]) {
                    let Some(Command::Tally(sender)) = receiver.recv().await else { panic!() };
                    sender.send(tally(&pool, queries)).unwrap();
                }
            };
            tokio::join!(census.count(), answers).0
        })
    }

    #[test]
    fn what_workers_say_adds_up() {
        let count = count(|mut third| {
            tokio::spawn(async move {
                let Some(Command::Tally(sender)) = third.recv().await else { panic!() };
                sender.send(Tally::default()).unwrap();
            });
        });
        let pools = count.pools.iter().map(|p| (&*p.pool.key.database, p.totals.queries));
        assert_eq!(pools.collect::<Vec<_>>(), [("crm", 0), ("shop", 15)]);
        assert_eq!((count.pools[1].clients.idle, count.logging_in), (2, 4));
        assert_eq!((count.refused, count.silent), (vec![(*b"28", 15)], vec![]));
    }

    #[test]
    fn a_stuck_worker_holds_nobody_up_and_is_named() {
        let mut stuck = None;
        let count = count(|third| stuck = Some(third));
        assert_eq!((count.silent, count.pools[1].totals.queries), (vec![2], 15));
    }

    #[test]
    fn a_dead_worker_is_named() {
        assert_eq!(count(drop).silent, [2]);
    }

    #[test]
    fn those_who_did_not_wait_count_in_the_spread_of_waits() {
        let mut meter = Meter { assignments: 100, ..Meter::default() };
        meter.wait.record(5_000_000);
        let measured = Measured::from(meter);
        let wait = measured.spreads.wait;
        assert_eq!((wait.count(), wait.quantile_micros(0.99)), (100, 0));
        assert!(wait.longest_micros() >= 4_900);
    }
}
