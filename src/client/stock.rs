//! Taking stock between transactions: what the client has changed in its server's session becomes
//! its own, and whether it may leave that server.

use std::sync::Arc;
use std::time::Instant;

use tracing::info;

use super::record::{Kick, Phase};
use super::session::{End, Session, State, Step};
use crate::config::PoolMode;
use crate::server::inventory::{Inventory, Verdict};
use crate::server::parameters::{Applied, Settings, is_carried};
use crate::sql::effects::{Change, Effects, Scope};
use crate::sql::feature::{Feature, Features};

/// What is known of the server's session.
pub(super) enum Stock {
    /// Everything: the server may go, or is kept for what it holds.
    Known,
    /// Postgres has been asked, or told.
    Asked,
}

impl Session {
    /// The transaction is over: learns what it left, asking Postgres where it must.
    pub(super) fn take_stock(&mut self, nanos: u64) -> Stock {
        let State::Active(server) = &mut self.state else { return Stock::Known };
        if !server.connection().reported.is_empty() {
            self.learn_reported();
            self.show_search_path();
        }
        let State::Active(server) = &mut self.state else { return Stock::Known };
        let connection = server.connection();
        if let Some(answer) = connection.asked.take() {
            match answer.verdict() {
                Verdict::Again => {
                    let _ = connection.ask(Box::new(answer.again()), nanos);
                    return Stock::Asked;
                }
                Verdict::Answered => {
                    self.learn(&answer);
                    self.show_search_path();
                    self.settle_fit();
                    if answer.effects.resets() && self.restore(nanos) {
                        return Stock::Asked;
                    }
                }
                Verdict::Hopeless => connection.pins.insert(Feature::Unreadable),
            }
        }
        let State::Active(server) = &mut self.state else { return Stock::Known };
        let connection = server.connection();
        let Some(effects) = connection.touched.take() else { return Stock::Known };
        let more = effects.asks_sequences || effects.touches.contains(Feature::Prepare);
        if !effects.settings.is_empty() || effects.scope != Scope::Named || more {
            let application = self.record.application.borrow();
            self.handle.pool.database.compat.carried(&application, &effects);
        }
        let question = Box::new(Inventory::new(self.worth_asking(*effects)));
        let State::Active(server) = &mut self.state else { return Stock::Known };
        if server.connection().ask(question, nanos) { Stock::Asked } else { Stock::Known }
    }

    /// Lets others see which schemas the client's names are looked up in.
    pub(super) fn show_search_path(&self) {
        let path = self.settings.get("search_path");
        if self.record.search_path.borrow().as_deref() != path {
            *self.record.search_path.borrow_mut() = path.map(Into::into);
        }
    }

    /// Settings that were reset are Postgres' defaults now, and not what the client logged in with.
    /// The client's next request waits for it: what it showed would be wrong.
    fn restore(&mut self, nanos: u64) -> bool {
        let State::Active(server) = &mut self.state else { return false };
        server.connection().restore(&self.settings, nanos)
    }

    /// What Postgres is to be asked of these effects: not what it reports by itself, and of what may
    /// have ended only what was there.
    fn worth_asking(&mut self, mut effects: Effects) -> Effects {
        let State::Active(server) = &mut self.state else { return effects };
        let pins = &mut server.connection().pins;
        if pins.contains(Feature::Session) {
            return Effects::default();
        }
        // Postgres has no view of these.
        let unseen = effects.begins.without(Features::visible());
        // A library that was loaded has said so.
        *pins = pins.union(unseen.without([Feature::Load].into_iter().collect()));
        let mut there = *pins;
        if !self.settings.prepared().is_empty() {
            there.insert(Feature::Prepare);
        }
        effects.touches = effects.touches.union(effects.ends.common(there));
        match effects.scope {
            Scope::Named => {
                let base = self.handle.pool.base().unwrap_or_default();
                let reported = |name: &str| base.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
                effects.settings.retain(|(name, change)| {
                    let restores = *change != Change::Set && self.initial.get(name).is_some();
                    restores || !reported(name) || !is_carried(name)
                });
            }
            scope @ (Scope::All | Scope::Reset | Scope::ResetAndAll) => {
                let change = if scope == Scope::All { Change::Set } else { Change::Reset };
                for (name, _) in self.settings.iter().filter(|(name, _)| name.contains('.')) {
                    if !effects.settings.iter().any(|(known, _)| **known == *name) {
                        effects.settings.push((name.into(), change));
                    }
                }
            }
        }
        effects
    }

