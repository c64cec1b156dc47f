//! Moving one transaction's bytes: requests to the server, replies to the client.
//!
//! Everything here works on slices of a worker's read buffer and does no I/O of its own but
//! [`buffers::poll_input`].

mod abroad;
pub mod buffers;
mod lending;
pub mod local;
pub mod names;
mod permission;
mod position;
pub mod prepared;
mod preparing;
pub mod replies;
pub mod requests;
mod restoring;
pub mod retrying;
mod tagged;
mod unnamed;
mod watch;

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod local_tests;
#[cfg(test)]
mod replies_tests;
#[cfg(test)]
mod requests_tests;
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(dead_code))]
pub(crate) mod rig;
#[cfg(test)]
mod tagged_tests;
