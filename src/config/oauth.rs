//! `[oauth]`: which tokens let clients in. To check one is `auth`'s, to ask for one is `client`'s.

use std::path::Path;
use std::time::Duration;

use jsonwebtoken::jwk::Jwk;

use super::fault::Problem;
use super::jwks;
use super::kind::{Input, Kind, Literal, Span};
use super::settings::OAuth;
use super::units::show_duration;

/// The longest issuer; a token has to hold it, and so does the answer to who has none.
const LONGEST_ISSUER: usize = 1024;

/// More audiences or scopes than anybody asks for.
const MOST_WORDS: usize = 32;

/// What issuers publish about themselves stands below this (RFC 8615).
const WELL_KNOWN: &str = "/.well-known/";

/// Which tokens are taken, and from whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRules {
    /// Who has to have issued it.
    pub issuer: String,
    /// The issuer's keys, at least one.
    pub keys: Vec<Jwk>,
    /// Whom it has to be for, one of these.
    pub audience: Vec<String>,
    /// What it has to be good for, all of it.
    pub scope: Vec<String>,
    /// The claim with the name of who it was issued to.
    pub user_claim: String,
    /// By how much the issuer's clock may differ.
    pub leeway: Duration,
}

impl TokenRules {
    /// By these settings; `None` where an issuer or its keys are not configured.
    pub(super) fn read(settings: &OAuth) -> Result<Option<Self>, (&Path, Problem)> {
        let (Some(issuer), Some(file)) = (&settings.issuer, &settings.jwks_file) else {
            return Ok(None);
        };
        let keys = jwks::read(file).map_err(|problem| (file.as_path(), problem))?;
        Ok(Some(Self {
            issuer: issuer.clone(),
            keys,
            audience: settings.audience.clone(),
            scope: settings.scope.clone(),
            user_claim: settings.user_claim.clone(),
            leeway: settings.leeway,
        }))
    }

    /// Where the issuer says of itself how to get a token. The same as Postgres makes of its option `issuer`
    /// (`generate_error_response`, src/backend/libpq/auth-oauth.c).
    #[must_use]
    pub fn discovery(&self) -> String {
        format!("{}{WELL_KNOWN}openid-configuration", self.issuer)
    }
}

/// Who issues tokens; empty is nobody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Issuer;

impl Kind for Issuer {
    type Value = Option<String>;

    fn read(&self, input: Input<'_>) -> Result<Self::Value, Problem> {
        const EXPECTED: &str =
            "the https URL of an issuer, without user, query, fragment or /.well-known/";
        let given = input.text(EXPECTED)?;
        if given.is_empty() {
            return Ok(None);
        }
        let wrong = || Problem::NotA { given: given.to_owned(), expected: EXPECTED };
        let rest = given.strip_prefix("https://").ok_or_else(wrong)?;
        let host = rest.split('/').next().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~%:/[]+=,".contains(c);
        let fits = !host.is_empty()
            && rest.chars().all(plain)
            && given.len() <= LONGEST_ISSUER
            && !given.contains(WELL_KNOWN);
        if fits { Ok(Some(given.to_owned())) } else { Err(wrong()) }
    }

    fn show(&self, value: &Self::Value) -> Option<Literal> {
        Some(Literal::text(value.as_deref().unwrap_or_default()))
    }
}

/// By how much clocks may differ: whole seconds, as times in tokens are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Leeway;

/// A clock that is off by more is one to be set.
const MOST_LEEWAY: Duration = Duration::from_secs(600);

impl Kind for Leeway {
    type Value = Duration;

    fn read(&self, input: Input<'_>) -> Result<Duration, Problem> {
        let given = Span.read(input)?;
        if given.subsec_nanos() == 0 && given <= MOST_LEEWAY {
            return Ok(given);
        }
        Err(Problem::AmountOutOfRange {
            given: show_duration(given),
            low: "0s, 1s".to_owned(),
            high: show_duration(MOST_LEEWAY),
        })
    }

    fn show(&self, value: &Duration) -> Option<Literal> {
        Span.show(value)
    }
}

/// Words with this between them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Words {
    /// Audiences: mostly URLs.
    Commas,
    /// Scopes, as OAuth writes them (RFC 6749, 3.3).
    Blanks,
}

impl Words {
    fn separator(self) -> char {
        match self {
            Self::Commas => ',',
            Self::Blanks => ' ',
        }
    }
}

impl Kind for Words {
    type Value = Vec<String>;

    fn read(&self, input: Input<'_>) -> Result<Vec<String>, Problem> {
        let expected = match self {
            Self::Commas => "up to 32 names or URLs, with commas",
            Self::Blanks => "up to 32 words, with blanks",
        };
        let given = input.text(expected)?;
        let words = given.split(self.separator()).map(str::trim).filter(|word| !word.is_empty());
        let words: Vec<_> = words.map(str::to_owned).collect();
        // RFC 6749's `scope-token`.
        let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
        if words.len() > MOST_WORDS || !words.iter().all(|word| word.chars().all(plain)) {
            return Err(Problem::NotA { given: given.to_owned(), expected });
        }
        Ok(words)
    }

    fn show(&self, value: &Vec<String>) -> Option<Literal> {
        let separator = match self {
            Self::Commas => ", ",
            Self::Blanks => " ",
        };
        Some(Literal::text(&value.join(separator)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_an_https_url_and_no_more() {
        let read = |text: &str| Issuer.read(Input::Text(text));
        for good in
            ["https://id.example.com", "https://id.example.com:8443/realms/shop", "https://x/"]
        {
            assert_eq!(read(good), Ok(Some(good.to_owned())));
        }
        assert_eq!(read(""), Ok(None));
        let long = format!("https://{}", "x".repeat(LONGEST_ISSUER));
        for bad in [
            "http://id.example.com",
            "id.example.com",
            "https://",
            "https:///realm",
            "https://id.example.com?x",
            "https://id.example.com#x",
            "https://ann:secret@id.example.com",
            "https://id.example.com/.well-known/openid-configuration",
            "https://id.example.com/\u{1}",
            "https://id.example.com/\"",
            &long,
        ] {
            assert!(matches!(read(bad), Err(Problem::NotA { .. })), "{bad}");
        }
    }

    #[test]
    fn a_leeway_is_of_whole_seconds_and_small() {
        let read = |text: &str| Leeway.read(Input::Text(text));
        for (text, seconds) in [("0", 0), ("5s", 5), ("10m", 600)] {
            assert_eq!(read(text), Ok(Duration::from_secs(seconds)));
        }
        for bad in ["601s", "1d", "1500ms"] {
            assert!(matches!(read(bad), Err(Problem::AmountOutOfRange { .. })), "{bad}");
        }
    }

    #[test]
    fn words_are_split_and_shown_as_they_are_written() {
        let (audience, scope) = ("api, https://db.example.com", "openid db:use");
        for (kind, text) in [(Words::Commas, audience), (Words::Blanks, scope)] {
            let words = kind.read(Input::Text(text)).unwrap();
            assert_eq!(words.len(), 2);
            assert_eq!(kind.show(&words), Some(Literal::text(text)));
            assert_eq!(kind.read(Input::Text(" ")), Ok(Vec::new()));
            let many = format!("x{}", kind.separator()).repeat(MOST_WORDS + 1);
            for bad in [&many, "a\"b", "a\\b", "caf\u{e9}"] {
                assert!(matches!(kind.read(Input::Text(bad)), Err(Problem::NotA { .. })), "{bad}");
            }
        }
    }
}
