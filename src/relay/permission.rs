//! What a rule forbids of what a request may do to its session.

use std::borrow::Cow;

use super::buffers::Splice;
use super::requests::{Fate, NO_SUCH_PORTAL, Requests};
use crate::config::Unreadable;
use crate::protocol::backend::TransactionStatus;
use crate::protocol::frontend;
use crate::server::connection::Undo;
use crate::server::owed::{Answer, Request};
use crate::server::sequences::FORGET;
use crate::server::statement::Statement;
use crate::sql::effects::Effects;
use crate::sql::feature::Feature;

/// A Query that is sure to fail; the server's log shows it.
const REFUSED: &str = "refused by pooler: pin, max_pinned or unreadable forbids it";

/// May a client have session state that keeps its server to it?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// Yes.
    Allowed,
    /// No: what makes some is refused.
    Refused,
}

impl Requests<'_> {
    /// Notes what a request with these effects may do to the session. What a rule forbids of it is noted and given.
    #[cold]
    pub(super) fn touch(&mut self, effects: &Effects, splice: &mut Splice<'_>) -> Option<Feature> {
        let unreadable = effects.is_unreadable();
        let mut begins = effects.begins;
        match self.unreadable {
            Unreadable::Reject if unreadable => {
                self.refused.insert(Feature::Unreadable);
                return Some(Feature::Unreadable);
            }
            Unreadable::Pin if unreadable => begins.insert(Feature::Unreadable),
            Unreadable::Allow | Unreadable::Pin | Unreadable::Reject => {}
        }
        if self.pinning == Pinning::Refused
            && let Some(feature) = begins.without(self.server.pins).iter().next()
        {
            self.refused.insert(feature);
            return Some(feature);
        }
        if effects.asks_sequences {
            self.own_sequences(splice);
        }
        self.server.touch(effects);
        if let Some(touched) = &mut self.server.touched {
            touched.begins = touched.begins.union(begins);
        }
        None
    }

    /// The client asks for values of sequences: those of others are forgotten from now on when it takes a server. If
    /// it is the first to ask, this one may have them still; and some of its own, once it did anything.
    fn own_sequences(&mut self, splice: &mut Splice<'_>) {
        self.registry.sequences.note();
        let owed = &self.server.owed;
        let first = owed.status() == TransactionStatus::Idle
            && !owed.ahead().any(|(request, ..)| request.is_statement());
        if first && self.server.sequences.ask() {
            self.run_ours(FORGET, splice.insert());
        }
    }

    /// What a text does out of sight is added to what its words say.
    #[cold]
    pub(super) fn with_hidden(
        &self,
        effects: Option<Box<Effects>>,
        text: &[u8],
    ) -> Option<Box<Effects>> {
        let hidden = self.registry.hidden.effects(text);
        match (effects, hidden) {
            (Some(mut effects), Some(hidden)) => {
                effects.merge(&hidden);
                Some(effects)
            }
            (effects, hidden) => effects.or(hidden),
        }
    }

    /// A simple Query is refused.
    #[cold]
    pub(super) fn refuse_query(
        &mut self,
        feature: Feature,
        undo: Option<Box<Undo>>,
        splice: &mut Splice<'_>,
    ) -> Fate {
        frontend::write_query(splice.insert(), REFUSED);
        self.server.owed.push(Request::Query, Answer::Refused(feature), undo, self.now);
        Fate::Drop
    }

    /// Notes what executing a statement may do to the session; if that is refused, what becomes of its Bind.
    #[cold]
    pub(super) fn note_bound(
        &mut self,
        portal: &[u8],
        statement: &Statement,
        splice: &mut Splice<'_>,
    ) -> Option<Fate> {
        if let Some(named) = &statement.named
            && let Some(fate) = self.note_named(portal, named, splice)
        {
            return Some(fate);
        }
        let hidden = self.registry.hidden.judge(&statement.hidden, statement.text());
        let effects = match (statement.effects.as_deref(), hidden.as_deref()) {
            (Some(effects), None) | (None, Some(effects)) => Cow::Borrowed(effects),
            (None, None) => return None,
            (Some(effects), Some(hidden)) => {
                let mut all = effects.clone();
                all.merge(hidden);
                Cow::Owned(all)
            }
        };
        let effects = &*effects;
        if let Some(feature) = self.touch(effects, splice) {
            frontend::write_execute(splice.insert(), NO_SUCH_PORTAL);
            let answer = Answer::Refused(feature);
            self.server.owed.push(Request::Execute, answer, None, self.now);
            return Some(Fate::Drop);
        }
        // It may never be executed.
        self.server.path = None;
        self.restore_after_execute(effects);
        None
    }
}
