//! Tokens for the HTTP API.

use std::process::Command;

use super::pooler::{isolate, program};
use super::scenario::Scenario;

/// A token and the lines of the configuration that let it in.
pub(crate) struct Token {
    pub(crate) token: String,
    pub(crate) hash: String,
}

/// As an operator makes one.
pub(crate) fn make_token(name: &str, role: &str) -> Token {
    let mut command = Command::new(program());
    isolate(&mut command);
    let made = command.args(["token", name, "--role", role]).output().unwrap();
    let (table, said) =
        (String::from_utf8(made.stdout).unwrap(), String::from_utf8(made.stderr).unwrap());
    let hash = table.lines().find_map(|line| line.strip_prefix("hash = ")).unwrap();
    let token = said.trim_end().rsplit(' ').next().unwrap();
    Token { token: token.to_owned(), hash: hash.trim_matches('"').to_owned() }
}

/// A configuration with a new token, and it.
pub(crate) fn with_token(scenario: Scenario, name: &str, role: &str) -> (Scenario, String) {
    let made = make_token(name, role);
    let scenario = scenario.set(&format!("tokens.{name}.role"), role);
    (scenario.set(&format!("tokens.{name}.hash"), made.hash), made.token)
}
