//! An issuer of tokens, and a pooler that believes it.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

use super::scenario::Scenario;

pub(crate) const ISSUER: &str = "https://id.example.com/realms/shop";

/// Who signs tokens.
pub(crate) struct Issuer {
    pair: EcdsaKeyPair,
    kid: &'static str,
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    pub(crate) fn new(kid: &'static str) -> Issuer {
        let (how, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(how, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(how, document.as_ref(), &random).unwrap();
        Issuer { pair, kid }
    }

    fn public(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (base64(x), base64(y));
        json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": self.kid, "use": "sig" })
    }

    /// A token for `app` with these claims instead of the usual ones.
    pub(crate) fn token(&self, other: Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({
            "iss": ISSUER, "sub": "app", "aud": "db", "scope": "openid db", "exp": now + 600
        });
        claims.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": self.kid });
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", base64(signature))
    }

    /// Writes the public keys of these issuers to a file.
    pub(crate) fn publish(file: &Path, issuers: &[&Issuer]) {
        let keys: Vec<_> = issuers.iter().map(|issuer| issuer.public()).collect();
        std::fs::write(file, json!({ "keys": keys }).to_string()).unwrap();
    }
}

/// A scenario that asks for tokens of these issuers.
pub(crate) fn asking_for_tokens(issuers: &[&Issuer]) -> (Scenario, PathBuf) {
    let scenario = Scenario::new();
    let file = scenario.cluster().folder().join(format!("keys_{}.json", scenario.database()));
    Issuer::publish(&file, issuers);
    let scenario = scenario
        .set("auth.auth_type", "oauth")
        .set("oauth.issuer", ISSUER)
        .set("oauth.jwks_file", file.to_str().unwrap())
        .set("oauth.audience", "db")
        .set("oauth.scope", "openid db");
    (scenario, file)
}
