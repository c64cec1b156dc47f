//! `/healthz`, `/readyz` and `/version`: short answers, mostly for programs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::answer::View;
use crate::config::Config;
use crate::control::census::Silent;
use crate::control::health::{DatabaseHealth, FirstRound, State};
use crate::lifecycle::Stage;
use crate::pool::shared::{OpenFailure, PoolKey};

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The process answers.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Alive {
    status: &'static str,
}

/// Whether clients should be sent here.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Ready {
    ready: bool,
    /// Why not.
    reasons: Vec<String>,
}

/// Which program this is.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct Version {
    name: &'static str,
    version: &'static str,
}

impl Default for Alive {
    fn default() -> Self {
        Self { status: "ok" }
    }
}

impl Default for Version {
    fn default() -> Self {
        Self { name: "pooler", version: VERSION }
    }
}

impl Ready {
    /// Not while the program ends or a worker is stuck.
    pub(crate) fn new(stage: Stage, silent: &Silent) -> Self {
        let mut reasons = Vec::new();
        if stage == Stage::Draining {
            reasons.push("draining".to_owned());
        }
        reasons.extend(silent.iter().map(|worker| format!("worker {worker} does not answer")));
        Self { ready: reasons.is_empty(), reasons }
    }

    /// Nor while a configured database's Postgres is down, or not known in the first round: one that
    /// is not known later is no reason to send clients elsewhere.
    pub(crate) fn hear_of(
        &mut self,
        config: &Config,
        health: &BTreeMap<String, DatabaseHealth>,
        round: FirstRound,
    ) {
        for (name, known) in health.iter().filter(|(name, _)| config.databases.contains_key(*name))
        {
            match &known.state {
                State::Unknown if round == FirstRound::UnderWay => {
                    self.reasons.push(format!("database \"{name}\" is not probed yet"));
                }
                State::Unknown | State::Up => {}
                State::Down(reason) => {
                    self.reasons.push(format!("database \"{name}\" is down: {reason}"));
                }
            }
        }
        self.ready = self.reasons.is_empty();
    }

    /// Nor while Postgres does not let the pooler in.
    pub(crate) fn hear_of_refusals(&mut self, refused: &[(PoolKey, OpenFailure)]) {
        self.reasons.extend(refused.iter().map(|(PoolKey { database, user }, reason)| {
            format!(
                "Postgres refuses the login of user \"{user}\" to database \"{database}\": {reason}"
            )
        }));
        self.ready = self.reasons.is_empty();
    }

    /// For those who may not know them: they name databases and users.
    pub(crate) fn hide_reasons(&mut self) {
        self.reasons.clear();
    }

    /// Is it?
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }
}

impl View for Alive {
    fn text(&self) -> String {
        format!("{}\n", self.status)
    }
}

impl View for Ready {
    fn text(&self) -> String {
        if self.ready {
            return "ready\n".to_owned();
        }
        if self.reasons.is_empty() {
            return "not ready\n".to_owned();
        }
        self.reasons.iter().map(|reason| format!("not ready: {reason}\n")).collect()
    }
}

impl View for Version {
    fn text(&self) -> String {
        format!("{} {}\n", self.name, self.version)
    }
}
