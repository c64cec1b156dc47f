//! Whom a token was issued to: a JWT (RFC 7519) with the signature of a known key, and claims that fit the rules. Time is
//! an argument. Whether that name may log in as the user is the caller's.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, Header, Validation, decode, decode_header,
};
use serde_json::{Map, Value};

use super::signature::{is_asymmetric, provide};
use crate::config::TokenRules;

/// The longest header, encoded: it is read before anything is proven.
const LONGEST_HEADER: usize = 8 * 1024;

/// The longest name of a user that a token may hold. Postgres' own have 63 bytes; maps may shorten others.
const LONGEST_NAME: usize = 256;

/// Why a token is not taken. The texts are for the log, and hold nothing of the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is something else, or its header names an algorithm that nobody knows (`none` among them).
    #[error("the token is no signed JWT, or by an algorithm that is not known")]
    Form,
    /// Whoever can check it could have made it.
    #[error("the token is signed by a shared secret, which is never taken")]
    Symmetric,
    /// It has header fields that have to be understood (RFC 7515, 4.1.11).
    #[error("the token's header has critical fields")]
    Critical,
    /// It is no bearer token.
    #[error("the token is bound to a key of its owner's, or is no proof of who sends it")]
    Kind,
    /// Its key is not in the set.
    #[error("no key of jwks_file has the token's kid and is for its algorithm")]
    UnknownKey,
    /// It does not say by which of several keys it is signed.
    #[error("the token has no kid, and not exactly one key of jwks_file is for its algorithm")]
    WhichKey,
    /// The signature is another's.
    #[error("the token's signature is not by the key of jwks_file")]
    Signature,
    /// A claim is missing, or of another type.
    #[error("the token has no claim {0}, or one that is not as RFC 7519 says")]
    Claim(&'static str),
    /// It is by somebody else.
    #[error("the token's claim iss is not the issuer of [oauth]")]
    Issuer,
    /// It has run out.
    #[error("the token has expired")]
    Expired,
    /// It is not valid yet.
    #[error("the token is not valid yet")]
    Early,
    /// It is for others.
    #[error("the token's claim aud is none of the audience of [oauth]")]
    Audience,
    /// It is not good for this.
    #[error("the token lacks a scope that [oauth] asks for")]
    Scope,
    /// It does not say who has it.
    #[error("the token has no user_claim, or one that is no name")]
    NoName,
}

/// Whom the token was issued to, at this time in seconds since 1970.
///
/// # Errors
/// As [`TokenError`] says.
pub fn subject(token: &str, rules: &TokenRules, now: u64) -> Result<Box<str>, TokenError> {
    if token.split('.').next().is_none_or(|header| header.len() > LONGEST_HEADER) {
        return Err(TokenError::Form);
    }
    let header = decode_header(token).map_err(|_| TokenError::Form)?;
    let key = key(rules, &header)?;
    if header.typ.as_deref().is_some_and(is_another_kind) {
        return Err(TokenError::Kind);
    }
    let claims = signed(token, &key, header.alg)?;
    check(&claims, rules, now)?;
    // Good only for who has a key beside it (RFC 7800), which nobody shows here.
    if claims.contains_key("cnf") {
        return Err(TokenError::Kind);
    }
    let name = claims.get(&rules.user_claim).and_then(Value::as_str);
    let fits = |name: &&str| (1..=LONGEST_NAME).contains(&name.len()) && !name.contains('\0');
    name.filter(fits).map(Box::from).ok_or(TokenError::NoName)
}

/// What issuers sign with the same keys, and is no proof of who sends it (OpenID's logout tokens, RFC 8417).
fn is_another_kind(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    let typ = typ.strip_prefix("application/").unwrap_or(&typ);
    matches!(typ, "logout+jwt" | "secevent+jwt")
}

/// The key that the token names; the only one that fits, if it names none.
fn key(rules: &TokenRules, header: &Header) -> Result<DecodingKey, TokenError> {
    if !is_asymmetric(header.alg) {
        return Err(TokenError::Symmetric);
    }
    if header.crit.is_some() {
        return Err(TokenError::Critical);
    }
    let mut fitting = rules.keys.iter().filter(|key| is_for(key, header.alg));
    let found = match &header.kid {
        Some(kid) => {
            let named = |key: &&Jwk| key.common.key_id.as_ref() == Some(kid);
            fitting.find(named).ok_or(TokenError::UnknownKey)?
        }
        None => match (fitting.next(), fitting.next()) {
            (Some(only), None) => only,
            (None, _) | (Some(_), Some(_)) => return Err(TokenError::WhichKey),
        },
    };
    DecodingKey::from_jwk(found).map_err(|_| TokenError::UnknownKey)
}

