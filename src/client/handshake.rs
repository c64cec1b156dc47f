//! From an accepted socket to a session: first packets, login, limits, welcome.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::bearer::BearerError;
use super::context::{Command, Shared, WorkerContext};
use super::credentials::{Asking, Channel, CredentialError, Learnt};
use super::farewell::FAREWELL;
use super::key::{SecretLength, Whereabouts};
use super::logins::LoginPlace;
use super::opening::{Opening, OpeningError};
use super::record::{ClientRecord, Identity};
use super::replication::{ReplicationSession, startup_parameters};
use super::report::{Denial, Report};
use super::session::{Session, SessionParts};
use super::welcome::{APPLICATION_NAME, Greeting, WelcomeError, greet};
use crate::net::address::ClientAddress;
use crate::net::framed::{MessageReader, ReadError};
use crate::net::stream::Stream;
use crate::net::tls::session::{HandshakeError, TlsSession};
use crate::pool::dedicated::{DedicatedError, DedicatedServer};
use crate::pool::handle::PoolHandle;
use crate::pool::limits::Place;
use crate::pool::shared::{Plan, PoolKey};
use crate::protocol::backend::{
    TransactionStatus, write_authentication, write_backend_key, write_negotiate_version,
    write_parameter_status, write_ready,
};
use crate::protocol::startup::{FirstPacket, PROTOCOL_3_0, PROTOCOL_3_2, Startup};
use crate::server::login::Opened;
use crate::server::parameters::Settings;
use crate::stats::meter::count_error;

/// When the program ends, a connection has so long for its first packet: it may be a cancel request
/// on its way, or a monitor's connection that will never say anything.
const FIRST_WORDS: Duration = Duration::from_secs(1);

/// The longest name in bytes that the log tells of a login that was refused.
const MAX_TOLD: usize = 64;

/// The places a client takes within the limits.
pub type ClientPlaces = [Place; 3];

