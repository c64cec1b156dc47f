//! What a client is told at the end of its login: the server's settings as they will be for it.
//! Postgres itself says what a startup setting does, once for each set of them.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crate::pool::handle::{Checkout, PoolHandle, PooledServer};
use crate::pool::shared::{OpenFailure, Reported, Welcome};
use crate::pool::slots::Ticket;
use crate::protocol::backend::write_parameter_status;
use crate::protocol::sqlstate::SqlState;
use crate::server::exec::{self, ExecError};
use crate::server::parameters::{Applied, Settings, is_carried, transition};

/// The setting that every application sets otherwise, and that needs no server to say what comes
/// of it.
pub(super) const APPLICATION_NAME: &str = "application_name";

/// Postgres cuts `application_name` at `NAMEDATALEN` - 1 bytes.
const APPLICATION_NAME_BYTES: usize = 63;

/// Reloads that may come in between while one client waits to hear what a fresh session reports.
const MOST_RELOADS: usize = 10;

/// Why a client cannot be welcomed.
#[derive(Debug, thiserror::Error)]
pub enum WelcomeError {
    /// No server can be had.
    #[error(transparent)]
    NoServer(#[from] OpenFailure),
    /// Postgres refuses a setting.
    #[error("{message} ({})", code.as_str())]
    Refused {
        /// Postgres' SQLSTATE.
        code: SqlState,
        /// Postgres' message.
        message: String,
    },
    /// The server that was asked went away.
    #[error("the server was lost while settings were tried: {0}")]
    Lost(#[from] ExecError),
}

/// What a client starts with.
#[derive(Debug)]
pub struct Greeting {
    /// Its settings.
    pub settings: Arc<Settings>,
    /// Its `application_name`.
    pub application: Box<str>,
    /// The `ParameterStatus` messages.
    pub messages: Vec<u8>,
}

/// Leaves the queue on drop.
struct Waiting<'a> {
    handle: &'a Rc<PoolHandle>,
    ticket: Option<Ticket>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.handle.pool.abandon(ticket, self.handle.worker);
        }
    }
}

/// Takes a server, waiting if need be. Cancel safe.
///
/// # Errors
/// When none can be had.
pub async fn take_server(handle: &Rc<PoolHandle>) -> Result<PooledServer, OpenFailure> {
    let ticket = match handle.checkout(Instant::now()) {
        Checkout::Ready(server) => return Ok(server),
        Checkout::Refused(failure) => return Err(failure),
        Checkout::Wait(ticket) => ticket,
    };
    let mut waiting = Waiting { handle, ticket: Some(ticket) };
    poll_fn(|cx| {
        let Some(ticket) = &mut waiting.ticket else { return std::task::Poll::Pending };
        match handle.poll(ticket, cx.waker()) {
            Some(result) => {
                waiting.ticket = None;
                std::task::Poll::Ready(result)
            }
            None => std::task::Poll::Pending,
        }
    })
    .await
}

/// Finds out what a client with these startup settings is to be told. Needs a server only for what
/// no client of the pool has asked for before. Cancel safe: a server it is dropped on is closed.
///
/// # Errors
/// As [`WelcomeError`] says.
pub async fn greet(
    handle: &Rc<PoolHandle>,
    parameters: &[(String, String)],
) -> Result<Greeting, WelcomeError> {
    let pool = &handle.pool;
    let base = base(handle).await?;
    let (application, others) = split(parameters);
    let changes = others.iter().filter(|(name, value)| {
        // What the server does anyway need not be said.
        !base.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && **v == **value)
    });
    let asked = pool.interner.with(
        &pool.interner.none(),
        changes.map(|(name, value)| (name.as_str(), Some(value.as_str()))),
    );
    let welcome = if asked.is_empty() {
        Arc::new(Welcome { settings: asked, reported: Vec::new() })
    } else if let Some(known) = pool.welcome(&asked) {
        known
    } else {
        try_settings(handle, &asked).await?
    };
    let application = application.unwrap_or_default();
    let settings = match &*application {
        "" => Arc::clone(&welcome.settings),
        name => pool.interner.with(&welcome.settings, [(APPLICATION_NAME, Some(name))]),
    };
    let mut messages = Vec::with_capacity(512);
    for (name, value) in base.iter() {
        let changed = welcome.reported.iter().find(|(n, _)| n == name).map(|(_, v)| &**v);
        let own = (&**name == APPLICATION_NAME).then_some(&*application);
        write_parameter_status(&mut messages, name, own.or(changed).unwrap_or(value));
    }
    Ok(Greeting { settings, application, messages })
}

