//! `pooler top`: the admin API's overview in a terminal, again and again, with keys to sort it. What it says is made by
//! the pooler that is asked, which may be on another machine and may come and go.

mod ask;
mod hangup;
mod screen;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use ask::{Ask, Silence};
use screen::Screen;

/// What statements can be sorted by: the key, the API's word.
const SORTS: [(char, &str); 9] = [
    ('t', "total"),
    ('c', "calls"),
    ('m', "mean"),
    ('5', "p95"),
    ('9', "p99"),
    ('x', "max"),
    ('r', "rows"),
    ('e', "errors"),
    ('w', "wait"),
];

/// Statements that are asked for: so many at least, and at most, however high the terminal is.
const STATEMENTS: (usize, usize) = (3, 100);

/// The keys, for the last line.
const KEYS: &str =
    "[t]otal [c]alls [m]ean p9[5] p9[9] ma[x] [r]ows [e]rrors [w]ait  [p]ause [q]uit";

/// What is asked of whom, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The address of the admin API: `http://` or `https://`, host and port.
    pub url: String,
    /// A file with a token in it.
    pub token_file: Option<PathBuf>,
    /// A PEM file with the CAs of the API's certificate, for `https://`.
    pub ca_file: Option<PathBuf>,
    /// The time between two looks.
    pub interval: Duration,
    /// Whether there is more than one.
    pub times: Times,
}

/// How often the numbers are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Once, as plain text.
    Once,
    /// Until a key ends it.
    Again,
}

/// How often signals are looked for while keys are waited for.
const BEAT: Duration = Duration::from_millis(100);

/// What a key asks for.
enum Wish {
    Nothing,
    Look,
    Quit,
}

/// What is shown and how.
struct View {
    sort: &'static str,
    statements: usize,
    paused: bool,
    /// The last answer, and since when there is none.
    text: String,
    silent: Option<(Instant, String)>,
}

/// Runs until a key ends it; once, where standard output is no terminal.
pub fn run(options: &Options) -> ExitCode {
    match Ask::new(options).map_err(|fault| fault.to_string()).and_then(|ask| show(&ask, options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            eprintln!("pooler top: {fault}");
            ExitCode::FAILURE
        }
    }
}

fn show(ask: &Ask, options: &Options) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    if options.times == Times::Once || !io::stdout().is_terminal() {
        let text = runtime.block_on(ask.overview("total", 10)).map_err(|why| why.to_string())?;
        return match io::stdout().write_all(screen::clean(&text).as_bytes()) {
            // Nobody reads any more, as with `| head`.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.to_string()),
            Ok(()) | Err(_) => Ok(()),
        };
    }
    let end = runtime.block_on(async { End::new() });
    let outside = Outside { ask, end: end.map_err(|error| error.to_string())?, runtime: &runtime };
    hangup::watch().map_err(|error| error.to_string())?;
    let screen = Screen::open().map_err(|error| error.to_string())?;
    let shown = View::default().keep(outside, &screen, options.interval);
    drop(screen);
    shown.map_err(|error| error.to_string())
}

/// What is heard beside keys.
struct Outside<'a> {
    ask: &'a Ask,
    runtime: &'a Runtime,
    end: End,
}

/// Signals that ask for the end: the terminal is given back first. SIGHUP is none of them: the terminal is gone then, see
/// [`hangup`].
struct End {
    terminate: Signal,
    interrupt: Signal,
}

impl End {
    /// To be called within a runtime.
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them. Cancel safe.
    async fn come(&mut self) -> io::Error {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        };
        io::Error::other(format!("ended by {name}"))
    }
}

impl Outside<'_> {
    /// The overview; an error of the outside is that it is time to end.
    fn overview(&mut self, sort: &str, statements: usize) -> io::Result<Result<String, Silence>> {
        let Self { ask, runtime, end } = self;
        runtime.block_on(async {
            tokio::select! {
                answer = ask.overview(sort, statements) => Ok(answer),
                signal = end.come() => Err(signal),
            }
        })
    }

    /// Is it time to end?
    fn check(&mut self) -> io::Result<()> {
        let Self { runtime, end, .. } = self;
        let come = runtime.block_on(async { timeout(Duration::ZERO, end.come()).await });
        come.map_or(Ok(()), Err)
    }
}

