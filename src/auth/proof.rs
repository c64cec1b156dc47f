//! The proof that a client is who it says; only `auth` can make one.

/// A client whose name has been proven. Holding one is the permission to open that user's session.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Authenticated {
    user: Box<str>,
    method: Method,
}

/// How a client's name was proven: for logs and counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Nothing was asked: the configuration trusts the client.
    Trust,
    /// The password in clear, compared here.
    Plain,
    /// An answer to an MD5 challenge.
    Md5,
    /// SCRAM-SHA-256.
    Scram,
    /// A certificate of a CA that the configuration names.
    Certificate,
    /// The system user, as the kernel says.
    Peer,
    /// A token that somebody known has signed.
    Token,
    /// The password in clear, with which Postgres let us log in a moment ago.
    ServerLogin,
    /// The password in clear, the same with which Postgres let us log in before.
    Remembered,
}

impl Authenticated {
    pub(super) fn new(user: &str, method: Method) -> Self {
        Self { user: user.into(), method }
    }

    /// For `auth_type = trust`: nothing is proven, and the caller says that this is wanted.
    pub fn by_trust(user: &str) -> Self {
        Self::new(user, Method::Trust)
    }

    /// For `auth_type = passthrough`: the caller has just logged in to Postgres as `user` with the password of
    /// this very client.
    pub fn by_server_login(user: &str) -> Self {
        Self::new(user, Method::ServerLogin)
    }

    /// For the method `cert`: the caller has seen that TLS proved the certificate, and whose it is.
    pub fn by_certificate(user: &str) -> Self {
        Self::new(user, Method::Certificate)
    }

    /// For the method `peer`: the caller has asked the kernel whose process it is.
    pub fn by_peer(user: &str) -> Self {
        Self::new(user, Method::Peer)
    }

    /// For the method `oauth`: the caller has seen whom the token was issued to, and that he may log in as `user`.
    pub fn by_token(user: &str) -> Self {
        Self::new(user, Method::Token)
    }

    /// The proven name.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// How it was proven.
    pub fn method(&self) -> Method {
        self.method
    }
}
