//! Strangers in numbers: connections that say nothing, or little, or the wrong password, take nothing from who is in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::{Address, Authority, Login, Papers, RawClient, Scenario, World, wait_for};

/// A test's machine computes other things as well; what would be wrong is a wait in the order of the flood's own.
const FACTOR: u32 = 10;
const SLACK: Duration = Duration::from_millis(250);

/// Between two tries of a stranger, so that it is the pooler that is measured and not who has the processor.
const PAUSE: Duration = Duration::from_millis(1);

/// What a flood may add while it lasts, and what the allocator keeps of it.
const BREATH: u64 = 32 << 20;

const SAMPLES: usize = 400;

/// For strangers to have had their turns.
const PATIENCE: Duration = Duration::from_secs(10);

/// Threads that log in, or try to.
const STRANGERS: usize = 4;

/// The 99th percentile of what a client that is logged in waits for an answer.
fn p99(client: &mut RawClient) -> Duration {
    let mut times: Vec<_> = (0..SAMPLES)
        .map(|_| {
            let start = Instant::now();
            client.value("SELECT 1");
            start.elapsed()
        })
        .collect();
    times.sort();
    times[SAMPLES * 99 / 100]
}

/// Measures an established client before and while `strangers` do what they do, over and over.
#[track_caller]
fn unmoved(world: &World, stranger: impl Fn(usize) + Send + Sync + 'static) -> usize {
    let mut client = world.client();
    p99(&mut client);
    let (before, memory) = (p99(&mut client), world.pooler.resident());
    let (stranger, stop) = (Arc::new(stranger), Arc::new(AtomicBool::new(false)));
    let rounds = Arc::new(AtomicUsize::new(0));
    let strangers: Vec<_> = (0..STRANGERS)
        .map(|number| {
            let (stranger, stop) = (Arc::clone(&stranger), Arc::clone(&stop));
            let rounds = Arc::clone(&rounds);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    stranger(number);
                    rounds.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(PAUSE);
                }
            })
        })
        .collect();
    let (mut during, mut times, began) = (Duration::MAX, 0, Instant::now());
    // Each stranger is to have been there.
    while times < 3 || rounds.load(Ordering::Relaxed) <= STRANGERS && began.elapsed() < PATIENCE {
        during = during.min(p99(&mut client));
        times += 1;
    }
    stop.store(true, Ordering::Relaxed);
    strangers.into_iter().for_each(|thread| thread.join().unwrap());
    let (rounds, grown) =
        (rounds.load(Ordering::Relaxed), world.pooler.resident().saturating_sub(memory));
    eprintln!("p99 {before:?} before, {during:?} during {rounds} rounds, {} KiB", grown / 1024);
    assert!(during < before * FACTOR + SLACK, "{during:?} after {before:?}");
    assert!(grown < BREATH, "{grown} bytes");
    rounds
}

fn connected(address: &Address) -> Option<RawClient> {
    RawClient::try_connect(address).ok()
}

#[test]
fn connections_that_come_and_go_leave_the_others_in_peace() {
    let world = Scenario::new().start();
    let address = world.pooler.address();
    assert!(unmoved(&world, move |_| drop(connected(&address))) > STRANGERS);
}

#[test]
fn wrong_passwords_leave_the_others_in_peace() {
    for (auth_type, user) in [
        ("scram-sha-256", "app"),
        ("scram-sha-256", "nobody"),
        ("md5", "app"),
        ("plain", "app"),
        ("plain", "nobody"),
    ] {
        let world = Scenario::new().set("auth.auth_type", auth_type).start();
        let login = world.login().user(user, "wrong");
        let rounds = unmoved(&world, move |_| {
            assert_eq!(RawClient::try_login(&login).map(drop).unwrap_err().sqlstate, "28P01");
        });
        assert!(rounds > STRANGERS, "{auth_type}");
    }
}

/// What the pooler's threads have computed, in nanoseconds: its workers, and those beside them. Its main thread is
/// neither.
fn computed(world: &World) -> [u64; 2] {
    let process = world.pooler.process_id();
    let mut sums = [0, 0];
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).unwrap() {
        let thread = thread.unwrap().path();
        // A thread may end while it is looked at.
        let read = |file: &str| std::fs::read_to_string(thread.join(file)).unwrap_or_default();
        let (name, times) = (read("comm"), read("schedstat"));
        let time = times.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or(0);
        if !thread.ends_with(process.to_string()) {
            sums[usize::from(!name.starts_with("worker-"))] += time;
        }
    }
    sums
}

/// Of one handshake with this certificate, in nanoseconds: the workers' part, and that of those beside them. Whose
/// time it takes does not depend on how fast the machine is, nor on who else computes.
fn handshake(authority: &Authority, papers: &Papers) -> [u64; 2] {
    const HANDSHAKES: usize = 300;
    let world = Scenario::new()
        .set("tls.client_tls_sslmode", "allow")
        .set("tls.client_tls_cert_file", papers.cert.to_str().unwrap())
        .set("tls.client_tls_key_file", papers.key.to_str().unwrap())
        .start();
    let (address, config) = (world.pooler.address(), authority.trusting(&[], None));
    let before = computed(&world);
    for _ in 0..HANDSHAKES {
        RawClient::connect(&address).start_tls(Arc::clone(&config), "localhost").unwrap();
    }
    let after = computed(&world);
    let each = [0, 1].map(|who| (after[who] - before[who]) / HANDSHAKES as u64);
    eprintln!("{} ns of workers, {} ns beside them, each", each[0], each[1]);
    each
}

