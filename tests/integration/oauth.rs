//! `OAUTHBEARER`: the exchange of PostgreSQL 18 with clients that bring a token, a bad one, or none.

use std::time::Duration;

use serde_json::json;

use crate::support::{
    Address, Age, Authority, Batch, Issuer, Login, RawClient, ServerError, World,
    asking_for_tokens, wait_for,
};

/// What who has no token hears, letter by letter as from Postgres.
const REFUSAL: &str = "{ \"status\": \"invalid_token\", \"openid-configuration\": \
    \"https://id.example.com/realms/shop/.well-known/openid-configuration\", \
    \"scope\": \"openid db\" }";

fn with_token(token: &str) -> Vec<u8> {
    format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes()
}

fn initial(data: &[u8]) -> Batch {
    let length = i32::try_from(data.len()).unwrap().to_be_bytes();
    Batch::new().frame(b'p', &[b"OAUTHBEARER\0", &length[..], data].concat())
}

/// What the server asks for: the code and its data.
#[track_caller]
fn request(client: &mut RawClient) -> (u32, String) {
    let frame = client.frame().expect("a request");
    assert_eq!(frame.tag, b'R', "{}", frame.shape());
    let (code, data) = frame.body.split_at(4);
    let code = u32::from_be_bytes(code.try_into().unwrap());
    (code, String::from_utf8(data.to_vec()).unwrap())
}

/// Connects up to the offer of the mechanism, which is the only one.
fn asked(login: &Login) -> RawClient {
    let mut client = RawClient::connect(&login.address);
    asked_here(&mut client, login);
    client
}

fn asked_here(client: &mut RawClient, login: &Login) {
    client.send_bytes(&login.startup());
    assert_eq!(request(client), (10, "OAUTHBEARER\0\0".to_owned()));
}

/// Logs in with a message; what the client hears that is refused.
fn log_in(login: &Login, message: &[u8]) -> Result<RawClient, ServerError> {
    let mut client = asked(login);
    client.send(&initial(message));
    finish(client, login)
}

fn finish(mut client: RawClient, login: &Login) -> Result<RawClient, ServerError> {
    let reply = client.read_until_request_or_error();
    if let Some(data) = reply? {
        assert_eq!(data, REFUSAL);
        client.send(&Batch::new().frame(b'p', b"\x01"));
    }
    client.finish_login(login).map(|done| done.expect("not closed"))?;
    Ok(client)
}

trait Refused {
    /// `Some`: the challenge of a refusal; `None`: let in.
    fn read_until_request_or_error(&mut self) -> Result<Option<String>, ServerError>;
}

impl Refused for RawClient {
    fn read_until_request_or_error(&mut self) -> Result<Option<String>, ServerError> {
        let frame = self.frame().expect("an answer");
        if frame.tag == b'E' {
            return Err(frame.error());
        }
        let (code, data) = frame.body.split_at(4);
        match u32::from_be_bytes(code.try_into().unwrap()) {
            0 => Ok(None),
            11 => Ok(Some(String::from_utf8(data.to_vec()).unwrap())),
            other => panic!("authentication request {other}"),
        }
    }
}

#[track_caller]
fn refused(login: &Login, message: &[u8]) -> String {
    let error = log_in(login, message).map(drop).expect_err("let in");
    format!("{} {} {}", error.severity, error.sqlstate, error.message)
}

#[test]
fn a_token_lets_its_user_in() {
    let issuer = Issuer::new("a");
    let world = asking_for_tokens(&[&issuer]).0.start();
    let mut login = world.login();
    for address in [world.pooler.address(), world.pooler.socket()] {
        login.address = address;
        let mut client = log_in(&login, &with_token(&issuer.token(json!({})))).unwrap();
        assert_eq!(client.value("SELECT current_user"), "app");
    }
    // Who says nothing at first is asked for it (RFC 4422, 3).
    let mut client = asked(&login);
    client.send(&Batch::new().frame(b'p', b"OAUTHBEARER\0\xff\xff\xff\xff"));
    assert_eq!(request(&mut client), (11, String::new()));
    let message = with_token(&issuer.token(json!({})));
    client.send(&Batch::new().frame(b'p', &message));
    assert_eq!(finish(client, &login).unwrap().value("SELECT 1"), "1");
}

