//! The first packet of a connection: what a peer may say before it has a protocol version.
//!
//! Postgres: `ProcessStartupPacket` in src/backend/tcop/backend_startup.c.

use super::frame::split_cstr;

/// `MAX_STARTUP_PACKET_LENGTH` of Postgres, the four length bytes included.
pub const MAX_STARTUP_PACKET: usize = 10_000;
/// The code of a cancel request: 1234 in the upper, 5678 in the lower half.
pub const CANCEL_REQUEST_CODE: u32 = (1234 << 16) | 5678;
/// The code of an SSL request.
pub const SSL_REQUEST_CODE: u32 = (1234 << 16) | 5679;
/// The code of a GSSAPI encryption request.
pub const GSSENC_REQUEST_CODE: u32 = (1234 << 16) | 5680;
/// Protocol 3.0 as a number.
pub const PROTOCOL_3_0: u32 = 3 << 16;
/// Protocol 3.2 as a number: the newest the pooler speaks (long cancel keys).
pub const PROTOCOL_3_2: u32 = (3 << 16) | 2;
/// The longest cancel key of protocol 3.2 (`MAX_CANCEL_KEY_LENGTH`).
pub const MAX_CANCEL_KEY: usize = 256;

/// The longest name of a user or database in bytes (`NAMEDATALEN - 1`).
const MAX_NAME: usize = 63;

/// What the first packet asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstPacket {
    /// "May I speak TLS?"
    SslRequest,
    /// "May I speak GSSAPI encryption?"
    GssEncRequest,
    /// "Cancel what this key's owner runs."
    CancelRequest {
        /// The process id from `BackendKeyData`.
        pid: u32,
        /// The secret from `BackendKeyData`: 4 bytes, or up to 256 in protocol 3.2.
        secret: Vec<u8>,
    },
    /// A session begins.
    Startup(Startup),
}

/// A `StartupMessage`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// The minor version asked for (major is 3).
    pub minor: u16,
    /// User name.
    pub user: String,
    /// Database name; the user's name when the client gave none.
    pub database: String,
    /// Every other parameter, in the order sent, `options` already taken apart.
    pub parameters: Vec<(String, String)>,
    /// `_pq_.` options, which the pooler does not know and will say so.
    pub unknown_options: Vec<String>,
    /// Which kind of replication connection the client asks for, if it does.
    pub replication: Option<Replication>,
}

/// What a replication connection is about ("Streaming Replication Protocol" in the docs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replication {
    /// The whole cluster: `replication=true`.
    Physical,
    /// One database, SQL included: `replication=database`.
    Logical,
}

/// Why a first packet is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartupError {
    /// The length field is below 8 or over [`MAX_STARTUP_PACKET`].
    #[error("invalid length of startup packet")]
    InvalidLength,
    /// Protocol 1, 2 or one from the future.
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")]
    UnsupportedVersion {
        /// Major version asked for.
        major: u16,
        /// Minor version asked for.
        minor: u16,
    },
    /// The list of parameters does not end where it should.
    #[error("invalid startup packet layout: expected terminator as last byte")]
    InvalidLayout,
    /// A parameter is not UTF-8.
    #[error("invalid startup packet: parameter is not valid UTF-8")]
    NotUtf8,
    /// No user was named.
    #[error("no PostgreSQL user name specified in startup packet")]
    NoUser,
    /// A cancel request of the wrong size.
    #[error("invalid length of cancel request packet")]
    InvalidCancel,
    /// `options` holds something else than settings.
    #[error("invalid command-line argument for server process in startup parameter \"options\"")]
    InvalidOptions,
    /// `replication` is neither a boolean nor `database`.
    #[error("invalid value for parameter \"replication\": valid are false, 0, true, 1, database")]
    InvalidReplication,
}

/// The length of the whole first packet, read from its first four bytes.
///
/// # Errors
/// When it is not within 8 and [`MAX_STARTUP_PACKET`].
pub fn packet_length(first: [u8; 4]) -> Result<usize, StartupError> {
    let length = u32::from_be_bytes(first) as usize;
    if (8..=MAX_STARTUP_PACKET).contains(&length) {
        Ok(length)
    } else {
        Err(StartupError::InvalidLength)
    }
}

