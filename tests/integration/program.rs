//! The program itself: arguments, environment, exit codes, its log, systemd's notifications.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Output};
use std::time::Duration;

use crate::support::{Address, Postgres, free_port};
use crate::support::{Login, RawClient, Scenario, Signal, TempDir, isolate, program, wait_for};

const SOON: Duration = Duration::from_secs(10);

fn pooler(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    isolate(&mut command);
    command.args(arguments);
    command
}

fn text(output: &Output) -> String {
    let both = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn it_says_what_it_is() {
    let version = pooler(&["--version"]).output().unwrap();
    assert!(version.status.success());
    assert_eq!(text(&version).trim(), concat!("pooler ", env!("CARGO_PKG_VERSION")));
    let help = pooler(&["--help"]).output().unwrap();
    assert!(help.status.success() && text(&help).contains("--config"), "{}", text(&help));
    assert_eq!(pooler(&["--nonsense"]).output().unwrap().status.code(), Some(2));
}

#[test]
fn a_faulty_file_ends_it_with_every_fault() {
    let folder = TempDir::new();
    let file =
        folder.write("pooler.toml", "[pool]\ndefualt_pool_size = 1\nmin_pool_size = \"x\"\n");
    for arguments in [vec!["check"], vec![]] {
        let arguments = [arguments, vec!["--config", file.to_str().unwrap()]].concat();
        let output = pooler(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("default_pool_size") && said.contains("min_pool_size"), "{said}");
    }
}

#[test]
fn a_pgbouncer_ini_is_called_by_its_name() {
    let folder = TempDir::new();
    let ini =
        "[databases]\nshop = host=db password=hunter2\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n";
    let file = folder.write("pgbouncer.ini", ini);
    let output = pooler(&["check", "--config", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output);
    assert!(said.contains("PgBouncer's format") && said.contains("MIGRATING.md"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_missing_file_ends_it() {
    let output = pooler(&["--config", "/no/such/pooler.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
    assert!(text(&output).contains("/no/such/pooler.toml"), "{}", text(&output));
}

#[test]
fn a_port_that_is_taken_ends_it_with_the_address() {
    let world = Scenario::new().start();
    let taken = world.pooler.port().to_string();
    let mut command = pooler(&[]);
    command.env("POOLER__LISTEN__LISTEN_PORT", &taken).env("POOLER__ADMIN__ADMIN_LISTEN", "");
    let output = command.output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output).contains(&taken), "{}", text(&output));
}

#[test]
fn without_a_file_the_environment_is_enough() {
    let cluster = Postgres::shared();
    let database = cluster.create_database();
    let port = free_port();
    let mut command = pooler(&[]);
    command.env("POOLER__LISTEN__LISTEN_PORT", port.to_string());
    command.env("POOLER__ADMIN__ADMIN_LISTEN", "");
    command.env(format!("POOLER__DATABASES__{}__PORT", database.to_uppercase()), "1");
    // Names of databases are as they are written in the variable's lower case.
    command.env(
        format!("POOLER__DATABASES__{}__PORT", database.to_uppercase()),
        cluster.port().to_string(),
    );
    let mut child = command.spawn().unwrap();
    let login = Login::new(Address::loopback(port), &database, "app", "app_secret");
    let asked = std::panic::catch_unwind(|| {
        wait_for(SOON, "a login", || {
            let mut client = RawClient::try_login(&login).map_err(|error| format!("{error:?}"))?;
            Ok(client.value("SELECT current_user"))
        })
    });
    child.kill().unwrap();
    child.wait().unwrap();
    cluster.drop_database(&database);
    assert_eq!(asked.expect("a login"), "app");
}

#[test]
fn the_log_tells_who_came_and_why_they_went() {
    let world = Scenario::new().start();
    let login = world.login().parameter("application_name", "shop");
    RawClient::login(&login).terminate();
    RawClient::login(&login).kill();
    let _refused = RawClient::try_login(&world.login().user("app", "wrong"));
    wait_for(SOON, "the log", || {
        let log = world.pooler.log();
        let told = ["app", &world.database, "127.0.0.1"].iter().all(|word| log.contains(word));
        if told && log.to_lowercase().contains("password") { Ok(()) } else { Err(log) }
    });
    let log = world.pooler.log();
    for secret in ["app_secret", "other_secret", "wrong\""] {
        assert!(!log.contains(secret), "the log tells {secret}");
    }
}

#[test]
fn the_log_may_be_json() {
    let world = Scenario::new().set("log.format", "json").start();
    world.client().terminate();
    world.pooler.wait_for_log(&world.database);
    let log = world.pooler.log();
    assert!(log.lines().count() > 1);
    // The last line may be half written.
    for line in log.lines().take(log.lines().count() - 1) {
        let value: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert!(value.get("level").is_some(), "{line}");
    }
}

#[test]
fn systemd_is_told_when_it_is_ready_reloading_and_stopping() {
    let folder = TempDir::new();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let scenario = Scenario::new().environment("NOTIFY_SOCKET", path.to_str().unwrap());
    let mut world = scenario.start();
    let told = |word: &str| {
        let mut heard = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(length) = socket.recv(&mut buffer) {
            heard.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
            if heard.last().is_some_and(|message| message.lines().any(|line| line == word)) {
                return heard.pop().unwrap();
            }
        }
        panic!("{word} was not told; heard {heard:?}");
    };
    told("READY=1");
    world.pooler.signal(Signal::HangUp);
    // systemd wants the time with it: Type=notify-reload.
    assert!(told("RELOADING=1").contains("MONOTONIC_USEC="));
    told("READY=1");
    world.pooler.signal(Signal::Terminate);
    told("STOPPING=1");
    world.skip_rest_check();
    assert!(world.pooler.wait_for_exit(SOON).success());
}

#[test]
fn the_socket_of_a_pooler_that_crashed_is_taken_over() {
    let folder = TempDir::new();
    let world = Scenario::new().start();
    let config = world.pooler.folder().join("pooler.toml");
    let text = std::fs::read_to_string(config).unwrap();
    let own = folder.path().to_str().unwrap();
    let text = text.replace(world.pooler.folder().to_str().unwrap(), own);
    let (port, old) = (free_port().to_string(), world.pooler.port().to_string());
    let text = text.replace(&format!("listen_port = {old}"), &format!("listen_port = {port}"));
    let admin = text.lines().find(|line| line.starts_with("admin_listen")).unwrap();
    let file = folder.write("second.toml", &text.replace(admin, "admin_listen = \"\""));
    let mut login = world.login();
    login.address = Address::Unix(folder.path().join(format!(".s.PGSQL.{port}")));
    for _ in 0..2 {
        let mut child = pooler(&["--config", file.to_str().unwrap()]).spawn().unwrap();
        let asked = std::panic::catch_unwind(|| {
            wait_for(SOON, "a login", || {
                RawClient::try_login(&login).map(drop).map_err(|error| format!("{error:?}"))
            });
        });
        child.kill().unwrap();
        child.wait().unwrap();
        asked.expect("a login");
        let Address::Unix(socket) = &login.address else { unreachable!("made above") };
        assert!(socket.exists(), "a killed program leaves its socket");
    }
    wait_for(SOON, "its servers to be gone", || match world.backends().as_slice() {
        [] => Ok(()),
        backends => Err(backends.join(" ")),
    });
}
