//! The keys that tokens are signed with, from a set of them in a file (RFC 7517). What is signed with them is `auth`'s.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, EllipticCurveKeyParameters, Jwk, KeyAlgorithm,
    KeyOperations, OctetKeyPairParameters, PublicKeyUse, RSAKeyParameters,
};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::fault::Problem;
use super::layers;

/// The largest file that is read.
const MAX_BYTES: u64 = 1024 * 1024;

/// More keys than any issuer has at once.
const MOST_KEYS: usize = 100;

/// What `ring` checks signatures with.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// What only private keys have, or what they share with the one who signs (RFC 7518, 6).
const PRIVATE: [&str; 3] = ["d", "k", "priv"];

/// What is wrong with a set of keys. None of it is quoted but names of keys.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeysProblem {
    /// It is something else.
    #[error("line {line}, column {column}: no set of keys (RFC 7517)")]
    NoSet {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// It has no list of keys.
    #[error("no set of keys (RFC 7517): it has no list named keys")]
    NoList,
    /// A key that does not fit its type.
    #[error("the key {0} is not what its type needs")]
    Malformed(String),
    /// A key that signs tokens too.
    #[error(
        "the key {0} is private or a shared secret: whoever has it can make tokens, so it does not belong here"
    )]
    Private(String),
    /// A key that is too weak, or too long to be worked with.
    #[error("the key {name} has {bits} bits, where RSA needs 2048 to 8192")]
    Bits {
        /// The key.
        name: String,
        /// Its length.
        bits: usize,
    },
    /// More keys than are looked through.
    #[error("more than {0} keys")]
    TooMany(usize),
    /// Nothing to check a signature with.
    #[error(
        "no key is for signatures by RS256, PS256, ES256 (each also with 384, RSA's with 512) or EdDSA with Ed25519"
    )]
    NoneOfUse,
}

/// The public keys of the file that signatures can be checked with. Those for something else are left out, as issuers
/// publish them in the same set.
pub(super) fn read(path: &Path) -> Result<Vec<Jwk>, Problem> {
    Ok(parse(&layers::read_text(path, MAX_BYTES)?)?)
}

fn parse(text: &str) -> Result<Vec<Jwk>, KeysProblem> {
    let set: Value = serde_json::from_str(text)
        .map_err(|error| KeysProblem::NoSet { line: error.line(), column: error.column() })?;
    let listed = set.get("keys").and_then(Value::as_array).ok_or(KeysProblem::NoList)?;
    if listed.len() > MOST_KEYS {
        return Err(KeysProblem::TooMany(MOST_KEYS));
    }
    let mut keys = Vec::new();
    for (index, value) in listed.iter().enumerate() {
        let name = name(index, value);
        if PRIVATE.iter().any(|part| value.get(part).is_some()) {
            return Err(KeysProblem::Private(name));
        }
        let key = Jwk::deserialize(value).map_err(|_| KeysProblem::Malformed(name.clone()))?;
        if is_for_signatures(&key) && fits(&key, name)? {
            keys.push(key);
        }
    }
    if keys.is_empty() { Err(KeysProblem::NoneOfUse) } else { Ok(keys) }
}

/// As a fault calls it.
fn name(index: usize, value: &Value) -> String {
    const LONGEST: usize = 64;
    match value.get("kid").and_then(Value::as_str) {
        Some(kid) => format!("{:?}", &kid[..kid.floor_char_boundary(LONGEST)]),
        None => format!("number {}", index + 1),
    }
}

/// Does the key say of itself that it is for something else, or for an algorithm that is not here?
fn is_for_signatures(key: &Jwk) -> bool {
    let common = &key.common;
    let used =
        common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    let operations = common.key_operations.as_ref();
    used && operations.is_none_or(|all| all.contains(&KeyOperations::Verify))
        && common.key_algorithm.is_none_or(|algorithm| {
            matches!(
                algorithm,
                KeyAlgorithm::RS256
                    | KeyAlgorithm::RS384
                    | KeyAlgorithm::RS512
                    | KeyAlgorithm::PS256
                    | KeyAlgorithm::PS384
                    | KeyAlgorithm::PS512
                    | KeyAlgorithm::ES256
                    | KeyAlgorithm::ES384
                    | KeyAlgorithm::EdDSA
            )
        })
}