#[test]
fn what_costs_in_handshakes_is_computed_beside_the_workers() {
    let authority = Authority::new();
    let [workers, beside] = handshake(&authority, &authority.slow());
    assert!(beside * 2 > workers, "{beside} ns beside the workers, {workers} ns of theirs");
}

#[test]
fn handshakes_that_cost_little_wake_nobody_else() {
    let authority = Authority::new();
    let [workers, beside] = handshake(&authority, &authority.local());
    assert!(beside * 10 < workers, "{beside} ns beside the workers, {workers} ns of theirs");
}

/// A login that sends a byte now and then, as one that means harm does.
fn slowly(login: &Login, stop: &AtomicBool) {
    let Some(mut client) = connected(&login.address) else { return };
    for byte in login.startup() {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        client.send_bytes(&[byte]);
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn slow_and_silent_logins_end_in_time_and_leave_the_others_in_peace() {
    const SILENT: usize = 200;
    let world = Scenario::new().set("timeouts.client_login_timeout", "3s").start();
    let login = world.login();
    let silent: Vec<_> = (0..SILENT).map(|_| RawClient::connect(&login.address)).collect();
    let (slow, stop) = (login.clone(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let began = Instant::now();
    let watch = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(2));
        stop.store(true, Ordering::Relaxed);
    });
    unmoved(&world, move |_| slowly(&slow, &stopped));
    watch.join().unwrap();
    for mut client in silent {
        client.patience(Duration::from_secs(10));
        let reply = client.read_to_end();
        assert_eq!(reply.fault(), "FATAL 57014", "{}", reply.shape());
    }
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(RawClient::login(&login).value("SELECT 1"), "1");
}

/// What Prometheus reads.
fn refused(world: &World) -> f64 {
    let page = world.pooler.admin().get("/metrics", "text/plain").body;
    let line = page.lines().find(|line| line.starts_with("pooler_connections_refused_total "));
    line.and_then(|line| line.rsplit(' ').next()).unwrap().parse().unwrap()
}

#[test]
fn an_address_may_have_so_many_connections_that_are_not_logged_in() {
    const LIMIT: usize = 5;
    let world = Scenario::new().set("limits.max_logins_per_address", LIMIT as i64).start();
    // Who is in does not count.
    let clients = world.clients(2 * LIMIT);
    let address = world.pooler.address();
    let mut silent: Vec<_> = (0..LIMIT).map(|_| RawClient::connect(&address)).collect();
    for _ in 0..20 {
        let error = RawClient::try_login(&world.login()).map(drop).expect_err("there are enough");
        assert_eq!((error.severity.as_str(), error.sqlstate.as_str()), ("FATAL", "53300"));
        assert!(error.message.contains("max_logins_per_address"), "{error:?}");
    }
    assert_eq!(refused(&world), 20.0);
    let told = "connections were refused, the last of them from this address";
    assert_eq!(world.pooler.log().matches(told).count(), 1, "{}", world.pooler.log());
    // A Unix socket is not the network.
    let mut local = world.login();
    local.address = world.pooler.socket();
    assert_eq!(RawClient::login(&local).value("SELECT 1"), "1");
    // Each that leaves makes room.
    silent.pop();
    wait_for(Duration::from_secs(10), "room", || {
        RawClient::try_login(&world.login()).map(drop).map_err(|error| error.message)
    });
    drop(clients);
}

#[test]
fn connections_over_all_that_may_be_there_are_refused_at_once() {
    const CLIENTS: usize = 3;
    const LOGINS: usize = 2;
    // Beside those that are logged in, and one address that is not, there is room for a hundred, and no more.
    const MOST: usize = CLIENTS + LOGINS + 100;
    let scenario = Scenario::new().set("limits.max_client_conn", CLIENTS as i64);
    let world = scenario.set("limits.max_logins_per_address", LOGINS as i64).start();
    let mut clients = world.clients(CLIENTS);
    // Those are not counted by address.
    let address = world.pooler.socket();
    let _silent: Vec<_> = (CLIENTS..MOST).map(|_| RawClient::connect(&address)).collect();
    let error = RawClient::try_login(&world.login()).map(drop).expect_err("one too many");
    assert_eq!(error.sqlstate, "53300", "{error:?}");
    assert_eq!(refused(&world), 1.0);
    for client in &mut clients {
        assert_eq!(client.value("SELECT 1"), "1");
    }
}

#[test]
fn who_has_proven_nothing_takes_no_place_of_a_client() {
    const CLIENTS: usize = 3;
    let world = Scenario::new().set("limits.max_client_conn", CLIENTS as i64).start();
    let login = world.login();
    let _silent: Vec<_> = (0..2 * CLIENTS)
        .map(|_| {
            let mut client = RawClient::connect(&login.address);
            client.send_bytes(&login.startup());
            client.frame().expect("a request for authentication");
            client
        })
        .collect();
    for client in &mut world.clients(CLIENTS) {
        assert_eq!(client.value("SELECT 1"), "1");
    }
}
