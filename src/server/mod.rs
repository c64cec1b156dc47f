//! One connection to Postgres: what it owes us, what it knows, how it is opened, reset, cancelled.

pub mod cancel;
pub mod connection;
pub mod derive;
pub mod dial;
pub mod effects;
mod entry;
pub mod exec;
pub mod explain;
mod gate;
pub mod hidden;
pub mod inventory;
pub mod kept;
pub mod login;
pub mod owed;
pub mod parameters;
pub mod request;
pub mod sequences;
pub mod sql_prepared;
mod stage;
pub mod statement;
mod undo;
pub mod what_if;

#[cfg(test)]
mod owed_model;
#[cfg(test)]
mod owed_tests;
#[cfg(test)]
mod timing_tests;
