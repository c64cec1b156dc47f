//! `/clients`: who is connected and what each does; those that do something before idle ones, then
//! the longest at it.

use schemars::JsonSchema;
use serde::Serialize;

use super::numbers::millis;
use super::silence;
use crate::admin::answer::View;
use crate::admin::html::Page;
use crate::admin::human;
use crate::admin::parameters::{Parameters, number, word};
use crate::admin::problem::Problem;
use crate::admin::sheet::{Sheet, choice, form};
use crate::admin::table::{Table, name, number as column};
use crate::client::look::{SeenClient, SeenClients, Wanted};
use crate::client::record::Phase;
use crate::control::census::Silent;
use crate::sql::feature::Feature;

/// The most clients that are shown at once: what a worker can tell of within a millisecond.
const MOST_SHOWN: usize = 1_000;

/// As many are shown unless asked otherwise.
const SHOWN: usize = 100;

/// What a client can be said to do.
const STATES: [(&str, &[Phase]); 5] = [
    ("idle", &[Phase::Idle]),
    ("waiting", &[Phase::Waiting]),
    ("active", &[Phase::Running, Phase::Orphaned]),
    ("idle_in_transaction", &[Phase::IdleInTransaction]),
    ("replication", &[Phase::Replicating]),
];

const EVERY_PHASE: &[Phase] = &[
    Phase::Idle,
    Phase::Waiting,
    Phase::Running,
    Phase::Orphaned,
    Phase::IdleInTransaction,
    Phase::Replicating,
];

/// Clients that hold a server.
pub(crate) const WITH_SERVER: &[Phase] =
    &[Phase::Running, Phase::Orphaned, Phase::IdleInTransaction, Phase::Replicating];

/// Which clients are asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection {
    /// Up to how many.
    pub(crate) limit: usize,
    /// In which phases.
    pub(crate) phases: &'static [Phase],
}

/// Some clients.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct ClientsView {
    /// How many there are in the states asked for, shown or not.
    matching: usize,
    /// The workers whose clients are missing.
    silent_workers: Silent,
    clients: Vec<ClientRow>,
    /// The state that was asked for.
    #[serde(skip)]
    state: Option<&'static str>,
}

/// One client.
#[derive(Debug, JsonSchema, Serialize)]
struct ClientRow {
    id: String,
    database: String,
    user: String,
    application: String,
    address: String,
    state: &'static str,
    state_ms: f64,
    /// `null` outside of a transaction.
    transaction_ms: Option<f64>,
    connected_ms: f64,
    /// The backend's process id; `null` without a server.
    server_pid: Option<u32>,
    /// What it keeps its server for between transactions, with commas.
    pinned: String,
    transactions: u64,
    worker: usize,
}

impl Default for Selection {
    fn default() -> Self {
        Self { limit: SHOWN, phases: EVERY_PHASE }
    }
}

impl Parameters for Selection {
    const NAMES: &'static [&'static str] = &["limit", "state"];

    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        if name == "limit" {
            self.limit = number("limit", value, 1..=MOST_SHOWN)?;
        } else {
            self.phases = word("state", value, &STATES)?;
        }
        Ok(())
    }
}

impl From<Selection> for Wanted {
    fn from(Selection { limit, phases }: Selection) -> Self {
        Self { phases, limit }
    }
}

impl ClientsView {
    /// The first of what the workers have told.
    pub(crate) fn new(seen: SeenClients, asked: Selection, silent_workers: Silent) -> Self {
        let SeenClients { mut clients, matching } = seen;
        clients.sort_by_key(|client| {
            (client.phase == Phase::Idle, std::cmp::Reverse(client.phase_micros))
        });
        clients.truncate(asked.limit);
        let state = STATES.iter().find(|(_, phases)| *phases == asked.phases);
        Self {
            matching,
            silent_workers,
            clients: clients.into_iter().map(ClientRow::from).collect(),
            state: state.map(|(word, _)| *word),
        }
    }
}

impl From<SeenClient> for ClientRow {
    fn from(client: SeenClient) -> Self {
        Self {
            id: client.id.to_string(),
            database: client.names.0.to_string(),
            user: client.names.1.to_string(),
            application: client.application.into(),
            address: client.address.to_string(),
            state: state(client.phase),
            state_ms: millis(client.phase_micros),
            transaction_ms: client.transaction_micros.map(millis),
            connected_ms: millis(client.connected_micros),
            server_pid: (client.server_pid != 0).then_some(client.server_pid),
            pinned: client.pins.iter().map(Feature::name).collect::<Vec<_>>().join(", "),
            transactions: client.transactions,
            worker: client.worker,
        }
    }
}

fn state(phase: Phase) -> &'static str {
    let found = STATES.iter().find(|(_, phases)| phases.contains(&phase));
    found.map_or("", |(word, _)| word)
}

/// A client that was ended, as it was then.
#[derive(Debug, JsonSchema, Serialize)]
pub(crate) struct EndedView {
    ended: ClientRow,
}

impl From<SeenClient> for EndedView {
    fn from(client: SeenClient) -> Self {
        Self { ended: client.into() }
    }
}

impl View for EndedView {
    fn text(&self) -> String {
        let ClientRow { id, database, user, address, state, .. } = &self.ended;
        format!("ended client {id}, {user}@{database} from {address}, which was {state}\n")
            .replace(|c: char| c.is_control() && c != '\n', "?")
    }
}

impl View for ClientsView {
    fn text(&self) -> String {
        self.sheet().text()
    }

    fn html(&self) -> Page {
        let words = STATES.map(|(word, _)| word);
        let head = form("/clients", &choice("state", &words, self.state));
        self.sheet().page("/clients", head)
    }
}

impl ClientsView {
    fn sheet(&self) -> Sheet {
        let mut table = Table::new([
            column("ID"),
            name("CLIENT", 12),
            name("APPLICATION", 8),
            name("ADDRESS", 9),
            name("STATE", 5),
            column("for"),
            column("xact"),
            column("server"),
            name("PINNED", 6),
            column("xacts"),
            column("connected"),
        ]);
        for row in &self.clients {
            table.row([
                row.id.clone(),
                format!("{}@{}", row.user, row.database),
                row.application.clone(),
                row.address.clone(),
                row.state.replace("idle_in_transaction", "idle in xact"),
                human::millis(row.state_ms),
                row.transaction_ms.map_or_else(String::new, human::millis),
                row.server_pid.map_or_else(String::new, |pid| pid.to_string()),
                row.pinned.clone(),
                row.transactions.to_string(),
                human::millis(row.connected_ms),
            ]);
        }
        let mut sheet = Sheet::default().table(table);
        let hidden = self.matching.saturating_sub(self.clients.len());
        if hidden > 0 {
            sheet = sheet.words(format!("and {hidden} more: ?limit={MOST_SHOWN}\n"));
        }
        sheet.words(silence(&self.silent_workers))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_has_a_state_and_every_state_can_be_asked_for() {
        for phase in EVERY_PHASE {
            let mut selection = Selection::default();
            selection.set("state", state(*phase)).unwrap();
            assert!(selection.phases.contains(phase), "{phase:?}");
        }
        assert!(Selection::default().set("state", "asleep").is_err());
    }
}
