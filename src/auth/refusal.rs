//! Why a login was refused, and what of it the client may hear; texts and SQLSTATEs are the caller's.

/// Why a user was refused. The text is for the log only: it would tell a stranger which names exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such user: the exchange ran against a mock secret.
    #[error("the user is unknown")]
    UnknownUser,
    /// The secret is of a kind that this method cannot use: the exchange ran against a mock secret.
    #[error("the user's secret cannot be used with this method")]
    UnsuitableSecret,
    /// The client sent an empty password.
    #[error("the client sent an empty password")]
    EmptyPassword,
    /// The password, or the proof of it, does not match.
    #[error("the password does not match")]
    WrongPassword,
}

/// What a refused client may be told; everything else stays in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientHears {
    /// Postgres' `password authentication failed for user`, for every reason that depends on the user.
    PasswordFailed,
    /// Postgres' `empty password returned by client`: the client's own doing, so it tells nothing.
    EmptyPassword,
    /// The client broke the rules of the exchange as named.
    ProtocolViolation(&'static str),
    /// What the client asks for is not there.
    Unsupported(&'static str),
    /// The token is not taken, for every reason.
    TokenFailed,
    /// We could not log in to Postgres; why is between us and it.
    ServerLoginFailed,
}

impl Refusal {
    /// What the client may be told.
    pub fn client_hears(self) -> ClientHears {
        match self {
            Self::EmptyPassword => ClientHears::EmptyPassword,
            Self::UnknownUser | Self::UnsuitableSecret | Self::WrongPassword => {
                ClientHears::PasswordFailed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_that_depends_on_the_user_sounds_the_same() {
        let reasons = [Refusal::UnknownUser, Refusal::UnsuitableSecret, Refusal::WrongPassword];
        assert!(reasons.iter().all(|reason| reason.client_hears() == ClientHears::PasswordFailed));
    }
}