/// Reads a first packet's body: what follows the four length bytes.
///
/// # Errors
/// When it is nothing that Postgres would accept.
pub fn parse(body: &[u8]) -> Result<FirstPacket, StartupError> {
    let (code, rest) = body.split_first_chunk::<4>().ok_or(StartupError::InvalidLength)?;
    match u32::from_be_bytes(*code) {
        SSL_REQUEST_CODE => Ok(FirstPacket::SslRequest),
        GSSENC_REQUEST_CODE => Ok(FirstPacket::GssEncRequest),
        CANCEL_REQUEST_CODE => {
            let (pid, secret) = rest.split_first_chunk::<4>().ok_or(StartupError::InvalidCancel)?;
            if !(4..=MAX_CANCEL_KEY).contains(&secret.len()) {
                return Err(StartupError::InvalidCancel);
            }
            Ok(FirstPacket::CancelRequest {
                pid: u32::from_be_bytes(*pid),
                secret: secret.to_vec(),
            })
        }
        version => {
            let (major, minor) = ((version >> 16) as u16, (version & 0xffff) as u16);
            if major != 3 {
                return Err(StartupError::UnsupportedVersion { major, minor });
            }
            parse_startup(minor, rest).map(FirstPacket::Startup)
        }
    }
}

fn parse_startup(minor: u16, mut rest: &[u8]) -> Result<Startup, StartupError> {
    let mut startup = Startup {
        minor,
        user: String::new(),
        database: String::new(),
        parameters: Vec::new(),
        unknown_options: Vec::new(),
        replication: None,
    };
    loop {
        let (name, after) = split_cstr(rest).ok_or(StartupError::InvalidLayout)?;
        if name.is_empty() {
            if !after.is_empty() {
                return Err(StartupError::InvalidLayout);
            }
            break;
        }
        let (value, after) = split_cstr(after).ok_or(StartupError::InvalidLayout)?;
        let name = std::str::from_utf8(name).map_err(|_| StartupError::NotUtf8)?;
        let value = std::str::from_utf8(value).map_err(|_| StartupError::NotUtf8)?;
        startup.take(name, value)?;
        rest = after;
    }
    if startup.user.is_empty() {
        return Err(StartupError::NoUser);
    }
    if startup.database.is_empty() {
        startup.database.clone_from(&startup.user);
    }
    cut(&mut startup.user);
    cut(&mut startup.database);
    Ok(startup)
}

/// Postgres knows no longer names: two that differ only behind this are one.
fn cut(name: &mut String) {
    name.truncate(name.floor_char_boundary(MAX_NAME));
}

impl Startup {
    fn take(&mut self, name: &str, value: &str) -> Result<(), StartupError> {
        match name {
            "user" => value.clone_into(&mut self.user),
            "database" => value.clone_into(&mut self.database),
            "replication" => self.replication = Replication::parse(value)?,
            "options" => self.parameters.extend(parse_options(value)?),
            _ if name.starts_with("_pq_.") => self.unknown_options.push(name.to_owned()),
            _ => self.parameters.push((name.to_owned(), value.to_owned())),
        }
        Ok(())
    }
}

impl Replication {
    /// The value that asks for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Physical => "true",
            Self::Logical => "database",
        }
    }

    /// A boolean as `parse_bool` (utils/adt/bool.c) reads it, which takes beginnings of words too, or
    /// `database`.
    fn parse(value: &str) -> Result<Option<Self>, StartupError> {
        let lower = value.to_ascii_lowercase();
        let begins = |word: &str, least: usize| lower.len() >= least && word.starts_with(&*lower);
        if value == "database" {
            Ok(Some(Self::Logical))
        } else if lower == "1" || begins("true", 1) || begins("yes", 1) || lower == "on" {
            Ok(Some(Self::Physical))
        } else if lower == "0" || begins("false", 1) || begins("no", 1) || begins("off", 2) {
            Ok(None)
        } else {
            Err(StartupError::InvalidReplication)
        }
    }
}

