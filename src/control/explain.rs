//! Plans of statements, asked of Postgres on demand: what is to be asked and of which worker, how often, and what is
//! remembered. How a worker asks is left to `client::explain`, what follows from a plan to `plan`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::info;

use super::explained::{Explained, Masked, SampledCall, Source, Target};
use super::plans::{Era, MOST_ASKED, Plans, Turn};
use crate::client::context::{Command, Shared};
use crate::client::explain::{Errand, ErrandError};
use crate::config::AdminPages;
use crate::plan::hints::{Hint, hints};
use crate::pool::shared::Pool;
use crate::protocol::sqlstate::SqlState;
use crate::server::exec::ExecError;
use crate::server::explain::{Mode, NotRun, Planned, Question, Reply, Run};
use crate::server::what_if::{Used, WhatIf};
use crate::sql::fingerprint::{Extent, Fingerprint};
use crate::sql::kind::Kind;
use crate::sql::plannable::{has_plan, typed};
use crate::stats::ledger::Ledger;
use crate::stats::record::Owner;
use crate::stats::slow::Slow;
use crate::stats::values::{Call, Keep};

/// How long a worker may take to say that it cannot, or to tell: longer than all limits of its own.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// How long a worker may take to say which schemas a client uses.
const LOOK_LIMIT: Duration = Duration::from_millis(500);

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// `explain` is off.
    #[error("explain is off")]
    Off,
    /// It is none that has a plan.
    #[error("only select, insert, update, delete, merge, values and with have plans; this is {0}")]
    NoPlan(Box<str>),
    /// Its text is not known in full.
    #[error("the text of this statement is not known in full")]
    Incomplete,
    /// Its pool is gone.
    #[error("its database or user is not configured any more")]
    NoPool,
    /// Another one is being explained.
    #[error("another statement of this database is being explained")]
    Running,
    /// Too many were.
    #[error("{MOST_ASKED} statements of this database were explained within a minute; again in {} s", .0.as_secs() + 1)]
    TooOften(Duration),
    /// No server can be had, or it was lost.
    #[error(transparent)]
    Errand(#[from] ErrandError),
    /// The worker does not answer.
    #[error("the worker does not answer")]
    Silent,
    /// No call is there whose values are kept.
    #[error(
        "no call of it is known with all of its values: samples.params = \"full\" keeps those of single calls, up to 2 kB of each"
    )]
    NoSample,
    /// It may not be run.
    #[error("explain_analyze is off: statements are not run")]
    AnalyzeOff,
    /// Only what reads is run.
    #[error("it is not run: {0}")]
    NotRun(NotRun),
    /// Its values cannot be written as SQL.
    #[error(
        "its values cannot be written as SQL: binary of a type that is not known here, or not UTF-8"
    )]
    Unwritable,
    /// Postgres cannot plan it.
    #[error("Postgres cannot plan it: {message} ({code})")]
    Refused {
        /// Why.
        code: SqlState,
        /// Why, in Postgres' words.
        message: String,
    },
    /// The plan is too long, or none that can be read.
    #[error("the plan is too long, or cannot be read")]
    Unreadable,
}

/// What became of those that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Postgres gave a plan.
    Planned,
    /// A fresh one was there.
    Remembered,
    /// Postgres, or we, cannot plan it.
    Refused,
    /// There was no server to spare.
    Busy,
    /// There were too many.
    Limited,
    /// Something went wrong.
    Failed,
}

impl Fate {
    /// Each, with its name in the metrics.
    pub const ALL: [(&'static str, Self); 6] = [
        ("planned", Self::Planned),
        ("remembered", Self::Remembered),
        ("refused", Self::Refused),
        ("busy", Self::Busy),
        ("limited", Self::Limited),
        ("failed", Self::Failed),
    ];
}

/// Asks for plans, and remembers them.
pub struct Explainer {
    shared: Arc<Shared>,
    plans: Mutex<Plans>,
    fates: [AtomicU64; Fate::ALL.len()],
}

/// A database whose turn it is; the next one may begin when this is dropped.
struct Turned<'a> {
    plans: &'a Mutex<Plans>,
    database: &'a str,
}