/// Can signatures be checked with it? An error, where it is of a type that is known and cannot be.
fn fits(key: &Jwk, name: String) -> Result<bool, KeysProblem> {
    let length = |text: &str| URL_SAFE_NO_PAD.decode(text).map(|bytes| bytes.len()).ok();
    let known = match &key.algorithm {
        AlgorithmParameters::RSA(RSAKeyParameters { n, e, .. }) => {
            let modulus = URL_SAFE_NO_PAD.decode(n).ok().map(without_zeros);
            let bits =
                modulus.map(|n| n.len() * 8 - n.first().map_or(0, |b| b.leading_zeros() as usize));
            return match (bits, is_exponent(e)) {
                (Some(bits), true) if RSA_BITS.contains(&bits) => Ok(true),
                (Some(bits), true) => Err(KeysProblem::Bits { name, bits }),
                (_, _) => Err(KeysProblem::Malformed(name)),
            };
        }
        AlgorithmParameters::EllipticCurve(EllipticCurveKeyParameters { curve, x, y, .. }) => {
            let half = match curve {
                EllipticCurve::P256 => 32,
                EllipticCurve::P384 => 48,
                EllipticCurve::P521 | EllipticCurve::Ed25519 | _ => return Ok(false),
            };
            (length(x), length(y)) == (Some(half), Some(half))
        }
        AlgorithmParameters::OctetKeyPair(OctetKeyPairParameters { curve, x, .. }) => match curve {
            EllipticCurve::Ed25519 => length(x) == Some(32),
            EllipticCurve::P256 | EllipticCurve::P384 | EllipticCurve::P521 | _ => {
                return Ok(false);
            }
        },
        AlgorithmParameters::OctetKey(_) => return Err(KeysProblem::Private(name)),
        // What lacks a part of its type is read as one of an unknown type.
        AlgorithmParameters::Other(other) => {
            let field = |name: &str| other.fields.get(name).and_then(Value::as_str);
            match (field("kty"), field("crv")) {
                (Some("RSA"), _)
                | (Some("EC"), Some("P-256" | "P-384"))
                | (Some("OKP"), Some("Ed25519")) => false,
                (_, _) => return Ok(false),
            }
        }
        _ => return Ok(false),
    };
    if known { Ok(true) } else { Err(KeysProblem::Malformed(name)) }
}

/// A number as `ring` wants it.
fn without_zeros(mut number: Vec<u8>) -> Vec<u8> {
    number.drain(..number.iter().take_while(|byte| **byte == 0).count());
    number
}

