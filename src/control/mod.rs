//! What runs beside the query path, on the main thread: asking the workers for numbers, keeping
//! their recent history, probing Postgres. Shows nothing to anybody: that is left to `admin`.

pub mod accounts;
pub mod census;
pub mod explain;
pub mod explained;
pub mod health;
pub mod history;
pub mod plans;
pub mod postgres;
pub mod probe;
mod question;
pub mod refused;
