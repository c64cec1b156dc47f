//! Tokens: those of the RFCs, those of every algorithm, and those that an attacker would make.

use std::time::Duration;

use proptest::prelude::*;
use ring::hmac;
use serde_json::json;

use super::super::signing::{Signer, base64};
use super::*;

const ISSUER: &str = "https://id.example.com";
const NOW: u64 = 1_800_000_000;

fn keys(all: &[Value]) -> Vec<Jwk> {
    all.iter().map(|key| serde_json::from_value(key.clone()).unwrap()).collect()
}

fn rules(all: &[Value]) -> TokenRules {
    TokenRules {
        issuer: ISSUER.to_owned(),
        keys: keys(all),
        audience: Vec::new(),
        scope: Vec::new(),
        user_claim: "sub".to_owned(),
        leeway: Duration::from_secs(60),
    }
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "ann", "exp": NOW + 300 })
}

/// The claims with another one.
fn with(claim: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[claim] = value;
    claims
}

fn found(token: &str, rules: &TokenRules) -> Result<String, TokenError> {
    subject(token, rules, NOW).map(String::from)
}

/// A token of these claims by the one key there is.
fn told(claims: &Value, change: impl Fn(&mut TokenRules)) -> Result<String, TokenError> {
    let signer = Signer::eddsa();
    let mut rules = rules(&[signer.public(None)]);
    change(&mut rules);
    found(&signer.token(&json!({ "alg": "EdDSA" }), claims), &rules)
}

