//! Who may use the HTTP API: tokens, their roles, what is open to probes, TLS, what the log says of changes.

use std::process::{Command, Output};
use std::time::Duration;

use crate::support::{
    Authority, Http, Scenario, Signal, World, fingerprint, free_port, isolate, make_token, program,
    wait_for, with_token,
};

const SOON: Duration = Duration::from_secs(10);

fn ask(world: &World, method: &str, path: &str, token: &str) -> Http {
    let body = "{}";
    let length = body.len();
    world.pooler.admin().send(&format!(
        "{method} {path} HTTP/1.0\r\nHost: pooler.example\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    ))
}

#[test]
fn each_role_may_do_what_its_name_says_and_changes_are_logged() {
    let (scenario, metrics) = with_token(Scenario::new(), "prometheus", "metrics");
    let (scenario, view) = with_token(scenario, "grafana", "view");
    let (scenario, admin) = with_token(scenario, "ann", "admin");
    let mut world = scenario.start();
    world.skip_rest_check();
    world.client().query("SELECT 1");
    for (method, path, allowed) in [
        ("GET", "/metrics", [true, true, true]),
        ("GET", "/version", [true, true, true]),
        ("GET", "/healthz", [true, true, true]),
        ("GET", "/", [false, true, true]),
        ("GET", "/queries", [false, true, true]),
        ("GET", "/clients", [false, true, true]),
        ("POST", "/queries/reset", [false, false, true]),
    ] {
        for ((token, name), allowed) in
            [(&metrics, "prometheus"), (&view, "grafana"), (&admin, "ann")].into_iter().zip(allowed)
        {
            let answer = ask(&world, method, path, token);
            assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{name} {path} {answer:?}");
            if !allowed {
                let role = if method == "POST" { "admin" } else { "view" };
                let said =
                    format!("this needs a token with the role {role}, which that of \"{name}\"");
                assert!(answer.body.starts_with(&said), "{answer:?}");
            }
        }
    }
    let log = world.pooler.log();
    let changes: Vec<_> =
        log.lines().filter(|line| line.contains("a change was asked for")).collect();
    let [change] = changes[..] else { panic!("one change: {changes:?}") };
    for part in ["who=\"ann\"", "127.0.0.1", "POST", "/queries/reset", "{}", "status=200"] {
        assert!(change.contains(part), "{change}");
    }
    for token in [metrics, view, admin] {
        assert!(!log.contains(&token), "the log tells a token");
    }
}

#[test]
fn a_plan_needs_an_admin_and_leaves_a_line() {
    let (scenario, view) = with_token(Scenario::new(), "grafana", "view");
    let (scenario, admin) = with_token(scenario, "ann", "admin");
    let mut world = scenario.start();
    world.skip_rest_check();
    world.client().query("SELECT 1");
    let fingerprint = fingerprint("SELECT 1");
    let path = format!("/queries/{fingerprint}/explain");
    assert_eq!(ask(&world, "POST", &path, &view).status, 403);
    wait_for(SOON, "the plan", || {
        let answer = ask(&world, "POST", &path, &admin);
        if answer.status == 200 { Ok(()) } else { Err(answer.body) }
    });
    let log = world.pooler.log();
    let line = log.lines().find(|line| line.contains("a statement was explained")).expect("a line");
    for part in ["who=\"ann\"", &format!("fingerprint={fingerprint}"), "user=app", "took_ms="] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn without_the_right_token_there_is_only_what_probes_need() {
    let (scenario, right) = with_token(Scenario::new(), "ann", "view");
    let port = i64::from(free_port());
    let scenario =
        scenario.set("databases.down.host", "127.0.0.1").set("databases.down.port", port);
    let mut world = scenario.set("server.health_check_interval", "100ms").start();
    world.skip_rest_check();
    let admin = world.pooler.admin();
    let answer = admin.get("/pools", "*/*");
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.head.contains("www-authenticate: Bearer"), "{answer:?}");
    assert!(answer.head.contains("www-authenticate: Basic"), "{answer:?}");
    assert_eq!(admin.get("/no/such/page", "*/*").status, 401);
    assert_eq!(admin.get("/healthz", "*/*").status, 200);
    let ready = admin.get("/readyz", "*/*");
    assert_eq!(
        (ready.status, ready.body.as_str()),
        (503, "not ready\n"),
        "names nobody: {ready:?}"
    );
    // Wrong ones, until nobody counts any more; probes go on, and who has the right one.
    let statuses: Vec<_> = (0..12).map(|_| ask(&world, "GET", "/pools", "guess").status).collect();
    assert_eq!((statuses[0], statuses[9], statuses[10]), (401, 401, 429), "{statuses:?}");
    assert_eq!(admin.get("/healthz", "*/*").status, 200);
    assert_eq!(ask(&world, "GET", "/pools", &right).status, 200);
    assert_eq!(ask(&world, "GET", "/pools", "guess").status, 429, "that was no pardon");
    assert_eq!(world.pooler.log().matches("a wrong token").count(), 10, "{}", world.pooler.log());
}

#[test]
fn an_address_that_others_reach_needs_a_token_before_it_is_listened_on() {
    let mut command = Command::new(program());
    isolate(&mut command);
    command.env("POOLER__ADMIN__ADMIN_LISTEN", "0.0.0.0:0").arg("check");
    let refused = command.output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("`pooler token` makes a token"), "{said}");

    let made = make_token("ann", "view");
    command.env("POOLER__TOKENS__ANN__HASH", &made.hash);
    let accepted = command.output().unwrap();
    let said = String::from_utf8_lossy(&accepted.stderr).into_owned();
    assert!(accepted.status.success(), "{said}");
    assert!(said.contains("in clear; admin_tls_cert_file"), "{said}");

    // A reload cannot open it.
    let (scenario, token) = with_token(Scenario::new(), "ann", "view");
    let wide = format!("0.0.0.0:{}", free_port());
    let mut world = scenario.set("admin.admin_listen", wide).start();
    world.pooler.signal(Signal::HangUp);
    world.pooler.wait_for_log("the configuration is reloaded");
    assert_eq!(ask(&world, "GET", "/pools", &token).status, 200);
    world.pooler.reload_text("[admin]\nadmin_listen = \"0.0.0.0:1\"\n");
    world.pooler.wait_for_log("the configuration is not reloaded");
    assert_eq!(world.pooler.admin().get("/pools", "*/*").status, 401);
    world.skip_rest_check();
}

#[test]
fn tokens_come_and_go_with_a_reload() {
    let (scenario, old) = with_token(Scenario::new(), "ann", "view");
    let mut world = scenario.start();
    world.skip_rest_check();
    assert_eq!(ask(&world, "GET", "/pools", &old).status, 200);
    let new = make_token("ann", "view");
    world.pooler.reload(|config| {
        config.set("tokens.ann.hash", new.hash.clone());
    });
    wait_for(SOON, "the new token", || match ask(&world, "GET", "/pools", &new.token).status {
        200 => Ok(()),
        other => Err(other.to_string()),
    });
    assert_eq!(ask(&world, "GET", "/pools", &old).status, 401);
}

#[test]
fn nothing_but_metrics_where_that_is_asked_for() {
    let mut world = Scenario::new().set("admin.admin_pages", "metrics").start();
    world.skip_rest_check();
    let admin = world.pooler.admin();
    for path in ["/metrics", "/healthz", "/readyz", "/version"] {
        assert_eq!(admin.get(path, "*/*").status, 200, "{path}");
    }
    for path in ["/", "/clients", "/queries", "/nothing"] {
        assert_eq!(admin.get(path, "*/*").status, 404, "{path}");
    }
}

/// What curl gets by TLS.
fn curl(world: &World, authority: &Authority, path: &str) -> Output {
    let url = format!("https://localhost:{}{path}", world.pooler.admin_port());
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "10", "--ipv4", "--cacert"]);
    curl.arg(authority.file()).arg(url).output().unwrap()
}