/// What a fresh session reports: asks for a server until one that logged in by the present plan has
/// said it. A reload may come between the two.
async fn base(handle: &Rc<PoolHandle>) -> Result<Arc<Reported>, WelcomeError> {
    for _ in 0..MOST_RELOADS {
        if let Some(base) = handle.pool.base() {
            return Ok(base);
        }
        take_server(handle).await?.give_back(Instant::now());
    }
    Ok(handle.pool.base().unwrap_or_default())
}

async fn try_settings(
    handle: &Rc<PoolHandle>,
    asked: &Arc<Settings>,
) -> Result<Arc<Welcome>, WelcomeError> {
    let mut server = take_server(handle).await?;
    let connection = server.connection();
    let none = handle.pool.interner.none();
    let clean = transition(&connection.applied, &none);
    if !clean.is_empty() {
        exec::run(connection, &clean).await?;
    }
    let heard = exec::run(connection, &transition(&Applied::Known(none.clone()), asked)).await?;
    if let Some((code, message)) = heard.error {
        // The query was one transaction: nothing of it stands.
        connection.applied = Applied::Known(none);
        server.give_back(Instant::now());
        return Err(WelcomeError::Refused { code, message });
    }
    // Reported settings that were asked for and are not reported now are as they were.
    let base = handle.pool.base().unwrap_or_default();
    let unchanged = asked.iter().filter(|(name, _)| {
        base.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
            && !heard.reported.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    });
    let settings = handle.pool.interner.with(asked, unchanged.map(|(name, _)| (name, None)));
    connection.applied = Applied::Known(Arc::clone(asked));
    let generation = server.generation();
    server.give_back(Instant::now());
    let welcome = Welcome { settings, reported: heard.reported };
    Ok(handle.pool.set_welcome(asked, welcome, generation))
}

/// The application's name as Postgres will show it, and all other settings.
fn split(parameters: &[(String, String)]) -> (Option<Box<str>>, Vec<&(String, String)>) {
    let mut application = None;
    let mut others = Vec::new();
    for parameter in parameters {
        if parameter.0.eq_ignore_ascii_case(APPLICATION_NAME) {
            application = Some(clean_name(&parameter.1));
        } else if is_carried(&parameter.0) {
            others.push(parameter);
        }
    }
    (application, others)
}

/// `check_application_name` and `pg_clean_ascii` (src/common/string.c): what is not printable ASCII
/// is shown as `\xHH`.
fn clean_name(name: &str) -> Box<str> {
    let mut clean = String::new();
    for byte in name.bytes() {
        match byte {
            b' '..=b'~' => clean.push(char::from(byte)),
            other => clean.push_str(&format!("\\x{other:02x}")),
        }
    }
    clean.truncate(APPLICATION_NAME_BYTES);
    clean.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_postgres_does() {
        assert_eq!(&*clean_name("psql"), "psql");
        assert_eq!(&*clean_name("café"), "caf\\xc3\\xa9");
        assert_eq!(clean_name(&"x".repeat(100)).len(), 63);
    }

    #[test]
    fn the_application_stands_apart() {
        let parameters = [
            ("Application_Name".to_owned(), "a".to_owned()),
            ("DateStyle".to_owned(), "ISO".to_owned()),
            ("server_version".to_owned(), "1".to_owned()),
        ];
        let (application, others) = split(&parameters);
        assert_eq!(application.as_deref(), Some("a"));
        assert_eq!(others.len(), 1);
    }
}
