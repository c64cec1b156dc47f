//! How a value of each simple kind is read and shown: numbers, durations, switches, texts, words. Addresses and paths are in `endpoint`.

use std::fmt;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::fault::{Conflict, Found, Problem};
use super::secret_text::{MASK, SecretText};
use super::units::{self, BareUnit, LONGEST, SHORTEST};

/// A value as it was given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input<'a> {
    /// A whole number of the file.
    Whole(i64),
    /// A number with a fraction, of the file.
    Decimal(f64),
    /// `true` or `false`, of the file.
    Flag(bool),
    /// A text of the file.
    Text(&'a str),
    /// The value of an environment variable, which is text whatever is meant.
    Variable(&'a str),
    /// No value: the default of an optional key.
    Unset,
    /// What no key takes.
    Other(Found),
}

impl<'a> Input<'a> {
    /// The text, if it is one that the protocol can carry.
    pub(super) fn text(self, expected: &'static str) -> Result<&'a str, Problem> {
        match self {
            Self::Text(text) | Self::Variable(text) if text.contains('\0') => {
                Err(Problem::ZeroByte)
            }
            Self::Text(text) | Self::Variable(text) => Ok(text),
            Self::Whole(_) | Self::Decimal(_) | Self::Flag(_) | Self::Unset | Self::Other(_) => {
                Err(self.wrong(expected))
            }
        }
    }

    /// The text, and not an empty one.
    pub(super) fn filled(self, expected: &'static str) -> Result<&'a str, Problem> {
        match self.text(expected)? {
            "" => Err(Problem::Empty),
            text => Ok(text),
        }
    }

    fn wrong(self, expected: &'static str) -> Problem {
        let found = match self {
            Self::Whole(_) => Found::Whole,
            Self::Decimal(_) => Found::Decimal,
            Self::Flag(_) => Found::Flag,
            Self::Text(_) | Self::Variable(_) => Found::Text,
            Self::Unset => Found::Nothing,
            Self::Other(found) => found,
        };
        Problem::WrongType { expected, found }
    }
}

/// A value as TOML writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Literal(String);

impl Literal {
    /// A number.
    pub(super) fn whole(number: i64) -> Self {
        Self(number.to_string())
    }

    /// A basic string (<https://toml.io/en/v1.0.0#string>).
    pub(super) fn text(text: &str) -> Self {
        let mut literal = String::from('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => literal.extend(['\\', c]),
                c if c.is_control() => literal.push_str(&format!("\\u{:04X}", c as u32)),
                c => literal.push(c),
            }
        }
        literal.push('"');
        Self(literal)
    }
}

impl From<bool> for Literal {
    fn from(flag: bool) -> Self {
        Self(flag.to_string())
    }
}

impl fmt::Display for Literal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a key's value is read and shown.
pub(super) trait Kind {
    /// What the value becomes.
    type Value;

    /// The value, or what is wrong with the input.
    fn read(&self, input: Input<'_>) -> Result<Self::Value, Problem>;

    /// The value as TOML; `None` for an optional key that is not set.
    fn show(&self, value: &Self::Value) -> Option<Literal>;
}

/// A key that may be left out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opt<K>(pub(super) K);

impl<K: Kind> Kind for Opt<K> {
    type Value = Option<K::Value>;

    fn read(&self, input: Input<'_>) -> Result<Self::Value, Problem> {
        if let Input::Unset = input { Ok(None) } else { self.0.read(input).map(Some) }
    }

    fn show(&self, value: &Self::Value) -> Option<Literal> {
        value.as_ref().and_then(|value| self.0.show(value))
    }
}

/// A whole number from `low` to `high`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Count {
    pub(super) low: u32,
    pub(super) high: u32,
}

/// More connections than a kernel lets one process open (Linux' `fs.nr_open` is 1,048,576).
pub(super) const MOST_CONNECTIONS: u32 = 10_000_000;

impl Kind for Count {
    type Value = u32;

    fn read(&self, input: Input<'_>) -> Result<u32, Problem> {
        let given = whole(input)?;
        u32::try_from(given)
            .ok()
            .filter(|count| (self.low..=self.high).contains(count))
            .ok_or(Problem::OutOfRange { given, low: self.low.into(), high: self.high.into() })
    }

    fn show(&self, value: &u32) -> Option<Literal> {
        Some(Literal::whole((*value).into()))
    }
}

/// A TCP port; 0 lets the system choose one, where `low` allows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port {
    pub(super) low: u16,
}

impl Kind for Port {
    type Value = u16;

    fn read(&self, input: Input<'_>) -> Result<u16, Problem> {
        let given = whole(input)?;
        u16::try_from(given).ok().filter(|port| *port >= self.low).ok_or(Problem::OutOfRange {
            given,
            low: self.low.into(),
            high: u16::MAX.into(),
        })
    }

    fn show(&self, value: &u16) -> Option<Literal> {
        Some(Literal::whole((*value).into()))
    }
}

/// A number of connections where 0 means any number, kept as `u32::MAX`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cap;

const CAP: Count = Count { low: 0, high: MOST_CONNECTIONS };

impl Kind for Cap {
    type Value = u32;

    fn read(&self, input: Input<'_>) -> Result<u32, Problem> {
        CAP.read(input).map(|count| if count == 0 { u32::MAX } else { count })
    }

    fn show(&self, value: &u32) -> Option<Literal> {
        CAP.show(if *value == u32::MAX { &0 } else { value })
    }
}

/// A number where 0 leaves the choice to the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct KernelCount {
    pub(super) high: u32,
}