#[test]
fn a_certificate_makes_it_speak_tls_and_a_reload_changes_it() {
    let authority = Authority::new();
    let papers = authority.local();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let scenario = Scenario::new().set("tls.admin_tls_cert_file", text(&papers.cert));
    let mut world = scenario.set("tls.admin_tls_key_file", text(&papers.key)).start();
    world.skip_rest_check();
    let answer = curl(&world, &authority, "/version");
    assert!(answer.stdout.starts_with(b"pooler "), "{answer:?}");
    let mut top = Command::new(program());
    isolate(&mut top);
    top.args(["top", "--once", "--url"]);
    top.arg(format!("https://localhost:{}", world.pooler.admin_port()));
    let shown = top.arg("--ca-file").arg(authority.file()).output().unwrap();
    assert!(shown.status.success() && shown.stdout.starts_with(b"pooler "), "{shown:?}");
    let other = Authority::new();
    let refused = curl(&world, &other, "/version");
    assert!(!refused.status.success() && refused.stdout.is_empty(), "{refused:?}");
    let renewed = other.local();
    world.pooler.reload(|config| {
        config.set("tls.admin_tls_cert_file", text(&renewed.cert));
        config.set("tls.admin_tls_key_file", text(&renewed.key));
    });
    wait_for(SOON, "the new certificate", || {
        let answer = curl(&world, &other, "/version");
        if answer.stdout.starts_with(b"pooler ") { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    // A half of the pair is a fault.
    world.pooler.reload_text("[tls]\nadmin_tls_cert_file = \"a.pem\"\n");
    world.pooler.wait_for_log("admin_tls_cert_file: needs admin_tls_key_file beside it");
}
