//! One client: login, session, end.

mod active;
pub mod admission;
pub mod context;
pub mod credentials;
pub mod handshake;
mod held;
pub mod key;
pub mod logins;
pub mod look;
pub mod opening;
pub mod overdue;
pub mod record;
pub mod replication;
pub mod report;
pub mod session;
mod stock;
pub mod timing;
pub mod welcome;
pub mod wrong_keys;
