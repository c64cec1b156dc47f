//! The command line: what to do with which file, `pooler check`, `pooler fingerprint` and `pooler token`. Running is
//! left to `app`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::config::{Config, Role, TokenHash, quoted};
use crate::net::tls::material::TlsMaterial;
use crate::sql::fingerprint::Fingerprinter;
use crate::sql::lexer::Backslashes;
use crate::top::{self, Times};

/// The exit code for a configuration with faults; clap's own for a wrong command line is the same.
pub const EXIT_FAULTY_CONFIG: u8 = 2;

/// What the program was called for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Pool connections until told to end.
    Run {
        /// The configuration file, if there is one.
        config: Option<PathBuf>,
    },
    /// Say what the configuration comes to, and end.
    Check {
        /// The configuration file, if there is one.
        config: Option<PathBuf>,
    },
    /// Give the fingerprints of the SQL on standard input, and end.
    Fingerprint,
    /// Make a token for the admin API, and end.
    Token {
        /// Whose it is.
        name: String,
        /// What it is good for.
        role: Role,
    },
    /// Show the overview of a running pooler, again and again.
    Top(top::Options),
}

/// Reads this process's arguments. A wrong one, `--help` and `--version` are answered here and end the process.
pub fn parse() -> Command {
    Arguments::parse().into()
}

/// This process's variables: some are settings, and `password_env` may name any. One that is not UTF-8 is kept with its
/// bad bytes replaced, so that it is refused rather than ignored.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into(), value.to_string_lossy().into()))
        .collect()
}

