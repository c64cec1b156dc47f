//! Statements of a client that has moved to other schemas since it prepared them. Postgres decides by what a statement
//! was when it was prepared whether it still holds ("cached plan must not change result type", `RevalidateCachedQuery` in
//! plancache.c): so a server that lacks it gets it as it was prepared, in those schemas.

use std::sync::Arc;

use super::requests::Requests;
use crate::protocol::backend::TransactionStatus;
use crate::server::parameters::{BACK_FROM_SCHEMAS, to_schemas};
use crate::server::statement::Statement;
use crate::sql::lexer::{Backslashes, Lexer};

/// Ends what [`Requests::way_home`] begins.
pub(super) const BACK: &str = BACK_FROM_SCHEMAS;

/// First words of statements whose names are looked up when they are prepared; those of others, when they are executed.
const ANALYZED: [&[u8]; 9] =
    [b"select", b"insert", b"update", b"delete", b"merge", b"with", b"values", b"table", b"("];

/// Who acts may decide which schema this is.
const OF_USER: &str = "$user";

impl Requests<'_> {
    /// Which schemas names are looked up in now, as far as texts say.
    #[inline]
    pub(super) fn schemas(&self) -> Option<&Arc<str>> {
        match self.server.schemas {
            None => self.settings.schemas(),
            Some(_) => self.server.said_schemas(),
        }
    }

    /// A statement whose result has changed, as the client was told, is prepared anew; so is one whose names are
    /// looked up in other schemas now. Its number, if it is used as it was prepared, in schemas that the client has left.
    #[inline]
    pub(super) fn renew(&mut self, name: &[u8]) -> Option<u64> {
        if let Some(statement) = self.statements.get(name)
            && (self.statements.is_stale(statement) || !statement.is_at_home(self.schemas()))
            && !name.is_empty()
        {
            return self.prepare_anew(name);
        }
        None
    }

    /// Where the schemas cannot be said in which a statement was prepared, it is prepared in those of now, under a name of
    /// its own, or they would show in what others prepared in theirs.
    #[cold]
    fn prepare_anew(&mut self, name: &[u8]) -> Option<u64> {
        let mut home = Arc::clone(self.statements.home(name)?);
        let schemas = self.schemas().map(Arc::clone);
        let unsettled = self.statements.settle_in(home.id);
        if self.statements.is_stale(&home) {
            home = self.registry.intern(&home.body, home.schemas.as_ref(), |_| false);
        }
        let at_home = home.is_at_home(schemas.as_ref());
        let stays = at_home
            || !unsettled && (self.server.statements.has(home.id) || self.may_go_home(&home));
        if !stays {
            let abroad = self.registry.intern(&home.body, schemas.as_ref(), |_| false);
            self.statements.define_abroad(name, home, abroad);
            return None;
        }
        let id = home.id;
        if !self.statements.get(name).is_some_and(|now| Arc::ptr_eq(now, &home)) {
            self.statements.define(name, home);
        }
        (!at_home).then_some(id)
    }

    /// Is it to be known first whether a transaction that has failed goes on? In one nothing is told of schemas.
    #[inline]
    pub(super) fn is_adrift(&self, strays: Option<u64>) -> bool {
        strays.is_some() && self.may_hold() && self.server.owed.is_status_due()
    }

    /// Can the server be told of it as it was prepared?
    fn may_go_home(&self, statement: &Statement) -> bool {
        !is_analyzed(statement.text()) || self.path_home(statement).is_some()
    }

    /// What goes ahead of a statement that the server is told of, for its names to be looked up as where it was prepared;
    /// `None`: nothing, as nearly always.
    #[inline]
    pub(super) fn way_home(&self, statement: &Statement) -> Option<String> {
        if statement.is_at_home(self.schemas()) { None } else { self.long_way_home(statement) }
    }

    #[cold]
    fn long_way_home(&self, statement: &Statement) -> Option<String> {
        // A transaction that has failed hears of nothing but its end.
        let failed = self.server.owed.status() == TransactionStatus::Failed;
        if !failed && is_analyzed(statement.text()) { self.path_home(statement) } else { None }
    }

    fn path_home(&self, statement: &Statement) -> Option<String> {
        let home = statement.schemas.as_deref();
        let acts_as = |name: &&str| self.settings.get(name).is_some();
        let changed = ["role", "session_authorization"].iter().any(acts_as);
        // Temporary tables come first in any schemas.
        let of_this_server = self.server.has_own_schemas();
        if of_this_server || changed && home.is_none_or(|path| path.contains(OF_USER)) {
            return None;
        }
        to_schemas(home)
    }
}

fn is_analyzed(text: &[u8]) -> bool {
    let first = Lexer::new(text, Backslashes::Literal).without_comments().next();
    let Some(first) = first else { return false };
    let first = first.bytes(text);
    ANALYZED.iter().any(|word| first.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use crate::relay::rig::{Client, Rig, all, complete, error, query, ready};
    use crate::sql::feature::Feature;

    fn said(rig: &Rig) -> Option<&str> {
        rig.server.schemas.as_ref()?;
        rig.server.said_schemas().map(|schemas| &**schemas)
    }

    fn begun(sql: &str) -> (Rig, Client) {
        let (mut rig, mut client) = (Rig::new(200), Client::default());
        rig.ask(&mut client, &query("begin"));
        rig.reply(&mut client, &all(&[&complete("BEGIN"), &ready(b'T')]));
        rig.ask(&mut client, &query(sql));
        (rig, client)
    }

    #[test]
    fn what_is_said_of_the_schemas_holds_once_postgres_has_agreed() {
        let (mut rig, mut client) = begun("set local search_path = one");
        assert_eq!(said(&rig), Some("\0= one"));
        rig.reply(&mut client, &all(&[&complete("SET"), &ready(b'T')]));
        assert_eq!(said(&rig), Some("one"));
        for text in ["rollback to s", "commit; begin", "END; BEGIN"] {
            let (mut rig, mut client) = begun("set local search_path = one");
            rig.reply(&mut client, &all(&[&complete("SET"), &ready(b'T')]));
            rig.ask(&mut client, &query(text));
            assert_eq!(said(&rig), Some("\0"), "{text}");
        }
        let (mut rig, mut client) = begun("set local search_path = one");
        rig.reply(&mut client, &all(&[&error("57014", "cancelled"), &ready(b'E')]));
        assert_eq!(said(&rig), Some("\0= one"));
    }

    #[test]
    fn temporary_tables_make_the_schemas_their_servers_own() {
        let (mut rig, mut client) = begun("create temp table t (n int)");
        rig.reply(&mut client, &all(&[&complete("CREATE TABLE"), &ready(b'T')]));
        assert!(rig.server.has_own_schemas());
        rig.ask(&mut client, &query("set local search_path = one"));
        rig.reply(&mut client, &all(&[&complete("SET"), &ready(b'T')]));
        rig.ask(&mut client, &query("rollback to s"));
        assert!(rig.server.has_own_schemas(), "whatever is said of others");
        rig.server.pins.insert(Feature::TemporaryTable);
        rig.server.forget_schemas();
        assert!(rig.server.has_own_schemas(), "as long as they are there");
        rig.server.pins = rig.server.pins.without(rig.server.pins);
        rig.server.forget_schemas();
        assert_eq!(said(&rig), None);
    }
}
