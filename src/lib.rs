//! A transaction-mode Postgres connection pooler: the map of the crate.
//!
//! Imports go down only; `tests/tidy.rs` holds the table of layers.

pub mod auth;
pub mod cli;
pub mod config;
pub mod net;
pub mod pool;
pub mod protocol;
pub mod relay;
pub mod server;
pub mod stats;