impl Drop for Turned<'_> {
    fn drop(&mut self) {
        self.plans.lock().done(self.database);
    }
}

impl Explainer {
    /// Without plans.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self { shared, plans: Mutex::default(), fates: Default::default() })
    }

    /// The plan of a statement without values: one that is at most a minute old, or a new one. `path`: the schemas to
    /// look names up in, instead of those of the client that ran it. Cancel safe, but the worker goes on to the end of what it began,
    /// and the next one of the database may begin meanwhile.
    ///
    /// # Errors
    /// As [`ExplainError`] says.
    pub async fn explain(
        &self,
        target: Target,
        path: Option<&str>,
    ) -> Result<Arc<Explained>, ExplainError> {
        if let Some(known) = self.plans.lock().fresh(&target.key(), path, Instant::now()) {
            self.count(Fate::Remembered);
            return Ok(known);
        }
        let explained = self.ask(target, path, None).await;
        if let Ok(explained) = &explained {
            let key = explained.target.key();
            self.plans.lock().note(key, path, explained, Instant::now());
        }
        explained
    }

    /// The plan for the values of a single call, always a new one; and what it did, if it is run. Cancel safe as
    /// [`Self::explain`].
    ///
    /// # Errors
    /// As [`ExplainError`] says.
    pub async fn explain_call(
        &self,
        target: Target,
        path: Option<&str>,
        run: Run,
    ) -> Result<Arc<Explained>, ExplainError> {
        self.ask(target, path, Some(run)).await
    }

    /// The last plan of a statement, however old, and those it had, the newest first.
    #[must_use]
    pub fn known(
        &self,
        fingerprint: Fingerprint,
        owner: Owner,
    ) -> (Option<Arc<Explained>>, Vec<Era>) {
        let key = (fingerprint, Arc::new(owner));
        let plans = self.plans.lock();
        (plans.last(&key), plans.eras(&key))
    }

    /// How many became what.
    pub fn fates(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.fates.iter().map(|count| count.load(Ordering::Relaxed));
        Fate::ALL.into_iter().zip(counts).map(|((name, _), count)| (name, count))
    }

    fn count(&self, fate: Fate) {
        for ((_, known), count) in Fate::ALL.into_iter().zip(&self.fates) {
            if known == fate {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// A statement took long: asks for its plan, where `explain_auto` says so and that was not done lately. A task of
    /// its own.
    pub fn note_slow(self: &Arc<Self>, slow: &Slow, ledger: &Ledger) {
        let config = self.shared.pools.config();
        // Nobody could look at it there.
        let is_on = config.admin.explain_auto && config.admin.admin_pages != AdminPages::Metrics;
        if !is_on || !has_plan(slow.about.text.as_bytes()) {
            return;
        }
        let key = (slow.about.fingerprint, Arc::clone(&slow.owner));
        if !self.plans.lock().may_by_itself(&key, Instant::now()) {
            return;
        }
        let mut target = None;
        ledger.each(|record| {
            let about = record.about.as_ref();
            if about.is_some_and(|about| about.fingerprint == key.0) && record.owner == key.1 {
                target = Target::of(record);
            }
        });
        let (Some(target), explainer) = (target, Arc::clone(self)) else { return };
        drop(tokio::spawn(async move {
            let (fingerprint, owner) = (target.about.fingerprint, Arc::clone(&target.owner));
            let Owner { database, user } = &*owner;
            match explainer.explain(target, None).await {
                Ok(explained) => {
                    let (plan, took_ms) =
                        (explained.plan.summary(), explained.took.as_micros() as f64 / 1e3);
                    info!(%fingerprint, %database, %user, took_ms, plan, "a slow statement was explained");
                }
                Err(error) => {
                    let error = error.for_log();
                    info!(%fingerprint, %database, %user, error, "a slow statement was not explained");
                }
            }
        }));
    }

    /// Asks for a plan, and counts what becomes of it. `run`: for the values of a call.
    async fn ask(
        &self,
        target: Target,
        path: Option<&str>,
        run: Option<Run>,
    ) -> Result<Arc<Explained>, ExplainError> {
        let explained = match self.check(&target, run) {
            Ok(()) => self.plan(target, path, run).await,
            Err(error) => Err(error),
        };
        self.count(match &explained {
            Ok(_) => Fate::Planned,
            Err(error) => error.fate(),
        });
        explained
    }

    /// May it be asked for at all?
    fn check(&self, target: &Target, run: Option<Run>) -> Result<(), ExplainError> {
        let config = self.shared.pools.config();
        if !config.admin.explain {
            return Err(ExplainError::Off);
        }
        if !has_plan(target.about.text.as_bytes()) {
            return Err(ExplainError::NoPlan(target.about.summary.clone()));
        }
        if target.about.extent == Extent::Incomplete {
            return Err(ExplainError::Incomplete);
        }
        let keep = self.shared.ledger.as_ref().map_or(Keep::Nothing, |ledger| ledger.keeping.get());
        match run {
            Some(Run::No | Run::Analyze) if keep != Keep::All => Err(ExplainError::NoSample),
            Some(Run::Analyze) if !config.admin.explain_analyze => Err(ExplainError::AnalyzeOff),
            Some(Run::Analyze) if target.about.kind != Kind::Select => {
                Err(ExplainError::NotRun(NotRun::Writes))
            }
            Some(Run::Analyze | Run::No) | None => Ok(()),
        }
    }

    async fn plan(
        &self,
        target: Target,
        path: Option<&str>,
        run: Option<Run>,
    ) -> Result<Arc<Explained>, ExplainError> {
        let owner = Arc::clone(&target.owner);
        let Owner { database, user } = &*owner;
        let pool = self.pool(database, user).ok_or(ExplainError::NoPool)?;
        let begun = self.plans.lock().begin(database, Instant::now());
        let _turn = match begun {
            Turn::Yes => Turned { plans: &self.plans, database },
            Turn::Running => return Err(ExplainError::Running),
            Turn::Later(wait) => return Err(ExplainError::TooOften(wait)),
        };
        let began = Instant::now();
        let (source, question) = match run {
            None => self.question(&pool, &target, path).await,
            Some(run) => self.sampled(&target, path, run).await.ok_or(ExplainError::NoSample)?,
        };
        let search_path = question.search_path.clone();
        let planned = self.send(Errand { pool, question }).await?;
        let Planned { json, plan, facts, what_if } = planned;
        let mut hints = hints(&plan, &facts, &target.seen);
        hints.iter_mut().for_each(|hint| tell_tried(hint, &what_if, plan.root.cost.1));
        Ok(Arc::new(Explained {
            source,
            search_path,
            taken: SystemTime::now(),
            took: began.elapsed(),
            hash: plan.hash(),
            hints,
            masked: Masked::new(&plan, &facts, &target.seen),
            json,
            plan,
            // The plan may be remembered, values are not.
            target: Target { calls: Vec::new(), ..target },
        }))
    }

    fn pool(&self, database: &str, user: &str) -> Option<Arc<Pool>> {
        let all = self.shared.pools.all();
        all.into_iter().find(|pool| *pool.key.database == *database && *pool.key.user == *user)
    }

    /// The first of the calls whose values are there in full.
    async fn sampled(
        &self,
        target: &Target,
        path: Option<&str>,
        run: Run,
    ) -> Option<(Source, Question)> {
        let whole = |call: &SampledCall| Some((call.clone(), call.values.call()?));
        let (sampled, Call { statement, values }) = target.calls.iter().find_map(whole)?;
        let search_path = match path {
            Some(path) => Some(path.into()),
            None => self.search_path(sampled.client).await,
        };
        let source = Source::Sample { seen: sampled.seen, micros: sampled.micros };
        Some((source, Question { statement, search_path, mode: Mode::Sample { values, run } }))
    }

    /// The text to be planned and the schemas that go with it: what a client has prepared, else the normalised text.
    async fn question(
        &self,
        pool: &Pool,
        target: &Target,
        path: Option<&str>,
    ) -> (Source, Question) {
        let path = path.map(Into::into);
        if let Some(known) = pool.database.registry.of_fingerprint(target.about.fingerprint) {
            // Behind a NUL stands who acts, or that a transaction says so, which only it can know.
            let schemas = known.schemas.as_deref().and_then(|all| all.split('\0').next());
            let theirs = schemas.filter(|schemas| !schemas.is_empty()).map(Into::into);
            let (statement, search_path) = (known.body.clone(), path.or(theirs));
            return (Source::Prepared, Question { statement, search_path, mode: Mode::Generic });
        }
        let search_path = match path {
            Some(path) => Some(path),
            None => self.search_path(target.client).await,
        };
        let mut statement = typed(&target.about.text).into_bytes();
        // Its end, and no types.
        statement.extend_from_slice(&[0; 3]);
        let mode = Mode::Generic;
        (Source::Normalised, Question { statement: statement.into(), search_path, mode })
    }

    /// Which schemas a client uses, if it is still there.
    async fn search_path(&self, client: u64) -> Option<Box<str>> {
        let ask = |worker: &tokio::sync::mpsc::UnboundedSender<Command>| {
            let (sender, answer) = oneshot::channel();
            // A worker that is gone drops the sender, which is an answer too.
            let _ = worker.send(Command::SearchPath(client, sender));
            answer
        };
        let asked: Vec<_> = self.shared.workers.iter().map(ask).collect();
        let found = timeout(LOOK_LIMIT, async {
            for answer in asked {
                if let Ok(Some(path)) = answer.await {
                    return Some(path);
                }
            }
            None
        });
        found.await.ok().flatten()
    }

    /// Sends an errand to the worker with the fewest clients.
    async fn send(&self, errand: Errand) -> Result<Planned, ExplainError> {
        let loads = self.shared.loads.iter().map(|load| load.load(Ordering::Relaxed));
        let workers = self.shared.workers.iter().zip(loads);
        let (worker, _) = workers.min_by_key(|(_, load)| *load).ok_or(ExplainError::Silent)?;
        let (sender, answer) = oneshot::channel();
        let sent = worker.send(Command::Explain(Box::new(errand), sender));
        sent.map_err(|_| ExplainError::Silent)?;
        let answer = timeout(ANSWER_LIMIT, answer).await;
        let reply = answer.map_err(|_| ExplainError::Silent)?.map_err(|_| ExplainError::Silent)?;
        match reply? {
            Reply::Planned(planned) => Ok(*planned),
            Reply::Refused { code, message } => Err(ExplainError::Refused { code, message }),
            Reply::Unreadable => Err(ExplainError::Unreadable),
            Reply::Unwritable => Err(ExplainError::Unwritable),
            Reply::NotRun(why) => Err(ExplainError::NotRun(why)),
        }
    }
}

/// Adds to a hint what its index would change.
fn tell_tried(hint: &mut Hint, tried: &[WhatIf], cost: f64) {
    let Some(what_if) = tried.iter().find(|tried| Some(&tried.sql) == hint.sql.as_ref()) else {
        return;
    };
    hint.evidence.push_str(&match what_if.used {
        Used::Unknown => return,
        Used::Cost(with) => {
            format!("; hypopg: with it the plan costs {with:.2} in place of {cost:.2}")
        }
        Used::No => "; hypopg: it would not be used".to_owned(),
    });
}

impl ExplainError {
    /// As it may be logged: without Postgres' words, which quote values.
    #[must_use]
    pub fn for_log(&self) -> String {
        if let Self::Refused { code, .. } = self {
            return format!("Postgres cannot plan it ({code})");
        }
        if let Self::Errand(ErrandError::Lost(ExecError::Unfit { code, .. })) = self {
            return format!("the server was lost ({code})");
        }
        self.to_string()
    }

    /// What it counts as.
    #[must_use]
    pub fn fate(&self) -> Fate {
        match self {
            Self::Off
            | Self::NoPlan(_)
            | Self::Incomplete
            | Self::NoPool
            | Self::NoSample
            | Self::AnalyzeOff
            | Self::NotRun(_)
            | Self::Unwritable
            | Self::Refused { .. }
            | Self::Unreadable => Fate::Refused,
            Self::Errand(ErrandError::Busy) => Fate::Busy,
            Self::Running | Self::TooOften(_) => Fate::Limited,
            Self::Errand(ErrandError::NoServer(_) | ErrandError::Lost(_) | ErrandError::Late)
            | Self::Silent => Fate::Failed,
        }
    }
}
