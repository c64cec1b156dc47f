//! PgBouncer's `userlist.txt`: `"user" "secret"`, one pair a line. What the secrets mean, `auth` decides.

use std::collections::BTreeMap;

use thiserror::Error;

use super::secret_text::SecretText;

/// The largest file read: about 100,000 users with SCRAM secrets.
pub const MAX_BYTES: u64 = 10 * 1024 * 1024;

/// The longest user name: PgBouncer's limit; Postgres' own names end at 63 bytes.
pub const MAX_USER_BYTES: usize = 127;

/// What a line of the file holds that it must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LineProblem {
    /// Something else than a quote where the user name starts.
    #[error("expected a user name in double quotes")]
    NoUser,
    /// Something else than a quote where the secret starts.
    #[error("expected a secret in double quotes after the user name")]
    NoSecret,
    /// A quote is open at the end of the line.
    #[error("a double quote is not closed")]
    Unclosed,
    /// `""` as a user name.
    #[error("the user name is empty")]
    EmptyUser,
    /// Above [`MAX_USER_BYTES`].
    #[error("the user name is longer than {MAX_USER_BYTES} bytes")]
    LongUser,
    /// A zero byte, which the wire protocol cannot carry.
    #[error("a zero byte is in the line")]
    ZeroByte,
}

/// A fault and the line it is in, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineFault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: LineProblem,
}

/// What the file said. A user named twice has the later secret, as in PgBouncer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UserList {
    /// The secret of each user; `None` where it is `""`, which lets nobody in by password.
    pub users: BTreeMap<String, Option<SecretText>>,
    /// The lines that replaced an earlier line's secret, from 1.
    pub repeated: Vec<usize>,
    /// Every line that could not be read.
    pub faults: Vec<LineFault>,
}

/// Reads the whole text, past faulty lines too, so that all faults are known at once.
///
/// The rules are those of PgBouncer's `load_auth_file`: blank lines and lines that start with `;` are
/// skipped, a doubled quote inside quotes is one quote, and what follows the secret is ignored.
pub fn parse(text: &str) -> UserList {
    let mut list = UserList::default();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        match pair(line) {
            Ok((user, secret)) => {
                let secret = (!secret.is_empty()).then(|| SecretText::new(secret));
                if list.users.insert(user, secret).is_some() {
                    list.repeated.push(index + 1);
                }
            }
            Err(problem) => list.faults.push(LineFault { line: index + 1, problem }),
        }
    }
    list
}

fn pair(line: &str) -> Result<(String, String), LineProblem> {
    if line.contains('\0') {
        return Err(LineProblem::ZeroByte);
    }
    let (user, rest) = quoted(line, LineProblem::NoUser)?;
    let (secret, _) = quoted(rest.trim_start(), LineProblem::NoSecret)?;
    match user.len() {
        0 => Err(LineProblem::EmptyUser),
        1..=MAX_USER_BYTES => Ok((user, secret)),
        _ => Err(LineProblem::LongUser),
    }
}

/// The text within the quotes that `line` starts with, and what follows them.
fn quoted(line: &str, missing: LineProblem) -> Result<(String, &str), LineProblem> {
    let mut rest = line.strip_prefix('"').ok_or(missing)?;
    let mut text = String::new();
    loop {
        let (before, after) = rest.split_once('"').ok_or(LineProblem::Unclosed)?;
        text.push_str(before);
        match after.strip_prefix('"') {
            Some(after_pair) => {
                text.push('"');
                rest = after_pair;
            }
            None => return Ok((text, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secrets(text: &str) -> Vec<(String, Option<String>)> {
        let list = parse(text);
        assert_eq!(list.faults, [], "{text}");
        let exposed = |secret: Option<SecretText>| secret.map(|s| s.expose().to_owned());
        list.users.into_iter().map(|(user, secret)| (user, exposed(secret))).collect()
    }

    #[test]
    fn pairs_comments_and_blank_lines_are_read() {
        let text = "; a comment\n\n\"ann\" \"one\"\r\n  \"bob\"\t\"md5abc\" \"ignored\"\n";
        let expected = [("ann", "one"), ("bob", "md5abc")]
            .map(|(user, secret)| (user.to_owned(), Some(secret.to_owned())));
        assert_eq!(secrets(text), expected);
    }

    #[test]
    fn a_doubled_quote_is_one_quote() {
        assert_eq!(
            secrets(r#""a""b" """x""y""" "#),
            [(r#"a"b"#.to_owned(), Some(r#""x"y""#.to_owned()))]
        );
    }

    #[test]
    fn an_empty_secret_is_none() {
        assert_eq!(secrets(r#""cert_user" """#), [("cert_user".to_owned(), None)]);
    }

    #[test]
    fn the_later_line_of_a_user_wins_and_is_named() {
        let list = parse("\"a\" \"1\"\n\"a\" \"2\"\n");
        assert_eq!(list.users["a"].as_ref().map(SecretText::expose), Some("2"));
        assert_eq!(list.repeated, [2]);
    }

    #[test]
    fn every_faulty_line_is_reported_and_the_rest_is_read() {
        let long = "u".repeat(MAX_USER_BYTES + 1);
        let text = format!(
            "ann \"x\"\n\"bob\" x\n\"eve\" \"x\n\"\" \"x\"\n\"{long}\" \"x\"\n\"z\0\" \"x\"\n\"ok\" \"x\"\n"
        );
        let list = parse(&text);
        let expected = [
            LineProblem::NoUser,
            LineProblem::NoSecret,
            LineProblem::Unclosed,
            LineProblem::EmptyUser,
            LineProblem::LongUser,
            LineProblem::ZeroByte,
        ];
        let found: Vec<_> = list.faults.iter().map(|fault| (fault.line, fault.problem)).collect();
        assert_eq!(
            found,
            expected.into_iter().zip(1..).map(|(p, line)| (line, p)).collect::<Vec<_>>()
        );
        assert_eq!(list.users.keys().collect::<Vec<_>>(), ["ok"]);
    }

    proptest! {
        #[test]
        fn what_is_quoted_reads_back(user in "[^\r\n\0]{1,30}", secret in "[^\r\n\0]{1,30}") {
            let quote = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
            let list = parse(&format!("{} {}\n", quote(&user), quote(&secret)));
            let read = list.users.get(&user).cloned().flatten();
            prop_assert_eq!(read.as_ref().map(SecretText::expose), Some(secret.as_str()));
        }

        #[test]
        fn no_text_panics(text in "(?s).*") {
            parse(&text);
        }
    }
}