/// RFC 7515, A.2 and A.3: the same claims, by RS256 and by ES256.
#[test]
fn the_examples_of_the_rfc_are_taken_in_their_time_and_not_changed() {
    const CLAIMS: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    const RS256: &str = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    const ES256: &str =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let curve = json!({
        "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let mut rules = rules(&[Signer::rsa("RS256").public(None), curve]);
    (rules.issuer, rules.user_claim) = ("joe".to_owned(), "iss".to_owned());
    for (header, signature) in [("eyJhbGciOiJSUzI1NiJ9", RS256), ("eyJhbGciOiJFUzI1NiJ9", ES256)] {
        let token = format!("{header}.{CLAIMS}.{signature}");
        assert_eq!(subject(&token, &rules, 1_300_819_379), Ok("joe".into()));
        assert_eq!(subject(&token, &rules, 1_300_819_440), Err(TokenError::Expired));
        let changed = format!("{header}.{}.{signature}", CLAIMS.replace("eyJp", "eyJq"));
        assert_eq!(subject(&changed, &rules, 0), Err(TokenError::Signature));
        let truncated = &token[..token.len() - 4];
        assert!(subject(truncated, &rules, 0).is_err());
    }
}

#[test]
fn every_asymmetric_algorithm_is_taken_by_its_own_key_only() {
    let mut signers: Vec<_> =
        ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].map(Signer::rsa).into();
    signers.extend([Signer::es256(), Signer::es384(), Signer::eddsa()]);
    for signer in &signers {
        let token = signer.token(&json!({ "alg": signer.algorithm() }), &claims());
        for other in &signers {
            let mut public = other.public(None);
            public["alg"] = other.algorithm().into();
            let expected = if signer.algorithm() == other.algorithm() {
                Ok("ann".to_owned())
            } else {
                Err(TokenError::WhichKey)
            };
            assert_eq!(found(&token, &rules(&[public])), expected, "{}", signer.algorithm());
        }
        // Signed by one algorithm, said to be by another.
        for other in &signers {
            let token = signer.token(&json!({ "alg": other.algorithm() }), &claims());
            let outcome = found(&token, &rules(&[other.public(None)]));
            assert_eq!(outcome.is_ok(), signer.algorithm() == other.algorithm());
        }
    }
}

#[test]
fn no_algorithm_and_shared_secrets_are_never_taken() {
    let signer = Signer::rsa("RS256");
    let public = signer.public(Some("a"));
    let message =
        |header: &Value| format!("{}.{}", base64(header.to_string()), base64(claims().to_string()));
    for none in ["none", "None", "NONE", "", "RS1", "HS1"] {
        let message = message(&json!({ "alg": none, "kid": "a" }));
        for token in [format!("{message}."), format!("{message}.AAAA"), message] {
            assert_eq!(
                found(&token, &rules(std::slice::from_ref(&public))),
                Err(TokenError::Form),
                "{none}"
            );
        }
    }
    // The public key as the secret, in every form in which it may be lying around.
    let secrets = [
        public["n"].as_str().unwrap().as_bytes().to_vec(),
        public.to_string().into_bytes(),
        base64(public.to_string()).into_bytes(),
        Vec::new(),
    ];
    for (algorithm, hash) in
        [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
    {
        for secret in &secrets {
            let message = message(&json!({ "alg": algorithm, "kid": "a" }));
            let tag = hmac::sign(&hmac::Key::new(hash, secret), message.as_bytes());
            let token = format!("{message}.{}", base64(tag));
            assert_eq!(
                found(&token, &rules(std::slice::from_ref(&public))),
                Err(TokenError::Symmetric)
            );
            // Even with a key for it, which no file can give.
            let shared = json!({ "kty": "oct", "k": base64(secret), "kid": "a" });
            assert_eq!(found(&token, &rules(&[shared])), Err(TokenError::Symmetric));
        }
    }
}

#[test]
fn a_kid_chooses_the_key_and_only_one_key_does_without() {
    let (one, two) = (Signer::es256(), Signer::es256());
    let rotating = rules(&[one.public(Some("1")), two.public(Some("2"))]);
    let token = |signer: &Signer, kid: Option<&str>| {
        let mut header = json!({ "alg": "ES256" });
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        signer.token(&header, &claims())
    };
    assert_eq!(found(&token(&one, Some("1")), &rotating), Ok("ann".into()));
    assert_eq!(found(&token(&two, Some("2")), &rotating), Ok("ann".into()));
    assert_eq!(found(&token(&two, Some("1")), &rotating), Err(TokenError::Signature));
    assert_eq!(found(&token(&one, Some("3")), &rotating), Err(TokenError::UnknownKey));
    assert_eq!(found(&token(&one, None), &rotating), Err(TokenError::WhichKey));
    assert_eq!(found(&token(&one, None), &rules(&[one.public(Some("1"))])), Ok("ann".into()));
    assert_eq!(found(&token(&one, None), &rules(&[])), Err(TokenError::WhichKey));
    // A key of another type is no candidate.
    let mixed = rules(&[one.public(None), Signer::eddsa().public(None)]);
    assert_eq!(found(&token(&one, None), &mixed), Ok("ann".into()));
}

#[test]
fn keys_within_a_token_are_not_looked_at() {
    let (known, stranger) = (Signer::es256(), Signer::es256());
    for field in ["jwk", "jku", "x5u"] {
        let value = if field == "jwk" { stranger.public(None) } else { "https://evil".into() };
        let mut header = json!({ "alg": "ES256" });
        header[field] = value;
        let token = stranger.token(&header, &claims());
        assert_eq!(found(&token, &rules(&[known.public(None)])), Err(TokenError::Signature));
    }
    let critical = json!({ "alg": "ES256", "crit": ["b64"], "b64": false });
    let token = known.token(&critical, &claims());
    assert_eq!(found(&token, &rules(&[known.public(None)])), Err(TokenError::Critical));
}

#[test]
fn what_is_no_bearer_token_is_refused() {
    let signer = Signer::es256();
    let rules = rules(&[signer.public(None)]);
    for (typ, expected) in [
        ("JWT", Ok("ann".to_owned())),
        ("at+jwt", Ok("ann".to_owned())),
        ("logout+jwt", Err(TokenError::Kind)),
        ("application/Logout+JWT", Err(TokenError::Kind)),
        ("secevent+jwt", Err(TokenError::Kind)),
    ] {
        let token = signer.token(&json!({ "alg": "ES256", "typ": typ }), &claims());
        assert_eq!(found(&token, &rules), expected, "{typ}");
    }
    assert_eq!(told(&with("cnf", json!({ "jkt": "x" })), |_| ()), Err(TokenError::Kind));
}

#[test]
fn a_token_has_its_time() {
    for (claim, value, expected) in [
        ("exp", json!(NOW - 59), Ok(())),
        ("exp", json!(NOW - 60), Err(TokenError::Expired)),
        ("exp", json!(NOW as f64 - 59.5), Ok(())),
        ("exp", json!(0), Err(TokenError::Expired)),
        ("exp", json!(-1), Err(TokenError::Expired)),
        ("exp", json!(1e300), Ok(())),
        ("exp", json!((NOW + 300).to_string()), Err(TokenError::Claim("exp"))),
        ("exp", json!(null), Err(TokenError::Claim("exp"))),
        ("exp", json!([NOW + 300]), Err(TokenError::Form)),
        ("exp", json!(true), Err(TokenError::Claim("exp"))),
        ("nbf", json!(NOW + 60), Ok(())),
        ("nbf", json!(NOW + 61), Err(TokenError::Early)),
        ("nbf", json!("soon"), Err(TokenError::Claim("nbf"))),
        ("nbf", json!(null), Err(TokenError::Claim("nbf"))),
    ] {
        let outcome = told(&with(claim, value.clone()), |_| ()).map(drop);
        assert_eq!(outcome, expected, "{claim} {value}");
    }
    let mut without = claims();
    without.as_object_mut().unwrap().remove("exp");
    assert_eq!(told(&without, |_| ()), Err(TokenError::Claim("exp")));
    // Twice is neither.
    let signer = Signer::eddsa();
    let twice = format!("{{\"exp\":{},\"exp\":1,\"iss\":\"{ISSUER}\",\"sub\":\"ann\"}}", NOW + 300);
    let message = format!("{}.{}", base64(r#"{"alg":"EdDSA"}"#), base64(twice));
    let token = format!("{message}.{}", base64(signer.sign(message.as_bytes())));
    assert!(found(&token, &rules(&[signer.public(None)])).is_err());
}

#[test]
fn a_token_is_by_the_issuer_to_the_letter() {
    for other in
        ["https://id.example.com/", "https://ID.example.com", "https://id.example.com.evil.org", ""]
    {
        assert_eq!(told(&with("iss", other.into()), |_| ()), Err(TokenError::Issuer), "{other}");
    }
    for value in [json!(null), json!(5), json!([ISSUER]), json!({ "iss": ISSUER })] {
        assert_eq!(told(&with("iss", value), |_| ()), Err(TokenError::Claim("iss")));
    }
}

#[test]
fn a_token_is_for_us_and_good_for_what_is_asked() {
    let audience = |rules: &mut TokenRules| rules.audience = vec!["db".into(), "pool".into()];
    for (value, expected) in [
        (json!("db"), Ok(())),
        (json!(["x", "pool"]), Ok(())),
        (json!("DB"), Err(TokenError::Audience)),
        (json!(["x", "y"]), Err(TokenError::Audience)),
        (json!([]), Err(TokenError::Audience)),
        (json!(["db", 5]), Err(TokenError::Claim("aud"))),
        (json!({ "db": true }), Err(TokenError::Claim("aud"))),
        (json!(null), Err(TokenError::Claim("aud"))),
    ] {
        assert_eq!(told(&with("aud", value.clone()), audience).map(drop), expected, "{value}");
    }
    assert_eq!(told(&claims(), audience), Err(TokenError::Audience));
    // What is for others is not for us only because we have no name.
    assert_eq!(told(&with("aud", "db".into()), |_| ()), Err(TokenError::Audience));
    let scope = |rules: &mut TokenRules| rules.scope = vec!["openid".into(), "db:use".into()];
    for (claim, value, expected) in [
        ("scope", json!("db:use openid more"), Ok(())),
        ("scp", json!(["openid", "db:use"]), Ok(())),
        ("scp", json!("openid db:use"), Ok(())),
        ("scope", json!("openid"), Err(TokenError::Scope)),
        ("scope", json!("openid db:used"), Err(TokenError::Scope)),
        ("scope", json!(["openid", 5]), Err(TokenError::Claim("scope"))),
        ("scope", json!(5), Err(TokenError::Claim("scope"))),
    ] {
        assert_eq!(told(&with(claim, value.clone()), scope).map(drop), expected, "{claim} {value}");
    }
    assert_eq!(told(&claims(), scope), Err(TokenError::Scope));
}

#[test]
fn the_user_is_a_text_of_the_claim_that_says_so() {
    let email = |rules: &mut TokenRules| rules.user_claim = "email".to_owned();
    assert_eq!(told(&with("email", "ann@example.com".into()), email), Ok("ann@example.com".into()));
    let long = "x".repeat(LONGEST_NAME + 1);
    for value in [json!(null), json!(5), json!(""), json!("ann\0"), json!(long)] {
        assert_eq!(told(&with("sub", value.clone()), |_| ()), Err(TokenError::NoName), "{value}");
    }
    assert!(told(&with("sub", json!(["ann"])), |_| ()).is_err());
    assert_eq!(told(&claims(), email), Err(TokenError::NoName));
}

#[test]
fn what_is_no_token_is_refused_however_long_it_is() {
    let signer = Signer::eddsa();
    let rules = rules(&[signer.public(None)]);
    let good = signer.token(&json!({ "alg": "EdDSA" }), &claims());
    assert!(found(&good, &rules).is_ok());
    let parts: Vec<_> = good.split('.').collect();
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        parts[..2].join("."),
        format!("{good}."),
        format!(".{good}"),
        format!("{good}.{}", parts[2]),
        format!("{}.{}.{}=", parts[0], parts[1], parts[2]),
        "x".repeat(65_535),
        ".".repeat(65_535),
        format!("{}.{}.{}", "A".repeat(LONGEST_HEADER + 1), parts[1], parts[2]),
        format!("{}..", base64("[".repeat(4_000))),
        format!("{}..", base64("{\"alg\":\"EdDSA\",\"x\":".repeat(200))),
    ] {
        assert!(found(&bad, &rules).is_err(), "{}", &bad[..bad.len().min(80)]);
    }
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let message = format!("{}.{}", parts[0], base64(deep));
    let token = format!("{message}.{}", base64(signer.sign(message.as_bytes())));
    assert_eq!(found(&token, &rules), Err(TokenError::Form));
}

proptest! {
    #[test]
    fn no_text_is_a_token_by_chance(text in "[A-Za-z0-9_.=-]{0,200}") {
        let rules = rules(&[Signer::rsa("RS256").public(None)]);
        prop_assert!(found(&text, &rules).is_err());
    }
}
