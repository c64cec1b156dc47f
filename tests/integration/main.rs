//! The real pooler before a real Postgres, one file per behaviour; the tools they share are in `support`.

// `allow-unwrap-in-tests` does not reach helper functions.
#![allow(clippy::unwrap_used)]

mod access;
mod admin;
mod auth_query;
mod cancel;
mod cancel_ours;
mod changed_results;
mod client_death;
mod copy;
mod cve;
mod differential;
mod differential_session;
mod eviction;
mod explain;
mod floods;
mod hba;
mod health;
mod held;
mod hidden_state;
mod hostile_server;
mod insight;
mod isolation;
mod large;
mod limits;
mod login;
mod memory;
mod named_in_sql;
mod nonce;
mod oauth;
mod openapi;
mod otel;
mod pins;
mod pipeline;
mod prepared;
mod program;
mod queries;
mod reload;
mod replication;
mod schemas;
mod sequences;
mod session;
mod shutdown;
mod sql_prepare;
mod startup;
mod strip_comments;
mod support;
mod timeouts;
mod tls_clients;
mod tls_direct;
mod tls_servers;
mod top;
mod transaction;
mod values;
