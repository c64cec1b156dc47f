//! One client: login, session, end.

mod active;
pub mod admission;
mod again;
pub mod alike;
pub mod bearer;
pub mod context;
pub mod credentials;
pub mod explain;
mod farewell;
pub mod handshake;
mod held;
pub mod key;
pub mod logins;
pub mod look;
pub mod opening;
pub mod overdue;
pub mod proofs;
pub mod record;
pub mod replication;
pub mod report;
pub mod session;
mod stock;
pub mod timing;
mod unfit;
pub mod welcome;
pub mod wrong_keys;