    /// What Postgres says is there is the client's from now on.
    fn learn(&mut self, answer: &Inventory) {
        let State::Active(server) = &mut self.state else { return };
        let (connection, effects) = (server.connection(), &answer.effects);
        connection.pins = connection.pins.without(effects.touches).union(answer.left);
        let before = Arc::clone(&self.settings);
        if !answer.settings.is_empty() || effects.scope != Scope::Named {
            self.learn_settings(answer);
        }
        self.learn_prepared(answer, &before);
    }

    fn learn_settings(&mut self, answer: &Inventory) {
        let State::Active(server) = &mut self.state else { return };
        let pool = &self.handle.pool;
        let (login, interner) = (&*pool.key.user, &pool.interner);
        let (connection, effects) = (server.connection(), &answer.effects);
        let now = answer.settings.iter().map(|(name, value)| {
            let value = value.as_deref().filter(|value| {
                !is_nobody_else(name, value, login)
                    && !is_empty_again(effects, &self.settings, name, value)
            });
            (&**name, value)
        });
        let none = interner.none();
        match effects.scope {
            Scope::Named => {
                let real = interner.with(
                    &self.settings,
                    now.clone().map(|(name, value)| {
                        (name, value.filter(|_| !is_back(effects, &self.settings, name, value)))
                    }),
                );
                self.settings = interner.with(
                    &real,
                    now.filter(|(name, value)| is_back(effects, &self.settings, name, *value))
                        .map(|(name, _)| (name, self.initial.get(name))),
                );
                if matches!(connection.applied, Applied::Known(_)) {
                    connection.applied = Applied::Known(real);
                }
            }
            Scope::All => {
                self.settings = interner.with(&none, now);
                // Custom settings that were made out of sight are not listed anywhere.
                connection.applied = Applied::Unknown;
            }
            Scope::ResetAndAll => {
                self.settings = interner.with(&self.initial, now);
                connection.applied = Applied::Unknown;
            }
            Scope::Reset => {
                let real = interner.with(&none, now.clone());
                self.settings = interner.with(&self.initial, now);
                connection.applied = Applied::Known(real);
            }
        }
    }

    /// Statements prepared with SQL's `PREPARE` go with the settings: those that Postgres knows, or else the ones
    /// of before.
    fn learn_prepared(&mut self, answer: &Inventory, before: &Settings) {
        let State::Active(server) = &mut self.state else { return };
        let (connection, interner) = (server.connection(), &self.handle.pool.interner);
        let asked = answer.effects.touches.contains(Feature::Prepare);
        let prepared = if asked { &answer.prepared } else { before.prepared() };
        self.settings = interner.preparing(&self.settings, prepared);
        if let Applied::Known(known) = &connection.applied {
            connection.applied = Applied::Known(interner.preparing(known, prepared));
        }
        if asked {
            connection.prepared = answer.prepared.clone();
        }
    }

    /// The settings that the server reported within the transaction are the client's now, and the
    /// server's as well.
    fn learn_reported(&mut self) {
        let State::Active(server) = &mut self.state else { return };
        let connection = server.connection();
        let reported = std::mem::take(&mut connection.reported);
        let pool = &self.handle.pool;
        let base = pool.base().unwrap_or_default();
        let changes = reported.iter().filter(|(name, _)| is_carried(name)).map(|(name, value)| {
            let as_new = base.iter().any(|(n, v)| n == name && v == value);
            (&**name, (!as_new).then_some(&**value))
        });
        self.settings = pool.interner.with(&self.settings, changes);
        let known = matches!(connection.applied, Applied::Known(_));
        connection.applied = if known && reported.iter().all(|(name, _)| is_carried(name)) {
            Applied::Known(Arc::clone(&self.settings))
        } else {
            // It was not before, or the role changed with it, perhaps.
            Applied::Unknown
        };
    }

