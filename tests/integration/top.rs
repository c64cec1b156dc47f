//! `pooler top`, in a terminal made for it and without one.

use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use crate::support::{PATIENCE, Scenario, TempDir, World, isolate, program, wait_for};

/// What ends it, shows that it is at work.
const STATUS: &str = "[q]uit";

fn top(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    isolate(&mut command);
    command.args(["top", "--url", url]).args(arguments);
    command
}

fn url(world: &World) -> String {
    format!("http://127.0.0.1:{}", world.pooler.admin_port())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// It in a terminal of 24 lines: `script` makes one and writes down what is shown.
struct Terminal {
    child: Child,
    folder: TempDir,
}

impl Terminal {
    fn open(world: &World, arguments: &[&str]) -> Terminal {
        Terminal::open_then(world, arguments, "")
    }

    /// The same, and another command after it.
    fn open_then(world: &World, arguments: &[&str], after: &str) -> Terminal {
        Terminal::run(world, arguments, ["", after])
    }

    /// The same, with a command before and one after it.
    fn run(world: &World, arguments: &[&str], [before, after]: [&str; 2]) -> Terminal {
        let folder = TempDir::new();
        let typed = top(&url(world), arguments);
        let words: Vec<_> = typed.get_args().map(|word| word.to_str().unwrap()).collect();
        let pid = folder.path().join("pid");
        let line = format!(
            "stty rows 24 cols 90; {before} sh -c 'echo $$ > {}; exec {} {}'{after}",
            pid.display(),
            program().display(),
            words.join(" ")
        );
        let mut script = Command::new("script");
        isolate(&mut script);
        script.args(["--quiet", "--flush", "--return", "--command", &line]);
        script.arg(folder.path().join("shown")).env("TERM", "xterm");
        script.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Terminal { child: script.spawn().unwrap(), folder }
    }

    fn shown(&self) -> String {
        let bytes = std::fs::read(self.folder.path().join("shown")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        wait_for(PATIENCE, text, || {
            let shown = self.shown();
            if shown.contains(text) { Ok(()) } else { Err(shown) }
        });
    }

    fn press(&mut self, keys: &str) {
        let terminal = self.child.stdin.as_mut().unwrap();
        terminal.write_all(keys.as_bytes()).unwrap();
        terminal.flush().unwrap();
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn it_shows_the_overview_sorts_by_a_key_and_gives_the_terminal_back() {
    let world = Scenario::new().start();
    world.client().query("SELECT 'shown in a terminal'");
    let mut terminal = Terminal::open(&world, &["--interval", "0.2"]);
    terminal.wait_for(STATUS);
    terminal.wait_for("TOP BY TOTAL TIME");
    terminal.press("c");
    terminal.wait_for("TOP BY CALLS");
    terminal.press("p");
    terminal.wait_for("paused");
    terminal.press("q");
    let ended = wait_for(PATIENCE, "its end", || {
        terminal.child.try_wait().unwrap().ok_or_else(|| terminal.shown())
    });
    assert!(ended.success(), "{}", terminal.shown());
    let shown = terminal.shown();
    // The other screen, and back; the cursor too.
    assert!(shown.contains("\x1b[?1049h") && shown.contains("\x1b[?1049l"), "{shown:?}");
    assert!(shown.contains("\x1b[?25h"), "{shown:?}");
}

#[test]
fn a_signal_ends_it_with_the_terminal_as_it_was() {
    let world = Scenario::new().start();
    for signal in ["TERM", "INT"] {
        let mut terminal = Terminal::open_then(&world, &["--interval", "60"], "; stty -a");
        terminal.wait_for(STATUS);
        let pid = std::fs::read_to_string(terminal.folder.path().join("pid")).unwrap();
        let sent = Command::new("kill").args(["-s", signal, pid.trim()]).status().unwrap();
        assert!(sent.success());
        terminal.wait_for(&format!("pooler top: ended by SIG{signal}"));
        wait_for(PATIENCE, "its end", || {
            terminal.child.try_wait().unwrap().ok_or_else(|| terminal.shown())
        });
        let shown = terminal.shown();
        assert!(shown.contains("\x1b[?1049l") && shown.contains("\x1b[?25h"), "{shown:?}");
        assert!(shown.contains(" icanon ") && shown.contains(" echo "), "{shown:?}");
    }
}

/// Processor time of a process, in hundredths of a second; none: it has ended.
fn processor_time(pid: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<_> = rest.split(' ').collect();
    // A zombie has ended; somebody else is to be told.
    (fields[0] != "Z")
        .then(|| fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

#[test]
fn it_ends_with_its_terminal_even_where_hangups_are_ignored() {
    let world = Scenario::new().start();
    for before in ["", "trap '' HUP;"] {
        let mut terminal = Terminal::run(&world, &["--interval", "0.1"], [before, ""]);
        terminal.wait_for(STATUS);
        let pid = std::fs::read_to_string(terminal.folder.path().join("pid")).unwrap();
        let pid = pid.trim();
        let spent = processor_time(pid).expect("it runs");
        // The other end of the terminal goes with it.
        terminal.child.kill().unwrap();
        wait_for(PATIENCE, "its end", || match processor_time(pid) {
            None => Ok(()),
            Some(now) => {
                assert!(now - spent < 500, "{before}: five seconds of processor time");
                Err(format!("{before}: it runs"))
            }
        });
    }
}

#[test]
fn it_goes_on_when_the_pooler_is_away_and_comes_back() {
    let mut world = Scenario::new().start();
    world.skip_rest_check();
    let terminal = Terminal::open(&world, &["--interval", "0.1"]);
    terminal.wait_for(STATUS);
    world.pooler.stop();
    terminal.wait_for("no answer from");
    let before = terminal.shown().matches(STATUS).count();
    world.pooler.start_again();
    wait_for(PATIENCE, "it to be back", || {
        let shown = terminal.shown();
        if shown.matches(STATUS).count() > before { Ok(()) } else { Err(shown) }
    });
}

#[test]
fn without_a_terminal_it_prints_once() {
    let world = Scenario::new().start();
    world.client().query("SELECT 1");
    for arguments in [&["--once"][..], &[]] {
        let output = top(&url(&world), arguments).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.starts_with("pooler ") && text.contains(&world.database), "{text}");
        assert!(!text.contains('\x1b'), "{text:?}");
    }
}

#[test]
fn faults_are_said_in_a_line() {
    let folder = TempDir::new();
    let token = folder.write("token", "The token, shown only now: pooler_wrong\n");
    let world = Scenario::new().set("tokens.ann.hash", format!("sha256:{}", "ab".repeat(32)));
    let mut world = world.start();
    world.skip_rest_check();
    let with_token = ["--token-file", token.to_str().unwrap()];
    for (url, arguments, expected) in [
        (url(&world).as_str(), &[][..], "401 Unauthorized: a token is needed"),
        (url(&world).as_str(), &with_token[..], "401 Unauthorized: the token is not known here"),
        ("http://127.0.0.1:1", &[], "Connection refused"),
        ("ftp://x", &[], "not an address such as http://localhost:6433"),
        ("https://localhost", &[], "https needs --ca-file"),
        ("localhost:1", &["--token-file", "/none"], "--token-file /none: No such file"),
    ] {
        let output = top(url, arguments).output().unwrap();
        assert!(!output.status.success() && said(&output).contains(expected), "{}", said(&output));
        assert_eq!(said(&output).lines().count(), 1, "{}", said(&output));
    }
}