#[test]
fn who_has_no_token_or_a_bad_one_hears_where_to_get_one() {
    let (issuer, stranger) = (Issuer::new("a"), Issuer::new("a"));
    let world = asking_for_tokens(&[&issuer]).0.start();
    let login = world.login();
    let failed = "FATAL 28000 OAuth bearer authentication failed for user \"app\"";
    for (message, reason) in [
        (b"n,,\x01auth=\x01\x01".to_vec(), "the client has no token yet"),
        (b"n,,\x01auth=Basic YTpi\x01\x01".to_vec(), "not of the scheme Bearer"),
        (with_token("abc"), "no signed JWT"),
        (with_token(&issuer.token(json!({ "exp": 1 }))), "the token has expired"),
        (with_token(&issuer.token(json!({ "iss": "https://evil" }))), "not the issuer"),
        (with_token(&issuer.token(json!({ "aud": ["x"] }))), "none of the audience"),
        (with_token(&issuer.token(json!({ "scope": "openid" }))), "lacks a scope"),
        (with_token(&issuer.token(json!({ "sub": "other" }))), "was issued to \\\"other\\\""),
        (with_token(&stranger.token(json!({}))), "the token's signature is not"),
    ] {
        assert_eq!(refused(&login, &message), failed, "{reason}");
        world.pooler.wait_for_log(&reason.replace("\\\"", "\""));
    }
    // The first one only asked.
    let metrics = world.pooler.admin().get("/metrics", "*/*").body;
    assert!(
        metrics.contains("pooler_logins_refused_total{sqlstate_class=\"28\"} 8\n"),
        "{metrics}"
    );
    // Whoever the user may be, it sounds the same.
    let nobody = world.login().user("nobody", "");
    let token = with_token(&issuer.token(json!({})));
    assert!(refused(&nobody, &token).contains("28000 OAuth bearer authentication failed"));
    let log = world.pooler.log();
    let sent = String::from_utf8(token).unwrap();
    let sent = sent.trim_matches(|c| c != 'e').split('.').next().unwrap().to_owned();
    assert!(sent.len() > 20 && !log.contains(&sent), "a token is in the log");
}

#[test]
fn what_is_no_such_message_ends_the_login_at_once() {
    let issuer = Issuer::new("a");
    let world = asking_for_tokens(&[&issuer]).0.start();
    let login = world.login();
    let malformed = "FATAL 08P01 malformed OAUTHBEARER message";
    for message in [&b""[..], b"n,,", b"p=x,,\x01auth=\x01\x01", b"n,,\x01auth=\x01", b"\0"] {
        assert_eq!(refused(&login, message), malformed);
    }
    assert!(refused(&login, b"n,a=ann,\x01auth=\x01\x01").starts_with("FATAL 0A000 client uses"));
    let other = Batch::new().frame(b'p', b"SCRAM-SHA-256\0\0\0\0\x03n,,");
    let mut client = asked(&login);
    client.send(&other);
    assert_eq!(client.read_to_end().fault(), "FATAL 08P01");
    // A refusal is to be acknowledged, and nothing else is.
    let mut client = asked(&login);
    client.send(&initial(b"n,,\x01auth=\x01\x01"));
    assert_eq!(request(&mut client), (11, REFUSAL.to_owned()));
    client.send(&Batch::new().frame(b'p', &with_token(&issuer.token(json!({})))));
    assert_eq!(client.read_to_end().fault(), "FATAL 08P01");
    // Who goes without a word has its reason in the log, too.
    let mut client = asked(&login);
    client.send(&initial(&with_token("gone")));
    assert_eq!(request(&mut client), (11, REFUSAL.to_owned()));
    drop(client);
    world.pooler.wait_for_log("no signed JWT");
    // As long as Postgres takes is taken, and no longer is waited for.
    let longest = 65_535 - b"OAUTHBEARER\0\0\0\0\0n,,\x01auth=Bearer \x01\x01".len();
    let failed = refused(&login, &with_token(&"x".repeat(longest)));
    assert!(failed.starts_with("FATAL 28000 OAuth"), "{failed}");
    let mut client = asked(&login);
    client.send_bytes(b"p\x00\x01\x00\x04OAUTHBEARER\0");
    assert_eq!(client.read_to_end().fault(), "FATAL 08P01");
}