/// `pooler check`: the effective settings as TOML on `out` with secrets masked, warnings on `err`; or every
/// fault on `err` and [`EXIT_FAULTY_CONFIG`].
pub fn check(
    path: Option<&Path>,
    env: &BTreeMap<String, String>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> ExitCode {
    let written = match Config::load(path, env) {
        Ok(config) => match TlsMaterial::load(&config.tls) {
            Ok(_) => show(&config, out, err).map(|()| ExitCode::SUCCESS),
            Err(fault) => writeln!(err, "{fault}").map(|()| ExitCode::from(EXIT_FAULTY_CONFIG)),
        },
        Err(faults) => writeln!(err, "{faults}").map(|()| ExitCode::from(EXIT_FAULTY_CONFIG)),
    };
    // Nobody reads any more, as with `| head`: there is no one left to tell.
    written.unwrap_or(ExitCode::FAILURE)
}

/// `pooler fingerprint`: for each statement on `input` a line on `out` with its hash and its text. A string
/// without a prefix is read as with `standard_conforming_strings = on`.
pub fn fingerprint(input: &mut impl Read, out: &mut impl Write) -> ExitCode {
    let mut sql = Vec::new();
    let mut written = input.read_to_end(&mut sql).map(|_| ());
    Fingerprinter::default().read(&sql, Backslashes::Literal, |statement| {
        let line = format!("{}  {}\n", statement.fingerprint, statement.text().text);
        if written.is_ok() {
            written = out.write_all(line.as_bytes());
        }
    });
    written.and_then(|()| out.flush()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// How many random bytes a token has.
const TOKEN_BYTES: usize = 32;

/// What a token begins with, so that those who look for leaked secrets know it.
const TOKEN_PREFIX: &str = "pooler_";

/// `pooler token`: the table for the configuration on `out`, the token itself, which is nowhere else, on `err`.
pub fn token(name: &str, role: Role, out: &mut impl Write, err: &mut impl Write) -> ExitCode {
    let random = Zeroizing::new(rand::random::<[u8; TOKEN_BYTES]>());
    let encoded = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(&random[..]));
    let token = Zeroizing::new(format!("{TOKEN_PREFIX}{}", &*encoded));
    let hash = TokenHash(Sha256::digest(token.as_bytes()).into());
    let (name, role) = (quoted(name), role.as_str());
    let table = format!("\n[tokens.{name}]\nrole = \"{role}\"\nhash = \"{hash}\"\n");
    let written = writeln!(err, "The token, shown only now: {}", &*token)
        .and_then(|()| out.write_all(table.as_bytes()))
        .and_then(|()| out.flush());
    written.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

/// A transaction-mode Postgres connection pooler.
///
/// Settings come from the file, and above it from environment variables such as
/// POOLER__POOL__DEFAULT_POOL_SIZE=25. Without a file, clients connect to 127.0.0.1:6432 and
/// are served by the Postgres on 127.0.0.1:5432. pooler.toml.example explains every setting.
#[derive(Debug, Parser)]
#[command(version, about, long_about, max_term_width = 100)]
struct Arguments {
    /// The configuration file; without it, only the defaults and the environment count
    #[arg(long, short, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print the effective settings as TOML, secrets masked; with faults, print those and exit with 2
    Check,
    /// Print hash and normalised text of each SQL statement on standard input
    Fingerprint,
    /// Show a running pooler in the terminal: pools, statements, databases, again and again
    Top {
        /// Where its admin API is
        #[arg(long, value_name = "URL", default_value = "http://localhost:6433")]
        url: String,

        /// A file with a token for it
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,

        /// The CAs of its certificate, for https
        #[arg(long, value_name = "FILE")]
        ca_file: Option<PathBuf>,

        /// Seconds between two looks
        #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = interval)]
        interval: Duration,

        /// Print it once; so it does where standard output is no terminal
        #[arg(long)]
        once: bool,
    },
    /// Make a token for the admin API: prints the lines for the configuration file, and the token on standard error
    ///
    /// `pooler token prometheus --role metrics >> pooler.toml` and a reload let it in.
    Token {
        /// Whose it is: a name for the configuration and the log
        #[arg(value_parser = clap::builder::NonEmptyStringValueParser::new())]
        name: String,

        /// metrics scrapes /metrics, view sees every page, admin changes something too
        #[arg(long, default_value = "view", value_parser = PossibleValuesParser::new(Role::names()))]
        role: String,
    },
}

/// From a tenth of a second to an hour.
fn interval(text: &str) -> Result<Duration, &'static str> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or("seconds from 0.1 to 3600")
}

impl From<Arguments> for Command {
    fn from(Arguments { config, action }: Arguments) -> Self {
        match action {
            None => Self::Run { config },
            Some(Action::Check) => Self::Check { config },
            Some(Action::Fingerprint) => Self::Fingerprint,
            Some(Action::Top { url, token_file, ca_file, interval, once }) => {
                let times = if once { Times::Once } else { Times::Again };
                Self::Top(top::Options { url, token_file, ca_file, interval, times })
            }
            Some(Action::Token { name, role }) => {
                Self::Token { name, role: Role::named(&role).expect("the parser takes no other") }
            }
        }
    }
}

fn show(config: &Config, out: &mut impl Write, err: &mut impl Write) -> std::io::Result<()> {
    for warning in &config.warnings {
        writeln!(err, "warning: {warning}")?;
    }
    out.write_all(config.to_toml().as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn command(arguments: &[&str]) -> Result<Command, clap::error::ErrorKind> {
        let all = ["pooler"].iter().chain(arguments);
        Arguments::try_parse_from(all).map(Command::from).map_err(|error| error.kind())
    }

    #[test]
    fn the_file_is_named_before_or_after_the_action() {
        let config = Some(PathBuf::from("a.toml"));
        assert_eq!(command(&[]), Ok(Command::Run { config: None }));
        assert_eq!(command(&["--config", "a.toml"]), Ok(Command::Run { config: config.clone() }));
        let check = Ok(Command::Check { config });
        assert_eq!(command(&["check", "--config", "a.toml"]), check);
        assert_eq!(command(&["--config=a.toml", "check"]), check);
    }

    #[test]
    fn a_wrong_command_line_is_refused() {
        Arguments::command().debug_assert();
        assert_eq!(command(&["chekc"]), Err(clap::error::ErrorKind::InvalidSubcommand));
        assert_eq!(command(&["--port", "1"]), Err(clap::error::ErrorKind::UnknownArgument));
        assert_eq!(command(&["--version"]), Err(clap::error::ErrorKind::DisplayVersion));
        assert_eq!(command(&["--help"]), Err(clap::error::ErrorKind::DisplayHelp));
    }

    #[test]
    fn top_takes_what_it_is_told() {
        let told =
            ["top", "--url", "http://h:1", "--interval", "0.5", "--once", "--token-file", "t"];
        let expected = top::Options {
            url: "http://h:1".to_owned(),
            token_file: Some("t".into()),
            ca_file: None,
            interval: Duration::from_millis(500),
            times: Times::Once,
        };
        assert_eq!(command(&told), Ok(Command::Top(expected)));
        for wrong in ["0", "-1", "nan", "x", "3601"] {
            let refused = command(&["top", &format!("--interval={wrong}")]);
            assert_eq!(refused, Err(clap::error::ErrorKind::ValueValidation), "{wrong}");
        }
    }

    #[test]
    fn fingerprints_are_printed_with_their_texts() {
        let mut out = Vec::new();
        let code =
            fingerprint(&mut &b"SELECT 1; select * from t where id in (1, 2)\n"[..], &mut out);
        assert_eq!(
            (command(&["fingerprint"]), code),
            (Ok(Command::Fingerprint), ExitCode::SUCCESS)
        );
        let expected = "2c3468d568a66693  select $1\n\
                        b7657872f2d55e00  select * from t where id in ($1 /*, ... */)\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_token_is_made_with_the_lines_that_let_it_in() {
        let wanted = Command::Token { name: "a b".to_owned(), role: Role::Metrics };
        assert_eq!(command(&["token", "a b", "--role", "metrics"]), Ok(wanted));
        let wrong = Err(clap::error::ErrorKind::InvalidValue);
        assert_eq!(command(&["token", "ann", "--role", "root"]), wrong);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(token("a b", Role::Metrics, &mut out, &mut err), ExitCode::SUCCESS);
        let (table, said) = (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
        let token = said.trim_end().rsplit(' ').next().unwrap();
        assert_eq!(token.len(), TOKEN_PREFIX.len() + 43, "{said}");
        assert!(!table.contains(token), "{table}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pooler.toml");
        std::fs::write(&file, table).unwrap();
        let config = Config::load(Some(&file), &BTreeMap::new()).unwrap();
        let known = &config.tokens["a b"];
        let hash = TokenHash(Sha256::digest(token).into());
        assert_eq!((known.role, known.hash), (Role::Metrics, Some(hash)));
    }

    #[test]
    fn check_prints_the_settings_or_the_faults() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let good = BTreeMap::from([
            ("POOLER__POOL__DEFAULT_POOL_SIZE".to_owned(), "7".to_owned()),
            ("POOLER__USERS__ANN__PASSWORD".to_owned(), "hunter2".to_owned()),
            ("POOLER__LISTEN__LISTEN_ADDR".to_owned(), "*".to_owned()),
            ("POOLER__AUTH__AUTH_TYPE".to_owned(), "trust".to_owned()),
        ]);
        assert_eq!(check(None, &good, &mut out, &mut err), ExitCode::SUCCESS);
        let (out_text, err_text) =
            (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap());
        assert!(out_text.contains("\ndefault_pool_size = 7\n"), "{out_text}");
        assert!(out_text.contains("\npassword = \"********\"\n"), "{out_text}");
        assert!(!out_text.contains("hunter2") && !err_text.contains("hunter2"));
        assert!(err_text.starts_with("warning: auth_type is trust"), "{err_text}");

        let (mut out, mut err) = (Vec::new(), Vec::new());
        let bad = BTreeMap::from([("POOLER__POOL__DEFAULT_POOL_SIZE".to_owned(), "x".to_owned())]);
        let code = check(None, &bad, &mut out, &mut err);
        assert_eq!(code, ExitCode::from(EXIT_FAULTY_CONFIG));
        assert!(out.is_empty());
        assert_eq!(
            String::from_utf8(err).unwrap(),
            "POOLER__POOL__DEFAULT_POOL_SIZE: expected a whole number, found text\n"
        );
    }
}