/// What `ring` takes: odd, from 3 to 33 bits.
fn is_exponent(text: &str) -> bool {
    let bytes = URL_SAFE_NO_PAD.decode(text).map(without_zeros).unwrap_or_default();
    let value = bytes.iter().take(6).fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    value % 2 == 1 && (3..1 << 33).contains(&value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(keys: Value) -> Result<usize, String> {
        let text = json!({ "keys": keys }).to_string();
        parse(&text).map(|keys| keys.len()).map_err(|problem| problem.to_string())
    }

    fn octets(count: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![0xff; count])
    }

    #[test]
    fn keys_for_something_else_are_left_out() {
        let kinds = json!([
            { "kty": "RSA", "n": octets(256), "e": "AQAB", "alg": "RS256", "use": "sig", "kid": "a" },
            { "kty": "RSA", "n": octets(256), "e": "AQAB", "alg": "RSA-OAEP" },
            { "kty": "RSA", "n": octets(256), "e": "AQAB", "use": "enc" },
            { "kty": "RSA", "n": octets(256), "e": "AQAB", "key_ops": ["encrypt"] },
            { "kty": "EC", "crv": "P-256", "x": octets(32), "y": octets(32), "key_ops": ["verify"] },
            { "kty": "EC", "crv": "P-384", "x": octets(48), "y": octets(48) },
            { "kty": "EC", "crv": "P-521", "x": octets(66), "y": octets(66) },
            { "kty": "EC", "crv": "secp256k1", "x": octets(32), "y": octets(32) },
            { "kty": "OKP", "crv": "Ed25519", "x": octets(32) },
            { "kty": "OKP", "crv": "X25519", "x": octets(32) },
            { "kty": "AKP", "alg": "ML-DSA-44", "pub": "" },
        ]);
        assert_eq!(read(kinds), Ok(4));
        // Zeros in front do not make a key longer.
        let zeros = |count| URL_SAFE_NO_PAD.encode([vec![0; 8], vec![0xff; count]].concat());
        assert_eq!(read(json!([{ "kty": "RSA", "n": zeros(256), "e": "AAEAAQ" }])), Ok(1));
        let short = read(json!([{ "kty": "RSA", "n": zeros(128), "e": "AQAB" }]));
        assert!(short.unwrap_err().contains("1024 bits"));
    }

    #[test]
    fn what_cannot_be_a_public_key_is_a_fault_that_names_it() {
        let private = "private or a shared secret";
        for (key, expected) in [
            (
                json!({ "kty": "RSA", "n": octets(128), "e": "AQAB", "kid": "old" }),
                "\"old\" has 1024 bits",
            ),
            (json!({ "kty": "RSA", "n": octets(1025), "e": "AQAB" }), "number 1 has 8200 bits"),
            (json!({ "kty": "RSA", "n": "=", "e": "AQAB" }), "not what its type needs"),
            (json!({ "kty": "RSA", "n": octets(256), "e": "" }), "not what its type needs"),
            (json!({ "kty": "RSA", "n": octets(256), "e": "AQAB", "d": "x" }), private),
            (json!({ "kty": "RSA", "n": octets(256), "e": "AQ" }), "not what its type needs"),
            (json!({ "kty": "RSA", "n": octets(256), "e": "AQAA" }), "not what its type needs"),
            (json!({ "kty": "RSA", "n": octets(256), "e": octets(6) }), "not what its type needs"),
            (json!({ "kty": "RSA", "e": "AQAB" }), "not what its type needs"),
            (json!({ "kty": "EC", "crv": "P-256", "x": octets(32) }), "not what its type needs"),
            (json!({ "kty": "AKP", "priv": "c2VjcmV0" }), private),
            (json!({ "kty": "oct", "k": "c2VjcmV0" }), private),
            (json!({ "kty": "EC", "crv": "P-256", "x": octets(31), "y": octets(32) }), "not what"),
            (json!({ "kty": "OKP", "crv": "Ed25519", "x": octets(33) }), "not what"),
            (json!({ "kty": "RSA", "n": octets(256), "e": "AQAB", "kid": 5 }), "not what"),
            (
                json!({ "kty": "EC", "crv": "P-521", "x": octets(66), "y": octets(66) }),
                "no key is for",
            ),
        ] {
            let told = read(json!([key])).expect_err("no fault");
            assert!(told.contains(expected) && !told.contains("c2VjcmV0"), "{told}");
        }
        assert!(read(json!([])).is_err());
        assert!(read(json!({})).is_err());
    }

    #[test]
    fn a_set_is_json_of_a_bounded_length() {
        let told = parse("{ \"keys\": [\n nothing ]}").unwrap_err().to_string();
        assert!(told.starts_with("line 2, column 3"), "{told}");
        assert_eq!(parse("[]"), Err(KeysProblem::NoList));
        let many = vec![json!({ "kty": "AKP" }); MOST_KEYS + 1];
        assert!(read(many.into()).unwrap_err().contains("more than 100"));
    }
}