#[test]
fn a_map_says_who_may_log_in_as_whom() {
    let issuer = Issuer::new("a");
    let (scenario, _) = asking_for_tokens(&[&issuer]);
    let write = |name: &str, text: &str| {
        let name = format!("{name}_{}", scenario.database());
        let path = scenario.cluster().folder().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let rules = write("rules", "host all all all oauth map=people\n");
    let maps = write("maps", "people /^(.*)@example\\.com$ \\1\n");
    let world = scenario
        .set("auth.auth_type", "hba")
        .set("auth.auth_hba_file", rules)
        .set("auth.auth_ident_file", maps)
        .set("oauth.user_claim", "email")
        .start();
    let by = |email: &str| {
        let token = issuer.token(json!({ "email": email, "sub": "0815" }));
        log_in(&world.login(), &with_token(&token)).map(drop).map_err(|error| error.sqlstate)
    };
    assert_eq!(by("app@example.com"), Ok(()));
    for other in ["other@example.com", "app@example.com.evil.org", "app"] {
        assert_eq!(by(other), Err("28000".to_owned()), "{other}");
    }
}

#[test]
fn a_reload_takes_the_issuers_new_keys_and_keeps_the_old_ones_if_they_are_faulty() {
    let (old, new) = (Issuer::new("old"), Issuer::new("new"));
    let (scenario, file) = asking_for_tokens(&[&old]);
    let mut world = scenario.start();
    let by = |world: &World, issuer: &Issuer| {
        log_in(&world.login(), &with_token(&issuer.token(json!({})))).is_ok()
    };
    assert_eq!((by(&world, &old), by(&world, &new)), (true, false));
    Issuer::publish(&file, &[&old, &new]);
    world.pooler.reload(|_| {});
    world.pooler.wait_for_log("the configuration is reloaded");
    assert_eq!((by(&world, &old), by(&world, &new)), (true, true));
    // A key that is withdrawn while a client is asked is of no use to it.
    let mut early = asked(&world.login());
    Issuer::publish(&file, &[&new]);
    world.pooler.reload(|_| {});
    wait_for(Duration::from_secs(10), "the old key to be gone", || {
        if by(&world, &old) { Err("it lets in".to_owned()) } else { Ok(()) }
    });
    early.send(&initial(&with_token(&old.token(json!({})))));
    assert_eq!(finish(early, &world.login()).map(drop).unwrap_err().sqlstate, "28000");
    std::fs::write(&file, "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\"}]}").unwrap();
    world.pooler.reload(|_| {});
    world.pooler.wait_for_log("is private or a shared secret");
    assert_eq!((by(&world, &old), by(&world, &new)), (false, true));
}

/// An address of this machine that is not loopback: who comes by it comes from elsewhere.
fn own_address() -> Option<std::net::IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing: the kernel chooses by its routes.
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|own| !own.is_loopback())
}

#[test]
fn from_elsewhere_a_token_is_taken_over_tls_only() {
    let Some(own) = own_address() else {
        return eprintln!("skipped: this machine has no address but loopback");
    };
    let (issuer, authority) = (Issuer::new("a"), Authority::new());
    let papers = authority.server("server", &["localhost"], Age::Current);
    let world = asking_for_tokens(&[&issuer])
        .0
        .set("listen.listen_addr", own.to_string())
        .set("tls.client_tls_sslmode", "allow")
        .set("tls.client_tls_cert_file", papers.cert.to_str().unwrap())
        .set("tls.client_tls_key_file", papers.key.to_str().unwrap())
        .start();
    let mut login = world.login();
    login.address = Address::Tcp((own, world.pooler.port()).into());
    let error = RawClient::try_login(&login).map(drop).expect_err("asked in clear");
    assert_eq!(error.sqlstate, "28000");
    assert!(error.message.contains("takes tokens in clear only from this machine"), "{error:?}");
    let mut client = RawClient::connect(&login.address);
    client.start_tls(authority.trusting(&[], None), "localhost").unwrap();
    asked_here(&mut client, &login);
    client.send(&initial(&with_token(&issuer.token(json!({})))));
    assert_eq!(finish(client, &login).unwrap().value("SELECT 1"), "1");
}