impl Default for View {
    fn default() -> Self {
        let (least, _) = STATEMENTS;
        Self { sort: "total", statements: least, paused: false, text: String::new(), silent: None }
    }
}

impl View {
    fn keep(
        mut self,
        mut outside: Outside<'_>,
        screen: &Screen,
        interval: Duration,
    ) -> io::Result<()> {
        loop {
            let now = Instant::now();
            if !self.paused {
                match outside.overview(self.sort, self.statements)? {
                    Ok(text) => (self.text, self.silent) = (text, None),
                    Err(why) => {
                        let since = self.silent.take().map_or(now, |(since, _)| since);
                        self.silent = Some((since, why.to_string()));
                    }
                }
                if self.fit(screen.height()) {
                    continue;
                }
            }
            screen.draw(&self.text, &self.last_line(outside.ask))?;
            match self.wait(now + interval, screen, &mut outside)? {
                Wish::Quit => return Ok(()),
                Wish::Nothing | Wish::Look => {}
            }
        }
    }

    /// As many statements as there is room for; did that change?
    fn fit(&mut self, height: usize) -> bool {
        let (least, most) = STATEMENTS;
        let (lines, room) = (self.text.lines().count(), height.saturating_sub(1));
        let shown = self.text.lines().skip_while(|line| !line.starts_with("TOP BY")).skip(2);
        let shown = shown.take_while(|line| !line.is_empty()).count();
        let wanted = (shown + room).saturating_sub(lines).clamp(least, most);
        // With fewer statements than asked for, there are no more.
        let changes = self.silent.is_none()
            && wanted != self.statements
            && shown >= self.statements.min(wanted);
        if changes {
            self.statements = wanted;
        }
        changes && wanted > shown
    }

    fn last_line(&self, ask: &Ask) -> String {
        match &self.silent {
            Some((since, why)) => {
                format!("no answer from {} for {} s: {why}", ask.url(), since.elapsed().as_secs())
            }
            None if self.paused => format!("paused  {KEYS}"),
            None => format!("by {}  {KEYS}", self.sort),
        }
    }

    /// Hears keys until it is time for the next look.
    fn wait(
        &mut self,
        until: Instant,
        screen: &Screen,
        outside: &mut Outside<'_>,
    ) -> io::Result<Wish> {
        loop {
            outside.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if !event::poll(left.min(BEAT))? {
                if left <= BEAT {
                    return Ok(Wish::Nothing);
                }
                continue;
            }
            let wish = match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => self.hear(key),
                Event::Resize(..) => Wish::Look,
                Event::Key(_) | Event::FocusGained | Event::FocusLost | Event::Mouse(_) => {
                    Wish::Nothing
                }
                #[allow(unreachable_patterns, reason = "what the crate's features add")]
                _ => Wish::Nothing,
            };
            match wish {
                Wish::Nothing => screen.draw(&self.text, &self.last_line(outside.ask))?,
                Wish::Look | Wish::Quit => return Ok(wish),
            }
        }
    }

    fn hear(&mut self, key: KeyEvent) -> Wish {
        let KeyCode::Char(letter) = key.code else {
            return if key.code == KeyCode::Esc { Wish::Quit } else { Wish::Nothing };
        };
        if letter == 'q' || (letter == 'c' && key.modifiers.contains(KeyModifiers::CONTROL)) {
            return Wish::Quit;
        }
        if letter == 'p' {
            self.paused = !self.paused;
            return if self.paused { Wish::Nothing } else { Wish::Look };
        }
        match SORTS.iter().find(|(known, _)| *known == letter) {
            Some((_, sort)) => {
                (self.sort, self.paused) = (sort, false);
                Wish::Look
            }
            None => Wish::Nothing,
        }
    }
}