impl Kind for KernelCount {
    type Value = Option<u32>;

    fn read(&self, input: Input<'_>) -> Result<Option<u32>, Problem> {
        let count = Count { low: 0, high: self.high }.read(input)?;
        Ok((count > 0).then_some(count))
    }

    fn show(&self, value: &Option<u32>) -> Option<Literal> {
        Some(Literal::whole(value.unwrap_or(0).into()))
    }
}

/// A duration, zero among them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span;

impl Kind for Span {
    type Value = Duration;

    fn read(&self, input: Input<'_>) -> Result<Duration, Problem> {
        span(input, BareUnit::Seconds)
    }

    fn show(&self, value: &Duration) -> Option<Literal> {
        Some(Literal::text(&units::show_duration(*value)))
    }
}

/// A limit of time. `off` switches it off, and so does 0 unless 0 has a meaning of its own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timeout {
    pub(super) zero: Zero,
    pub(super) bare: BareUnit,
    pub(super) low: Duration,
    pub(super) high: Duration,
}

/// What 0 means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Zero {
    /// No limit.
    Off,
    /// No time at all, as in PgBouncer's `server_lifetime` and `server_check_delay`.
    AtOnce,
}

/// A timeout as most are: 0 is off, plain numbers are seconds.
pub(super) const TIMEOUT: Timeout =
    Timeout { zero: Zero::Off, bare: BareUnit::Seconds, low: SHORTEST, high: LONGEST };

impl Kind for Timeout {
    type Value = Option<Duration>;

    fn read(&self, input: Input<'_>) -> Result<Option<Duration>, Problem> {
        if let Input::Text("off") | Input::Variable("off") = input {
            return Ok(None);
        }
        let given = span(input, self.bare)?;
        match self.zero {
            Zero::Off if given.is_zero() => Ok(None),
            Zero::AtOnce if given.is_zero() => Ok(Some(given)),
            Zero::Off | Zero::AtOnce if (self.low..=self.high).contains(&given) => Ok(Some(given)),
            Zero::Off | Zero::AtOnce => Err(Problem::AmountOutOfRange {
                given: units::show_duration(given),
                low: units::show_duration(self.low),
                high: units::show_duration(self.high),
            }),
        }
    }

    fn show(&self, value: &Option<Duration>) -> Option<Literal> {
        Some(match (value, self.zero) {
            (Some(duration), _) => Literal::text(&units::show_duration(*duration)),
            (None, Zero::Off) => Literal::text("0"),
            (None, Zero::AtOnce) => Literal::text("off"),
        })
    }
}

/// A switch. 0 and 1 serve too, as in PgBouncer's files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn read(&self, input: Input<'_>) -> Result<bool, Problem> {
        let wrong = || input.wrong("true or false");
        match input {
            Input::Flag(flag) => Ok(flag),
            Input::Whole(0) => Ok(false),
            Input::Whole(1) => Ok(true),
            Input::Variable(text) => match text.to_ascii_lowercase().as_str() {
                "0" | "false" | "off" | "no" => Ok(false),
                "1" | "true" | "on" | "yes" => Ok(true),
                _ => Err(wrong()),
            },
            Input::Whole(_)
            | Input::Decimal(_)
            | Input::Text(_)
            | Input::Unset
            | Input::Other(_) => Err(wrong()),
        }
    }

    fn show(&self, value: &bool) -> Option<Literal> {
        Some(Literal::from(*value))
    }
}

/// A name that goes to Postgres as it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Name;

impl Kind for Name {
    type Value = String;

    fn read(&self, input: Input<'_>) -> Result<String, Problem> {
        Ok(input.filled("a name")?.to_owned())
    }

    fn show(&self, value: &String) -> Option<Literal> {
        Some(Literal::text(value))
    }
}

