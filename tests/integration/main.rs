//! The real pooler before a real Postgres, one file per behaviour; the tools they share are in `support`.

// `allow-unwrap-in-tests` does not reach helper functions.
#![allow(clippy::unwrap_used)]

mod cancel;
mod eviction;
mod login;
mod pipeline;
mod prepared;
mod startup;
mod support;
mod transaction;