/// Takes `options` apart as Postgres does (`pg_split_opts`, postinit.c, then `-c k=v` and `--k=v`
/// of `process_postgres_switches`): words by white space, a backslash keeps the next character.
fn parse_options(options: &str) -> Result<Vec<(String, String)>, StartupError> {
    let mut words = split_options(options).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = if let Some(rest) = word.strip_prefix("--") {
            rest.to_owned()
        } else if let Some(rest) = word.strip_prefix("-c") {
            if rest.is_empty() {
                words.next().ok_or(StartupError::InvalidOptions)?
            } else {
                rest.to_owned()
            }
        } else {
            return Err(StartupError::InvalidOptions);
        };
        let (name, value) = setting.split_once('=').ok_or(StartupError::InvalidOptions)?;
        if name.is_empty() {
            return Err(StartupError::InvalidOptions);
        }
        // `ParseLongOption`: dashes in a name stand for underscores.
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn split_options(options: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = options.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => {
                // A trailing backslash stands for nothing, as in pg_split_opts.
                if let Some(next) = characters.next() {
                    word.get_or_insert_default().push(next);
                }
            }
            c if c.is_ascii_whitespace() || c == '\u{b}' => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn packet(version: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        for (k, v) in pairs {
            body.extend(k.bytes().chain([0]).chain(v.bytes()).chain([0]));
        }
        body.push(0);
        body
    }

    fn startup(pairs: &[(&str, &str)]) -> Result<Startup, StartupError> {
        match parse(&packet(PROTOCOL_3_0, pairs))? {
            FirstPacket::Startup(s) => Ok(s),
            FirstPacket::SslRequest
            | FirstPacket::GssEncRequest
            | FirstPacket::CancelRequest { .. } => panic!("not a startup"),
        }
    }

    #[test]
    fn the_database_defaults_to_the_user() {
        let s = startup(&[("user", "ann")]).unwrap();
        assert_eq!((s.user.as_str(), s.database.as_str()), ("ann", "ann"));
    }

    #[test]
    fn names_are_cut_as_postgres_does() {
        let long = "u".repeat(62);
        let user = format!("{long}\u{e9}x");
        let s = startup(&[("user", &user), ("database", &"d".repeat(64))]).unwrap();
        assert_eq!((s.user.as_str(), s.database), (long.as_str(), "d".repeat(63)));
        assert_eq!(startup(&[("user", &user)]).unwrap().database, long);
    }

    #[test]
    fn options_become_parameters() {
        let s = startup(&[
            ("user", "ann"),
            ("options", r"-c search_path=a,\ b --statement-timeout=5s -cgeqo=off"),
            ("DateStyle", "ISO"),
        ])
        .unwrap();
        let expected = [
            ("search_path", "a, b"),
            ("statement_timeout", "5s"),
            ("geqo", "off"),
            ("DateStyle", "ISO"),
        ];
        let got: Vec<_> = s.parameters.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn options_that_are_no_settings_are_refused() {
        for bad in ["-i", "x", "-c", "-c geqo", "--geqo", "--=1"] {
            let got = startup(&[("user", "ann"), ("options", bad)]);
            assert_eq!(got, Err(StartupError::InvalidOptions), "{bad}");
        }
    }

    #[test]
    fn faults_are_told_apart() {
        assert_eq!(startup(&[("database", "d")]), Err(StartupError::NoUser));
        assert_eq!(
            parse(&packet(2 << 16, &[("user", "u")])),
            Err(StartupError::UnsupportedVersion { major: 2, minor: 0 })
        );
        let mut unfinished = packet(PROTOCOL_3_0, &[("user", "u")]);
        unfinished.pop();
        assert_eq!(parse(&unfinished), Err(StartupError::InvalidLayout));
        let mut trailing = packet(PROTOCOL_3_0, &[("user", "u")]);
        trailing.push(b'x');
        assert_eq!(parse(&trailing), Err(StartupError::InvalidLayout));
        assert_eq!(packet_length(*b"GET "), Err(StartupError::InvalidLength));
        assert_eq!(packet_length([0, 0, 0, 7]), Err(StartupError::InvalidLength));
        assert_eq!(packet_length([0, 0, 0, 8]), Ok(8));
    }

    #[test]
    fn replication_is_a_boolean_or_database() {
        let (physical, logical) = (Some(Replication::Physical), Some(Replication::Logical));
        for (value, wanted) in [
            ("true", Ok(physical)),
            ("ON", Ok(physical)),
            ("y", Ok(physical)),
            ("1", Ok(physical)),
            ("database", Ok(logical)),
            ("of", Ok(None)),
            ("0", Ok(None)),
            ("No", Ok(None)),
            ("o", Err(StartupError::InvalidReplication)),
            ("", Err(StartupError::InvalidReplication)),
            ("Database", Err(StartupError::InvalidReplication)),
        ] {
            let answer = startup(&[("user", "u"), ("replication", value)]);
            assert_eq!(answer.map(|s| s.replication), wanted, "{value}");
        }
    }

    #[test]
    fn cancel_keys_may_be_long() {
        let mut body = CANCEL_REQUEST_CODE.to_be_bytes().to_vec();
        body.extend(7u32.to_be_bytes());
        assert_eq!(parse(&body), Err(StartupError::InvalidCancel));
        body.extend([9; 32]);
        let wanted = FirstPacket::CancelRequest { pid: 7, secret: vec![9; 32] };
        assert_eq!(parse(&body), Ok(wanted));
        body.extend([9; 250]);
        assert_eq!(parse(&body), Err(StartupError::InvalidCancel));
    }

    proptest! {
        #[test]
        fn any_body_gives_an_answer(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&body);
        }

        #[test]
        fn any_parameters_give_an_answer(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut whole = PROTOCOL_3_0.to_be_bytes().to_vec();
            whole.extend(body);
            let _ = parse(&whole);
        }
    }
}