/// Is the key of the algorithm's type and, where it says of itself what it is for, for this one?
fn is_for(key: &Jwk, algorithm: Algorithm) -> bool {
    let said = key.common.key_algorithm;
    if said.is_some_and(|said| Algorithm::try_from(said).ok() != Some(algorithm)) {
        return false;
    }
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => algorithm.family() == AlgorithmFamily::Rsa,
        AlgorithmParameters::EllipticCurve(parameters) => of(&parameters.curve) == Some(algorithm),
        AlgorithmParameters::OctetKeyPair(parameters) => of(&parameters.curve) == Some(algorithm),
        AlgorithmParameters::OctetKey(_) | AlgorithmParameters::Other(_) | _ => false,
    }
}

/// The one algorithm of a curve.
fn of(curve: &EllipticCurve) -> Option<Algorithm> {
    match curve {
        EllipticCurve::P256 => Some(Algorithm::ES256),
        EllipticCurve::P384 => Some(Algorithm::ES384),
        EllipticCurve::Ed25519 => Some(Algorithm::EdDSA),
        EllipticCurve::P521 | _ => None,
    }
}

/// The claims, if they are signed with this key.
fn signed(
    token: &str,
    key: &DecodingKey,
    algorithm: Algorithm,
) -> Result<Map<String, Value>, TokenError> {
    provide();
    // The signature only: claims are checked below, by our clock, and with each type as it has to be.
    let mut validation = Validation::new(algorithm);
    validation.required_spec_claims.clear();
    (validation.validate_exp, validation.validate_aud) = (false, false);
    match decode(token, key, &validation) {
        Ok(data) => Ok(data.claims),
        Err(error) if *error.kind() == ErrorKind::InvalidSignature => Err(TokenError::Signature),
        Err(_) => Err(TokenError::Form),
    }
}

fn check(claims: &Map<String, Value>, rules: &TokenRules, now: u64) -> Result<(), TokenError> {
    let issuer = claims.get("iss").and_then(Value::as_str).ok_or(TokenError::Claim("iss"))?;
    if issuer != rules.issuer {
        return Err(TokenError::Issuer);
    }
    let leeway = rules.leeway.as_secs();
    let expires = time(claims, "exp")?.ok_or(TokenError::Claim("exp"))?;
    if expires <= now.saturating_sub(leeway) as f64 {
        return Err(TokenError::Expired);
    }
    if time(claims, "nbf")?.is_some_and(|begins| begins > now.saturating_add(leeway) as f64) {
        return Err(TokenError::Early);
    }
    // Who finds a claim `aud` and itself not in it must refuse the token (RFC 7519, 4.1.3).
    let is_ours = |name: &str| rules.audience.iter().any(|own| own == name);
    let for_us = match claims.get("aud") {
        None => rules.audience.is_empty(),
        Some(aud) => strings(aud).ok_or(TokenError::Claim("aud"))?.into_iter().any(is_ours),
    };
    if !for_us {
        return Err(TokenError::Audience);
    }
    let granted = granted(claims)?;
    if rules.scope.iter().all(|wanted| granted.contains(&wanted.as_str())) {
        Ok(())
    } else {
        Err(TokenError::Scope)
    }
}

/// A `NumericDate` (RFC 7519, 2): seconds since 1970, which may have a fraction.
fn time(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<f64>, TokenError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    match value.as_f64() {
        Some(time) if time.is_finite() => Ok(Some(time)),
        Some(_) | None => Err(TokenError::Claim(claim)),
    }
}

/// A text or a list of texts.
fn strings(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(one) => Some(vec![one]),
        Value::Array(several) => several.iter().map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// What the token is good for: `scope`, a text with blanks (RFC 9068, 2.2.3), or `scp`, as some issuers have it, also a list.
fn granted(claims: &Map<String, Value>) -> Result<Vec<&str>, TokenError> {
    let Some(value) = claims.get("scope").or_else(|| claims.get("scp")) else {
        return Ok(Vec::new());
    };
    let texts = strings(value).ok_or(TokenError::Claim("scope"))?;
    Ok(texts.into_iter().flat_map(|text| text.split(' ')).collect())
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
