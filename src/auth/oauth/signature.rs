//! The signatures of tokens, checked by `ring`: what `jsonwebtoken` is given in place of a backend of its own, of which one
//! would bring a second library of cryptography and the other a compiler for it.

use jsonwebtoken::crypto::{CryptoProvider, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

/// How signatures are checked, and nothing else: the pooler makes no tokens.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |_, _| Err(unsupported()),
    verifier_factory: verifier,
    key_utils: KeyUtils {
        rsa_pub_components_from_private_key: |_| Err(unsupported()),
        rsa_pub_components_from_public_key: |_| Err(unsupported()),
        ec_pub_components_from_private_key: |_, _| Err(unsupported()),
        ed_pub_components_from_private_key: |_, _| Err(unsupported()),
        compute_digest: |_, _| Err(unsupported()),
    },
};

/// How a signature is checked: with which of `ring`'s parameters.
#[derive(Clone, Copy)]
enum How {
    Rsa(&'static RsaParameters),
    Bytes(&'static dyn VerificationAlgorithm),
}

struct RingVerifier {
    algorithm: Algorithm,
    how: How,
    key: DecodingKey,
}

/// Has `jsonwebtoken` check signatures so. It keeps the first answer for the process; there is no other.
pub(super) fn provide() {
    let _already = PROVIDER.install_default();
}

/// Only what nobody can make who can check it: `none` is no algorithm to `jsonwebtoken`, shared secrets none to us.
pub(super) fn is_asymmetric(algorithm: Algorithm) -> bool {
    how(algorithm).is_some()
}

fn how(algorithm: Algorithm) -> Option<How> {
    Some(match algorithm {
        Algorithm::RS256 => How::Rsa(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => How::Rsa(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => How::Rsa(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => How::Rsa(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => How::Rsa(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => How::Rsa(&RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => How::Bytes(&ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => How::Bytes(&ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => How::Bytes(&ED25519),
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 | _ => return None,
    })
}

fn unsupported() -> Error {
    ErrorKind::UnsupportedAlgorithm.into()
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    let algorithm = *algorithm;
    let how = how(algorithm).ok_or_else(unsupported)?;
    if key.family() != algorithm.family() || key.family() == AlgorithmFamily::Hmac {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    Ok(Box::new(RingVerifier { algorithm, how, key: key.clone() }))
}

impl Verifier<Vec<u8>> for RingVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        let checked = match (self.how, self.key.kind()) {
            (How::Rsa(parameters), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                // `ring` wants numbers without zeros in front, which some issuers write.
                let [n, e] = [n, e]
                    .map(|bytes| &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]);
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature)
            }
            (How::Bytes(algorithm), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(algorithm, key).verify(message, signature)
            }
            (How::Rsa(_), DecodingKeyKind::SecretOrDer(_))
            | (How::Bytes(_), DecodingKeyKind::RsaModulusExponent { .. }) => {
                return Err(signature::Error::new());
            }
        };
        checked.map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for RingVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
