//! The words of `[tls]`, and which of its keys need which. To read the files is left to others.

use super::fault::Conflict;
use super::kind::Word;
use super::settings::{Database, Tls};

/// How much TLS there is, from libpq.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// None.
    Disable,
    /// If the other side insists.
    Allow,
    /// If the other side can.
    Prefer,
    /// Always, with anybody.
    Require,
    /// Always, with who shows a certificate of a known issuer.
    VerifyCa,
    /// The same, if the certificate names the peer.
    VerifyFull,
}

/// Which versions of TLS are spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsProtocols {
    /// 1.2 and 1.3.
    Secure,
    /// 1.3 only.
    Tls13,
}

/// How TLS begins, from libpq.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslNegotiation {
    /// Postgres is asked first whether it speaks TLS.
    Postgres,
    /// At once, which PostgreSQL 17 and later understand: a round trip less.
    Direct,
}

/// How servers are connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerTls {
    /// How much TLS there is.
    pub mode: SslMode,
    /// How it begins.
    pub negotiation: SslNegotiation,
}

impl ServerTls {
    /// So much TLS, after Postgres was asked for it.
    #[must_use]
    pub fn asking(mode: SslMode) -> Self {
        Self { mode, negotiation: SslNegotiation::Postgres }
    }
}

impl SslMode {
    /// Does it look at the other side's certificate?
    #[must_use]
    pub fn verifies(self) -> bool {
        self >= Self::VerifyCa
    }

    /// Does nothing go without TLS?
    #[must_use]
    pub fn requires(self) -> bool {
        self >= Self::Require
    }
}

impl Word for SslMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];
}

impl Word for SslNegotiation {
    const WORDS: &'static [(&'static str, Self)] =
        &[("postgres", Self::Postgres), ("direct", Self::Direct)];
}

impl Word for TlsProtocols {
    const WORDS: &'static [(&'static str, Self)] =
        &[("secure", Self::Secure), ("tlsv1.3", Self::Tls13)];
}

impl Tls {
    /// What is missing beside what is set, each with the keys of `[tls]` that it is about.
    pub(super) fn conflicts(&self) -> Vec<(Conflict, [&'static str; 2])> {
        let mut found = Vec::new();
        let mode = self.client_tls_sslmode;
        let pair = self.client_tls_cert_file.is_some() && self.client_tls_key_file.is_some();
        if mode != SslMode::Disable && !pair {
            let missing = if self.client_tls_cert_file.is_none() {
                "client_tls_cert_file"
            } else {
                "client_tls_key_file"
            };
            found.push((Conflict::TlsNeeds(missing), ["client_tls_sslmode", missing]));
        }
        if mode.verifies() && self.client_tls_ca_file.is_none() {
            let missing = "client_tls_ca_file";
            found.push((Conflict::TlsNeeds(missing), ["client_tls_sslmode", missing]));
        }
        if self.server_tls_sslmode.verifies() && self.server_tls_ca_file.is_none() {
            let missing = "server_tls_ca_file";
            found.push((Conflict::TlsNeeds(missing), ["server_tls_sslmode", missing]));
        }
        if self.server_tls_negotiation == SslNegotiation::Direct
            && !self.server_tls_sslmode.requires()
        {
            let keys = ["server_tls_negotiation", "server_tls_sslmode"];
            found.push((Conflict::WeakForDirect, keys));
        }
        let server = (&self.server_tls_cert_file, &self.server_tls_key_file);
        let admin = (&self.admin_tls_cert_file, &self.admin_tls_key_file);
        for ([cert, key], files) in [
            (["server_tls_cert_file", "server_tls_key_file"], server),
            (["admin_tls_cert_file", "admin_tls_key_file"], admin),
        ] {
            match files {
                (Some(_), None) => found.push((Conflict::TlsNeeds(key), [cert, key])),
                (None, Some(_)) => found.push((Conflict::TlsNeeds(cert), [key, cert])),
                (Some(_), Some(_)) | (None, None) => {}
            }
        }
        found
    }

    /// How a database's servers are connected to.
    #[must_use]
    pub fn servers(&self, database: &Database) -> ServerTls {
        let negotiation = database.server_tls_negotiation.unwrap_or(self.server_tls_negotiation);
        let mode = database.server_tls_sslmode.unwrap_or(self.server_tls_sslmode);
        ServerTls { mode, negotiation }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_and_modes_grow_stricter() {
        for (word, mode) in SslMode::WORDS {
            assert_eq!(mode.word(), *word);
        }
        for (word, negotiation) in SslNegotiation::WORDS {
            assert_eq!(negotiation.word(), *word);
        }
        for (word, protocols) in TlsProtocols::WORDS {
            assert_eq!(protocols.word(), *word);
        }
        assert!(SslMode::WORDS.is_sorted_by_key(|(_, mode)| *mode));
        assert!(SslMode::Require.requires() && !SslMode::Prefer.requires());
        assert!(SslMode::VerifyCa.verifies() && !SslMode::Require.verifies());
    }
}
