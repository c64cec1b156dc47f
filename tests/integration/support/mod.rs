//! What every test stands on: a throwaway Postgres, the real pooler, a client that speaks raw frames.

// Shared by two test binaries; neither uses all of it.
#![allow(dead_code, unused_imports)]

mod admin;
mod batch;
mod certificates;
mod client;
mod collector;
mod config;
mod encrypted;
mod fake_server;
mod frame;
mod issuer;
mod login;
mod pooler;
mod postgres;
mod process;
mod reply;
mod scenario;
mod scram;
mod slow_line;
mod statements;
mod tokens;

pub(crate) use admin::{Admin, Http};
pub(crate) use batch::{Batch, query};
pub(crate) use certificates::{Age, Authority, Papers};
pub(crate) use client::{PATIENCE, RawClient, send_cancel};
pub(crate) use collector::{Collector, attribute};
pub(crate) use config::PoolerConfig;
pub(crate) use encrypted::{encrypted, speak_tls};
pub(crate) use fake_server::{FakeServer, FakeSession};
pub(crate) use frame::Frame;
pub(crate) use issuer::{ISSUER, Issuer, asking_for_tokens};
pub(crate) use login::{Login, Protocol};
pub(crate) use pooler::{Launch, Pooler, Signal, isolate, program};
pub(crate) use postgres::{
    Address, Cluster, Postgres, SUPERUSER, binary as postgres_program, has_pg_stat_statements,
};
pub(crate) use process::{TempDir, free_port, wait_for};
pub(crate) use reply::{Reply, ServerError};
pub(crate) use scenario::{Pair, Scenario, World};
pub(crate) use slow_line::SlowLine;
pub(crate) use statements::{Seen, fingerprint, seen_by_postgres};
pub(crate) use tokens::{Token, make_token, with_token};
