//! A server for one client alone, from its login to its end: a replication connection. It never joins the
//! pool, but takes its place within the limits that are Postgres' (`max_db_connections`,
//! `max_user_connections`).

use std::sync::Arc;
use std::time::Instant;

use tokio::time::timeout;
use tracing::debug;

use super::grow::LONGEST_CONNECT;
use super::limits::Place;
use super::numbers::Need;
use super::roster::{Listed, ServerFacts};
use super::shared::{OpenFailure, Pool, Reported};
use crate::server::connection::ServerConnection;
use crate::server::login::{self, ConnectError, Opened, Target};

/// Such a server. Dropping it closes the connection.
#[derive(Debug)]
pub struct DedicatedServer {
    /// The connection.
    pub connection: Box<ServerConnection>,
    /// The settings it reported, in its order.
    pub reported: Reported,
    room: Room,
    _listed: Listed,
}

/// Places within the limits; what waits for them hears when they are free.
#[derive(Debug)]
struct Room {
    pool: Arc<Pool>,
    places: Option<[Place; 2]>,
    worker: usize,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum DedicatedError {
    /// `max_db_connections` or `max_user_connections` is reached, and no idle server can go for it.
    #[error("max_db_connections or max_user_connections")]
    Full,
    /// Postgres cannot be reached, or refuses.
    #[error(transparent)]
    Open(#[from] OpenFailure),
}

impl DedicatedServer {
    /// Its pool.
    #[must_use]
    pub fn pool(&self) -> &Arc<Pool> {
        &self.room.pool
    }
}

impl Pool {
    /// Opens a server for one client alone, with these startup parameters; or takes the one that its login
    /// has `opened` with them already. Cancel safe: dropping it closes the connection.
    ///
    /// # Errors
    /// As [`DedicatedError`] says.
    pub async fn dedicate(
        self: &Arc<Self>,
        startup: Vec<(Box<str>, Box<str>)>,
        opened: Option<Opened>,
        worker: usize,
    ) -> Result<DedicatedServer, DedicatedError> {
        let room = self.room(worker).ok_or(DedicatedError::Full)?;
        let opened = match opened {
            Some(opened) => opened,
            None => self.open_dedicated(startup, worker).await.map_err(Arc::new)?,
        };
        let Opened { connection, reported, .. } = opened;
        debug!(
            database = %self.key.database, user = %self.key.user,
            server = connection.id, pid = connection.key.pid,
            "opened a server for one client"
        );
        let listed = self.roster.add(ServerFacts {
            id: connection.id,
            pid: connection.key.pid,
            address: connection.key.address.clone(),
            opened_at: connection.opened_at,
        });
        Ok(DedicatedServer { connection, reported, room, _listed: listed })
    }

    fn room(self: &Arc<Self>, worker: usize) -> Option<Room> {
        loop {
            if let Some(places) = self.places(Need::Client) {
                let places = Some(places);
                return Some(Room { pool: Arc::clone(self), places, worker });
            }
            if !self.give_up_idle() {
                return None;
            }
        }
    }

    async fn open_dedicated(
        &self,
        startup: Vec<(Box<str>, Box<str>)>,
        worker: usize,
    ) -> Result<Opened, ConnectError> {
        let plan = self.plan();
        let target = Target { startup, ..plan.target.clone() };
        let none = self.interner.none();
        let limit = plan.connect_timeout.unwrap_or(LONGEST_CONNECT);
        let opening = Box::pin(login::open(&target, self.logins(), &none, worker));
        timeout(limit, opening).await.map_err(|_| ConnectError::Timeout)?
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        drop(self.places.take());
        self.pool.room_was_made(self.worker, Instant::now());
    }
}
