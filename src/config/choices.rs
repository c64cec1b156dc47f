//! What a setting can be, where that is one of a few words.

use super::kind::Word;

/// When a server goes back to its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// After each transaction.
    Transaction,
    /// When its client leaves.
    Session,
    /// After each statement; a transaction of several ends the client's session.
    Statement,
}

/// May a client keep its server for state that no other server has?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinPolicy {
    /// Yes, as long as the state lasts.
    Allow,
    /// No: what makes such state is an error.
    Reject,
}

/// What becomes of a text whose effects on the session cannot be read?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// It runs, and Postgres is asked what it left.
    Allow,
    /// It runs, and its client keeps the server until `DISCARD ALL`.
    Pin,
    /// It is an error.
    Reject,
}

/// When a server gets `DISCARD ALL` before its next client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerReset {
    /// Where something may be left that cannot be read.
    Auto,
    /// Always.
    Always,
    /// Never, but for what is known to be left.
    Never,
}

/// How clients prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthType {
    /// Not at all.
    Trust,
    /// By the password in clear.
    Plain,
    /// By Postgres' old challenge.
    Md5,
    /// By SCRAM (RFC 7677).
    ScramSha256,
    /// By logging in to Postgres with the password in clear.
    Passthrough,
    /// By a certificate whose common name is the user.
    Cert,
    /// By the system user that runs the client.
    Peer,
    /// By a token that somebody known has signed.
    OAuth,
    /// As the rules of a file say.
    Hba,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs: one JSON object a line.
    Json,
}

impl AuthType {
    /// The word for it in the configuration.
    pub fn as_str(self) -> &'static str {
        self.word()
    }
}

impl Word for PoolMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("transaction", Self::Transaction),
        ("session", Self::Session),
        ("statement", Self::Statement),
    ];
}

impl Word for PinPolicy {
    const WORDS: &'static [(&'static str, Self)] =
        &[("allow", Self::Allow), ("reject", Self::Reject)];
}

impl Word for Unreadable {
    const WORDS: &'static [(&'static str, Self)] =
        &[("allow", Self::Allow), ("pin", Self::Pin), ("reject", Self::Reject)];
}

impl Word for ServerReset {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("always", Self::Always), ("never", Self::Never)];
}

impl Word for AuthType {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("trust", Self::Trust),
        ("plain", Self::Plain),
        ("md5", Self::Md5),
        ("scram-sha-256", Self::ScramSha256),
        ("passthrough", Self::Passthrough),
        ("cert", Self::Cert),
        ("peer", Self::Peer),
        ("oauth", Self::OAuth),
        ("hba", Self::Hba),
    ];
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

#[cfg(test)]
#[path = "choices_tests.rs"]
mod tests;
