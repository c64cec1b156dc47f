//! What must hold for any bytes a stranger sends: one check for each place where such bytes are read. Built for tests
//! and for fuzzers (`--cfg fuzzing`) only; never part of the program.
//!
//! `fuzz/` has one target for each check, and the seeds they start from. The unit tests try the same seeds, and a
//! fixed number of mutations of each.

mod bytes;
mod config;
mod hba;
mod login;
mod oauth;
mod relay;
mod sql;
mod tags;
#[cfg(test)]
mod tests;
mod wire;

/// A check: it panics where an invariant is broken.
pub type Check = fn(&[u8]);

/// Every check, by the name of its fuzz target and of its folder of seeds.
pub const CHECKS: &[(&str, Check)] = &[
    ("startup", login::startup),
    ("scram_client", login::scram_client),
    ("scram_server", login::scram_server),
    ("oauth", oauth::oauth),
    ("secret", login::secret),
    ("backend", wire::backend),
    ("frontend", wire::frontend),
    ("requests", relay::requests),
    ("local", relay::local),
    ("replies", relay::replies),
    ("sql", sql::sql),
    ("tags", tags::tags),
    ("config", config::config),
    ("userlist", config::userlist),
    ("hba", hba::hba),
];

/// Runs the check of this name; a target calls it with each input.
///
/// # Panics
/// When there is none of this name, and where the check's invariant is broken.
pub fn run(name: &str, input: &[u8]) {
    let check = CHECKS.iter().find(|(known, _)| *known == name).map(|(_, check)| check);
    check.expect("a check of this name")(input);
}