/// Why a login came to nothing.
#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Opening(#[from] OpeningError),
    #[error("{0}")]
    Credentials(#[from] CredentialError),
    #[error("no such database")]
    NoDatabase,
    #[error("{0}")]
    TooMany(&'static str),
    #[error("{0}")]
    Welcome(#[from] WelcomeError),
    #[error("{0}")]
    Dedicated(#[from] DedicatedError),
    #[error("client_login_timeout")]
    Timeout,
    #[error("the pooler is shutting down")]
    Shutdown,
}

/// What a login leads to. Boxed, because a future that passes a value on keeps room for it at every step.
enum Served {
    /// Servers that all clients of the pool share.
    Shared(Box<Session>),
    /// A server for this client alone.
    Dedicated(Box<ReplicationSession>),
}

/// A connection at its beginning.
struct Handshake {
    stream: Stream,
    reader: MessageReader,
    address: ClientAddress,
    /// Held until the client has proven who it is.
    place: Option<LoginPlace>,
    context: Rc<WorkerContext>,
}

/// Serves one connection to its end.
pub async fn serve(
    stream: Stream,
    from: (ClientAddress, Option<LoginPlace>),
    context: Rc<WorkerContext>,
) {
    // Boxed, so that an idle session does not carry the login's memory.
    match Box::pin(log_in(stream, from, context)).await {
        Some(Served::Shared(session)) => session.run().await,
        Some(Served::Dedicated(session)) => Box::pin(session.run()).await,
        None => {}
    }
}

async fn log_in(
    stream: Stream,
    (address, place): (ClientAddress, Option<LoginPlace>),
    context: Rc<WorkerContext>,
) -> Option<Served> {
    let config = context.shared.pools.config();
    let mut handshake = Handshake {
        stream,
        reader: MessageReader::default(),
        address,
        place,
        context: Rc::clone(&context),
    };
    context.logging_in.set(context.logging_in.get() + 1);
    let limit = config.timeouts.client_login_timeout.unwrap_or(Duration::MAX);
    let mut who = None;
    let outcome = match timeout(limit, handshake.run(&mut who)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(LoginError::Timeout),
    };
    context.logging_in.set(context.logging_in.get() - 1);
    match outcome {
        Ok(Some(parts)) => Some(handshake.begin(parts)),
        Ok(None) => None,
        Err(error) => {
            handshake.refuse(&error, who.as_ref()).await;
            None
        }
    }
}

/// While the program ends: a connection that has said nothing, or not enough, has had its time.
async fn silent_too_long(context: &WorkerContext) {
    context.drain_begun().await;
    sleep(FIRST_WORDS).await;
}

/// What the login has found out.
struct LoggedIn {
    record: ClientRecord,
    handle: Rc<PoolHandle>,
    servers: Servers,
    places: ClientPlaces,
    messages: Vec<u8>,
}

/// What a client that was let in is told, and what it gets.
struct Welcomed {
    servers: Servers,
    application: Box<str>,
    messages: Vec<u8>,
}

/// The servers of a client that was let in.
enum Servers {
    /// The pool's, which get these settings.
    Pool(Arc<Settings>),
    /// This one.
    Own(Box<DedicatedServer>),
}

impl Handshake {
    /// `None`: it was no login but a cancel request, or nothing.
    async fn run(&mut self, who: &mut Option<Startup>) -> Result<Option<LoggedIn>, LoginError> {
        let context = Rc::clone(&self.context);
        let tls = context.shared.pools.tls();
        let mut opening = Opening {
            stream: &mut self.stream,
            reader: &mut self.reader,
            address: self.address,
            acceptor: tls.acceptor(),
            signing: &context.signing,
        };
        let first = tokio::select! {
            biased;
            first = opening.first_packet() => first,
            () = silent_too_long(&context) => return Err(LoginError::Shutdown),
        };
        let first = match first {
            // Port scanners and load balancers' checks say nothing.
            Err(OpeningError::Read(ReadError::Closed)) => return Ok(None),
            other => other?,
        };
        let startup = match first {
            FirstPacket::CancelRequest { pid, secret } => {
                self.pass_cancel(pid, secret);
                return Ok(None);
            }
            FirstPacket::Startup(startup) => {
                let startup = &*who.insert(startup);
                opening.check()?;
                startup
            }
            FirstPacket::SslRequest | FirstPacket::GssEncRequest => {
                return Err(OpeningError::NotPostgres.into());
            }
        };
        if self.context.draining.get() {
            return Err(LoginError::Shutdown);
        }
        let channel = match (self.stream.tls(), tls.acceptor()) {
            (Some(_), Some(acceptor)) => Channel::Tls(acceptor.end_point().map(Box::from)),
            (_, _) => Channel::Clear,
        };
        self.log_in(&startup.clone(), channel).await.map(Some)
    }

    fn pass_cancel(&self, pid: u32, secret: Vec<u8>) {
        let Shared { workers, wrong_keys, .. } = &*self.context.shared;
        let from = self.address;
        if wrong_keys.is_over(from, Instant::now()) {
            return debug!(address = %from, "a cancel request after too many wrong keys");
        }
        match Whereabouts::from_pid(pid, workers.len()) {
            Some(at) => {
                let command = Command::Cancel { place: at.place, secret, from };
                // A worker that is gone has no clients to cancel.
                let _ = workers[at.worker].send(command);
            }
            None => wrong_keys.note(from, Instant::now()),
        }
    }

    /// Says which version is spoken, if it is not the one that was asked for.
    async fn negotiate(&mut self, startup: &Startup) -> io::Result<()> {
        let asked = PROTOCOL_3_0 | u32::from(startup.minor);
        if asked <= PROTOCOL_3_2 && startup.unknown_options.is_empty() {
            return Ok(());
        }
        let mut message = Vec::new();
        let newest = PROTOCOL_3_2.min(asked);
        write_negotiate_version(&mut message, newest, &startup.unknown_options);
        self.stream.write_all(&message).await
    }

    async fn log_in(
        &mut self,
        startup: &Startup,
        channel: Channel,
    ) -> Result<LoggedIn, LoginError> {
        let (context, shared) = (Rc::clone(&self.context), Arc::clone(&self.context.shared));
        self.negotiate(startup).await?;
        let config = shared.pools.config();
        let mut asking = Asking {
            stream: &mut self.stream,
            reader: &mut self.reader,
            startup,
            address: self.address,
            channel,
            shared: &shared,
            plan: plan(&shared, startup),
            learnt: Learnt::default(),
            worker: context.index,
            last_words: Vec::new(),
        };
        let _authenticated = asking.ask(&config).await?;
        // Who has proven nothing takes no place from those who can.
        let all = shared.pools.clients.take().ok_or(LoginError::TooMany("max_client_conn"))?;
        self.place = None;
        // Decided by what was configured when the client was asked, not by a reload since.
        if asking.plan.is_none() {
            return Err(LoginError::NoDatabase);
        }
        let Asking { learnt, last_words: mut messages, .. } = asking;
        let (handle, opened) = self.pool(startup, learnt)?;
        let database = handle.pool.database.clients.take();
        let user = shared.pools.login_user(&startup.user).clients.take();
        let places = [
            all,
            database.ok_or(LoginError::TooMany("max_db_client_connections"))?,
            user.ok_or(LoginError::TooMany("max_user_client_connections"))?,
        ];
        let welcome = welcome(&handle, startup, opened).await?;
        write_authentication(&mut messages, 0, &[]);
        messages.extend_from_slice(&welcome.messages);
        let who = Identity {
            id: shared.next_client(),
            address: self.address,
            names: context.alike.names(&startup.database, &startup.user),
            pool_place: handle.place,
            secret_length: if startup.minor >= 2 {
                SecretLength::Long
            } else {
                SecretLength::Short
            },
        };
        let record = ClientRecord::new(
            who,
            context.alike.timeouts(config.client_timeouts(&startup.database, &startup.user)),
            context.nanos(Instant::now()),
        );
        *record.application.borrow_mut() = welcome.application;
        Ok(LoggedIn { record, handle, servers: welcome.servers, places, messages })
    }

    /// The pool of a client that was let in, with what its login taught; and the server that it opened, if
    /// that is for the client alone.
    fn pool(
        &self,
        startup: &Startup,
        learnt: Learnt,
    ) -> Result<(Rc<PoolHandle>, Option<Opened>), LoginError> {
        let pools = &self.context.shared.pools;
        let pool = pools.pool(&startup.database, &startup.user).ok_or(LoginError::NoDatabase)?;
        if let Some(credential) = learnt.credential {
            pool.set_credential(credential);
        }
        let mut own = None;
        match (learnt.opened, startup.replication) {
            (Some((opened, _)), Some(_)) => own = Some(opened),
            (Some((opened, target)), None) => pool.offer(opened, &target, self.context.index),
            (None, _) => {}
        }
        Ok((self.context.handle(&pool), own))
    }

    /// The login is done: the client gets its key, and may ask.
    fn begin(self, done: LoggedIn) -> Served {
        let LoggedIn { record, handle, servers, places, mut messages } = done;
        let record = Rc::new(record);
        let shared = &self.context.shared;
        let place = self.context.clients.borrow_mut().insert(Rc::clone(&record));
        let at = Whereabouts { worker: self.context.index, place };
        let secret = shared.cancel_keys.secret(record.id);
        let pid = at.to_pid(shared.workers.len());
        write_backend_key(&mut messages, pid, &secret[..record.secret_length.bytes()]);
        write_ready(&mut messages, TransactionStatus::Idle);
        handle.meter.borrow_mut().logins += 1;
        if shared.pools.config().log.log_connections {
            let _span = record.span().entered();
            info!(tls = self.stream.tls().map(TlsSession::version), "logged in");
        }
        let parts = SessionParts {
            stream: self.stream,
            carry: self.reader.into_rest(),
            record,
            place,
            context: self.context,
            handle,
            places,
            first: messages,
        };
        match servers {
            Servers::Pool(settings) => Served::Shared(Box::new(Session::new(parts, settings))),
            Servers::Own(server) => {
                Served::Dedicated(Box::new(ReplicationSession::new(parts, *server)))
            }
        }
    }

    /// Tells the client why, as far as it may know, and the log the whole of it.
    async fn refuse(mut self, error: &LoginError, who: Option<&Startup>) {
        let (database, user) =
            who.map_or(("", ""), |startup| (startup.database.as_str(), startup.user.as_str()));
        let (told, name) = (within_log(database), within_log(user));
        info!(address = %self.address, database = told, user = name, reason = %error, "login refused");
        let mut message = Vec::new();
        match report(error, database, user) {
            Some(report) => {
                let code = report.write_fatal(&mut message);
                if !asks_for_token(error) {
                    count_error(&mut self.context.refused.borrow_mut(), Some(code));
                }
            }
            None if said_by_tls(error) => {}
            None => return,
        }
        let farewell = async {
            self.stream.write_all(&message).await?;
            poll_fn(|cx| self.stream.poll_shutdown(cx)).await?;
            poll_fn(|cx| self.stream.poll_end(cx)).await
        };
        // Whoever does not listen misses it.
        let _ = timeout(FAREWELL, farewell).await;
    }
}

/// Is it the first half of a login, which brings the token next time?
fn asks_for_token(error: &LoginError) -> bool {
    matches!(error, LoginError::Credentials(CredentialError::Bearer(BearerError::NoToken)))
}

/// Has an alert told the client?
fn said_by_tls(error: &LoginError) -> bool {
    matches!(error, LoginError::Opening(OpeningError::Tls(HandshakeError::Tls(_))))
}

/// As much of a name as the log needs: a stranger chooses it.
fn within_log(name: &str) -> &str {
    &name[..name.floor_char_boundary(MAX_TOLD)]
}

/// The pool a client asks for and how that is run, if there is such a database. What replication needs from
/// the first message on is said even to prove a password.
fn plan(shared: &Shared, startup: &Startup) -> Option<(PoolKey, Plan)> {
    let (key, mut plan) = shared.pools.plan(&startup.database, &startup.user)?;
    if let Some(kind) = startup.replication {
        plan.target.startup = startup_parameters(kind, startup);
    }
    Some((key, plan))
}

async fn welcome(
    handle: &Rc<PoolHandle>,
    startup: &Startup,
    opened: Option<Opened>,
) -> Result<Welcomed, LoginError> {
    let Some(kind) = startup.replication else {
        let Greeting { settings, application, messages } =
            greet(handle, &startup.parameters).await?;
        return Ok(Welcomed { servers: Servers::Pool(settings), application, messages });
    };
    let parameters = startup_parameters(kind, startup);
    let server = handle.pool.dedicate(parameters, opened, handle.worker).await?;
    let mut messages = Vec::with_capacity(512);
    let mut application = Box::default();
    for (name, value) in &server.reported {
        write_parameter_status(&mut messages, name, value);
        if **name == *APPLICATION_NAME {
            application = value.clone();
        }
    }
    Ok(Welcomed { servers: Servers::Own(Box::new(server)), application, messages })
}

/// `None`: there is nobody to tell.
fn report<'a>(error: &'a LoginError, database: &'a str, user: &'a str) -> Option<Report<'a>> {
    let denial = match error {
        LoginError::Read(ReadError::Closed | ReadError::Io(_)) | LoginError::Io(_) => return None,
        LoginError::Read(ReadError::Length(_) | ReadError::TooLong { .. }) => Denial::NotPostgres,
        LoginError::Opening(error) => return not_opened(error),
        LoginError::NoDatabase => Denial::NoDatabase(database),
        LoginError::TooMany(limit) => Denial::TooManyClients(limit),
        LoginError::Timeout => Denial::LoginTimeout,
        LoginError::Shutdown => return Some(Report::Shutdown),
        LoginError::Dedicated(DedicatedError::Full) => {
            Denial::TooManyClients("max_db_connections or max_user_connections")
        }
        LoginError::Welcome(WelcomeError::NoServer(failure))
        | LoginError::Dedicated(DedicatedError::Open(failure)) => {
            return Some(Report::NoServer(failure));
        }
        LoginError::Welcome(WelcomeError::Refused { code, message }) => {
            Denial::Setting { code: *code, message }
        }
        LoginError::Welcome(WelcomeError::Lost(_)) => return Some(Report::ServerGone),
        LoginError::Credentials(CredentialError::Admission(error)) => {
            Denial::NotAdmitted { error, user, database }
        }
        LoginError::Credentials(error) => return refused_credentials(error, user),
    };
    Some(Report::Login(denial))
}

fn not_opened(error: &OpeningError) -> Option<Report<'_>> {
    Some(Report::Login(match error {
        OpeningError::Read(ReadError::Closed | ReadError::Io(_)) | OpeningError::Io(_) => {
            return None;
        }
        // TLS has its own words for it, and they are said.
        OpeningError::Tls(_) | OpeningError::NoAlpn => return None,
        OpeningError::Read(ReadError::Length(_) | ReadError::TooLong { .. })
        | OpeningError::NotPostgres => Denial::NotPostgres,
        OpeningError::Startup(error) => Denial::Startup(error),
        OpeningError::BytesBehindRequest => Denial::BytesBehindRequest,
        OpeningError::TlsRequired => Denial::TlsRequired,
    }))
}

fn refused_credentials<'a>(error: &'a CredentialError, user: &'a str) -> Option<Report<'a>> {
    Some(Report::Login(match error {
        CredentialError::Read(ReadError::Closed | ReadError::Io(_)) | CredentialError::Io(_) => {
            return None;
        }
        // It has been told apart above, where the database is known.
        CredentialError::Admission(error) => Denial::NotAdmitted { error, user, database: "" },
        CredentialError::NoPassword(tag) => Denial::ExpectedPassword(*tag),
        CredentialError::Remote => Denial::PassthroughRemote,
        CredentialError::Bearer(BearerError::Remote) => Denial::TokenRemote,
        CredentialError::Unproven => Denial::PassthroughUnproven,
        CredentialError::Server(error) => return Some(Report::NoServer(error)),
        CredentialError::Read(ReadError::Length(_) | ReadError::TooLong { .. }) => {
            Denial::NotPostgres
        }
        CredentialError::Sasl
        | CredentialError::Scram(_)
        | CredentialError::Bearer(_)
        | CredentialError::Refused(_)
        | CredentialError::Lookup(_) => Denial::Credentials { hears: error.client_hears()?, user },
    }))
}
