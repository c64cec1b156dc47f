//! Counting and timing: recorded by each worker for itself, merged when somebody looks.

pub mod meter;
pub mod spread;
pub mod totals;
