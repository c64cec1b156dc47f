//! What a user that does not exist is checked against, so that nobody learns which names exist.
//!
//! After `mock_scram_secret` (`src/backend/libpq/auth-scram.c`) and `CheckPWChallengeAuth`
//! (`src/backend/libpq/auth.c`): the exchange takes the same steps and the same time, and always fails.

use std::sync::Arc;

use parking_lot::RwLock;

use super::mac::ProcessKey;
use super::md5::Md5Secret;
use super::scram::{DEFAULT_ITERATIONS, ScramParams, ScramSecret};
use super::secret_bytes::SecretBytes;
use super::{PlainText, Secret, SecretKind};

/// Length in bytes of the salts we make: Postgres' `SCRAM_DEFAULT_SALT_LEN`, so that ours do not stand out.
const SALT_LEN: usize = 16;

/// Makes secrets for users that do not exist. One per process, shared by all workers: a user's salt must be
/// the same whoever is asked.
#[derive(Clone)]
pub struct Decoy {
    key: ProcessKey,
    kind: Arc<RwLock<SecretKind>>,
}

impl Decoy {
    /// `kind` is what unknown users pretend to have: take what most known users have.
    pub fn new(kind: SecretKind) -> Self {
        Self { key: ProcessKey::random(), kind: Arc::new(RwLock::new(kind)) }
    }

    /// From now on, unknown users pretend to have secrets of this kind. Salts stay.
    pub fn pretend(&self, kind: SecretKind) {
        *self.kind.write() = kind;
    }

    /// The kind of a user's secret, or of what stands in for it: `auth_type = md5` asks users for SCRAM who
    /// have a SCRAM secret, and must then ask unknown users for what the others are asked.
    pub fn kind_of(&self, secret: Option<&Secret>) -> SecretKind {
        secret.map_or_else(|| *self.kind.read(), Secret::kind)
    }

    /// Salt and iteration count of users who have no SCRAM secret of their own: those that do not exist, and
    /// those whose password we keep in clear. Being the same source, it does not tell the two apart; being
    /// made from the name, the salt does not change when the same name asks again.
    pub(super) fn params(&self, user: &str) -> ScramParams {
        let tag = self.key.tag(&[user.as_bytes()]);
        let salt = &tag.expose()[..SALT_LEN];
        ScramParams::new(salt, DEFAULT_ITERATIONS).expect("both are constants within the limits")
    }

    /// A SCRAM secret that no password fits: its keys are random, not derived.
    pub(super) fn scram_secret(&self, user: &str) -> ScramSecret {
        ScramSecret::new(self.params(user), SecretBytes::random(), SecretBytes::random())
    }

    /// An MD5 secret that no password fits.
    pub(super) fn md5_secret(&self) -> Md5Secret {
        Md5Secret::random()
    }

    /// A secret of the pretended kind that no password fits.
    pub(super) fn secret(&self, user: &str) -> Secret {
        match self.kind_of(None) {
            SecretKind::Plain => Secret::Plain(PlainText::new(SecretBytes::random().expose())),
            SecretKind::Md5 => Secret::Md5(self.md5_secret()),
            SecretKind::Scram => Secret::Scram(Arc::new(self.scram_secret(user))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_salt_and_names_do_not_share_one() {
        let decoy = Decoy::new(SecretKind::Scram);
        assert_eq!(decoy.params("alice"), decoy.clone().params("alice"));
        assert_ne!(decoy.params("alice"), decoy.params("bob"));
        assert_ne!(decoy.params("alice"), Decoy::new(SecretKind::Scram).params("alice"));
    }

    #[test]
    fn salt_and_iterations_look_like_those_of_postgres() {
        let params = Decoy::new(SecretKind::Scram).params("alice");
        assert_eq!((params.salt().len(), params.iterations()), (16, 4096));
    }

    #[test]
    fn the_stand_in_has_the_pretended_kind_and_known_users_keep_theirs() {
        for kind in [SecretKind::Plain, SecretKind::Md5, SecretKind::Scram] {
            let decoy = Decoy::new(kind);
            assert_eq!(decoy.secret("alice").kind(), kind);
            assert_eq!(decoy.kind_of(None), kind);
            decoy.pretend(SecretKind::Md5);
            assert_eq!(decoy.secret("alice").kind(), SecretKind::Md5);
        }
        let known = Secret::parse("hunter2").unwrap();
        assert_eq!(Decoy::new(SecretKind::Scram).kind_of(Some(&known)), SecretKind::Plain);
    }
}
