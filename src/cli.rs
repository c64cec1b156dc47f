//! The command line: what to do with which file, `pooler check` and `pooler fingerprint`. Running is left to `app`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::net::tls::material::TlsMaterial;
use crate::sql::fingerprint::Fingerprinter;
use crate::sql::lexer::Backslashes;

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
}

impl From<Arguments> for Command {
    fn from(Arguments { config, action }: Arguments) -> Self {
        match action {
            None => Self::Run { config },
            Some(Action::Check) => Self::Check { config },
            Some(Action::Fingerprint) => Self::Fingerprint,
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