/// A name, or nothing where that means none.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameOrNone;

impl Kind for NameOrNone {
    type Value = String;

    fn read(&self, input: Input<'_>) -> Result<String, Problem> {
        Ok(input.text("a name")?.to_owned())
    }

    fn show(&self, value: &String) -> Option<Literal> {
        Some(Literal::text(value))
    }
}

/// SQL of the operator; `<empty>` is PgBouncer's word for none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sql;

impl Kind for Sql {
    type Value = String;

    fn read(&self, input: Input<'_>) -> Result<String, Problem> {
        let sql = input.text("an SQL statement")?.trim();
        Ok(if sql == "<empty>" { String::new() } else { sql.to_owned() })
    }

    fn show(&self, value: &String) -> Option<Literal> {
        Some(Literal::text(value))
    }
}

/// A password or a stored secret. No fault of it quotes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Secret;

impl Kind for Secret {
    type Value = SecretText;

    fn read(&self, input: Input<'_>) -> Result<SecretText, Problem> {
        Ok(SecretText::new(input.filled("a password or a stored secret")?.to_owned()))
    }

    fn show(&self, _: &SecretText) -> Option<Literal> {
        Some(Literal::text(MASK))
    }
}

/// Directives for the log, as `tracing_subscriber`'s `EnvFilter` has them.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogDirectives;

impl Kind for LogDirectives {
    type Value = String;

    fn read(&self, input: Input<'_>) -> Result<String, Problem> {
        const EXPECTED: &str =
            "a log level such as info, or directives such as info,pooler::pool=debug";
        let given = input.filled(EXPECTED)?;
        // EnvFilter takes a lone word that is no level for the name of a target: `infoo` would be silence.
        let lone_word_is_level =
            |part: &str| part.contains(['=', '[']) || part.trim().parse::<LevelFilter>().is_ok();
        if given.split(',').all(lone_word_is_level) && EnvFilter::builder().parse(given).is_ok() {
            Ok(given.to_owned())
        } else {
            Err(Problem::NotA { given: given.to_owned(), expected: EXPECTED })
        }
    }

    fn show(&self, value: &String) -> Option<Literal> {
        Some(Literal::text(value))
    }
}

/// A type whose values are words.
pub(super) trait Word: Copy + PartialEq + 'static {
    /// Every value and its word.
    const WORDS: &'static [(&'static str, Self)];

    /// The word of this value.
    fn word(self) -> &'static str {
        Self::WORDS
            .iter()
            .find_map(|(word, value)| (*value == self).then_some(*word))
            .expect("WORDS holds every value, as a test of each type checks")
    }

    /// Why a word that users of PgBouncer may write is not possible here.
    fn refusal(_given: &str) -> Option<Conflict> {
        None
    }
}

/// One word of a few.
#[derive(Debug, Clone, Copy)]
pub(super) struct OneOf<W>(pub(super) std::marker::PhantomData<W>);

impl<W> OneOf<W> {
    pub(super) const fn words() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<W: Word> Kind for OneOf<W> {
    type Value = W;

    fn read(&self, input: Input<'_>) -> Result<W, Problem> {
        let given = input.text("one of a few words")?;
        if let Some((_, value)) = W::WORDS.iter().find(|(word, _)| *word == given) {
            return Ok(*value);
        }
        Err(match W::refusal(given) {
            Some(conflict) => conflict.into(),
            None => Problem::NotOneOf {
                given: given.to_owned(),
                allowed: W::WORDS.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", "),
            },
        })
    }

    fn show(&self, value: &W) -> Option<Literal> {
        Some(Literal::text(value.word()))
    }
}

fn whole(input: Input<'_>) -> Result<i64, Problem> {
    let wrong = || input.wrong("a whole number");
    match input {
        Input::Whole(number) => Ok(number),
        Input::Variable(text) => text.trim().parse().map_err(|_| wrong()),
        Input::Decimal(_) | Input::Flag(_) | Input::Text(_) | Input::Unset | Input::Other(_) => {
            Err(wrong())
        }
    }
}

fn span(input: Input<'_>, bare: BareUnit) -> Result<Duration, Problem> {
    let (given, duration) = match input {
        Input::Whole(number) => (number.to_string(), units::bare_duration(number as f64, bare)),
        Input::Decimal(number) => (number.to_string(), units::bare_duration(number, bare)),
        Input::Text(text) | Input::Variable(text) => (text.to_owned(), units::duration(text, bare)),
        Input::Flag(_) | Input::Unset | Input::Other(_) => {
            return Err(input.wrong("a duration such as \"30s\""));
        }
    };
    duration.map_err(|why| Problem::Duration { given, why })
}
