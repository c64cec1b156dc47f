//! Counting and timing: recorded by each worker for itself, merged when somebody looks.

mod advice;
pub mod findings;
pub mod idle;
pub mod insight;
mod known;
pub mod ledger;
pub mod meter;
pub mod queries;
pub mod record;
pub mod routes;
pub mod said;
pub mod samples;
pub mod series;
pub mod slow;
pub mod spans;
pub mod spread;
pub mod sums;
pub mod totals;
pub mod units;
pub mod values;
pub mod veil;
pub mod window;
mod work;