    /// Between transactions: the server goes back, unless it is kept for what it holds.
    pub(super) fn release(&mut self, now: Instant, nanos: u64) -> Step {
        self.record.transactions.set(self.record.transactions.get() + 1);
        self.record.enter(Phase::Idle, nanos);
        let State::Active(mut server) = std::mem::replace(&mut self.state, State::Idle) else {
            return Step::Moved;
        };
        if self.handle.pool.rules.mode() == PoolMode::Session {
            server.connection().pins.insert(Feature::Session);
        }
        server.connection().forget_schemas();
        self.settle_fit();
        let was_kept = server.is_kept();
        let Some(more) = server.keep(now) else {
            if was_kept {
                self.log_pins(self.record.pins.get(), "gives its server back");
            }
            self.record.pins.set(Features::NONE);
            self.record.server_pid.set(0);
            server.give_back(now);
            return Step::Moved;
        };
        let pins = server.connection().pins;
        self.record.pins.set(pins);
        self.state = State::Active(server);
        if !more.is_empty() && !pins.contains(Feature::Session) {
            let application = self.record.application.borrow();
            self.handle.pool.database.compat.pinned(&application, more);
            self.log_pins(pins, "keeps its server between transactions");
        }
        if self.handle.pool.is_gone() {
            return Step::Over(End::Kicked(Kick::DatabaseGone));
        }
        if self.context.draining.get() {
            return Step::Over(End::Kicked(Kick::Shutdown));
        }
        Step::Moved
    }

    #[cold]
    fn log_pins(&self, pins: Features, what: &str) {
        let _span = self.record.span().entered();
        let names: Vec<_> = pins.iter().map(Feature::name).collect();
        info!(reason = names.join(", "), "{what}");
    }

    /// State that would keep the server was refused. The log tells of each kind once.
    #[cold]
    pub(super) fn note_refused(&mut self, features: Features) {
        let application = self.record.application.borrow();
        self.handle.pool.database.compat.refused(&application, features);
        let new = features.without(self.refused);
        self.refused = self.refused.union(features);
        if !new.is_empty() {
            self.log_pins(new, "was refused what would keep its server");
        }
    }

    /// Does the client keep a server for which there is nothing to do?
    pub(super) fn is_resting(&self) -> bool {
        matches!(&self.state, State::Active(server) if server.is_kept())
            && self.record.phase.get() == Phase::Idle
    }
}

/// The role nobody has set, and the user that logged in.
fn is_nobody_else(name: &str, value: &str, login: &str) -> bool {
    name == "role" && value == "none" || name == "session_authorization" && value == login
}

/// Postgres does not forget a custom setting that was reset, as a transaction's end does too: it is empty. One
/// that was empty before, or was set to nothing, is a setting as any other.
fn is_empty_again(effects: &Effects, before: &Settings, name: &str, value: &str) -> bool {
    let reset = |(known, change): &(Box<str>, Change)| **known == *name && *change == Change::Reset;
    name.contains('.')
        && value.is_empty()
        && before.get(name) != Some("")
        && effects.settings.iter().any(reset)
}

/// Did a setting go back to what it was at the session's start? Not if its transaction was rolled
/// back: then it is what it was before.
fn is_back(effects: &Effects, before: &Settings, name: &str, value: Option<&str>) -> bool {
    let reset = |(known, change): &(Box<str>, Change)| **known == *name && *change == Change::Reset;
    effects.settings.iter().any(reset) && value != before.get(name)
}
