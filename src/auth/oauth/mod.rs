//! `OAUTHBEARER` (RFC 7628) as PostgreSQL 18 speaks it: what a client says, the token in it, and what it hears that has
//! none. Who is asked and over what is the caller's.
//!
//! - [`message`] reads what a client sends.
//! - [`token`] finds out whom a token was issued to, by the issuer's signature and the rules of the configuration.
//! - `signature` gives `jsonwebtoken` the checks of `ring`, which TLS brings along anyway.

pub mod message;
mod signature;
#[cfg(test)]
pub(super) mod signing;
pub mod token;

use crate::config::TokenRules;

/// The mechanism's name.
pub const MECHANISM: &str = "OAUTHBEARER";

/// What a client hears whose token is not taken, or that has none: where it finds one (RFC 7628, 3.2.2). The words are
/// Postgres' (`generate_error_response`, src/backend/libpq/auth-oauth.c).
#[must_use]
pub fn refusal(rules: &TokenRules) -> String {
    // Nothing in either needs escaping: the configuration has seen to that.
    let (discovery, scope) = (rules.discovery(), rules.scope.join(" "));
    format!(
        "{{ \"status\": \"invalid_token\", \"openid-configuration\": \"{discovery}\", \"scope\": \"{scope}\" }}"
    )
}
