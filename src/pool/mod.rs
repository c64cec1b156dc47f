//! Who may have a server, and when.

pub mod compat;
pub mod dedicated;
pub mod grow;
pub mod handle;
mod hidden;
pub mod limits;
pub mod maintain;
pub mod numbers;
pub mod pools;
pub mod roster;
pub mod rules;
pub mod shared;
pub mod slots;
pub mod sweep;
pub mod wear;

#[cfg(test)]
mod slots_tests;
