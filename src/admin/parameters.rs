//! The part of a request behind `?`: every parameter is known and its value possible, or the answer
//! says what would be.

use std::ops::RangeInclusive;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use axum::response::Response;

use super::format::Format;
use super::problem::Problem;

/// The parameter that every page has.
const FORMAT: &str = "format";

/// What a page can be asked for.
pub(super) trait Parameters: Default {
    /// Its parameters, beside `format`.
    const NAMES: &'static [&'static str];

    /// Sets one of [`Self::NAMES`].
    fn set(&mut self, name: &str, value: &str) -> Result<(), Problem>;
}

/// A page without parameters of its own.
#[derive(Debug, Default)]
pub(super) struct NoParameters;

/// A request that makes sense.
#[derive(Debug)]
pub(super) struct Asked<P> {
    /// The form of the answer.
    pub(super) format: Format,
    /// What is asked for.
    pub(super) parameters: P,
}

impl Parameters for NoParameters {
    const NAMES: &'static [&'static str] = &[];

    fn set(&mut self, _: &str, _: &str) -> Result<(), Problem> {
        Ok(())
    }
}

impl<P: Parameters, S: Sync> FromRequestParts<S> for Asked<P> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let mut format = Format::accepted(&parts.headers);
        // Anything is a list of pairs; what cannot be decoded is one with a strange name.
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        let pairs = pairs.map_or_else(|_| Vec::new(), |Query(pairs)| pairs);
        read(&pairs, &mut format)
            .map(|parameters| Self { format, parameters })
            .map_err(|problem| problem.answer(format))
    }
}

fn read<P: Parameters>(pairs: &[(String, String)], format: &mut Format) -> Result<P, Problem> {
    let mut parameters = P::default();
    // A form sends the fields that nobody filled in as well.
    let filled = || pairs.iter().filter(|(_, value)| !value.is_empty());
    // First, because it is the form of a complaint about any other.
    for (_, value) in filled().filter(|(name, _)| name == FORMAT) {
        *format = word(FORMAT, value, &Format::WORDS)?;
    }
    for (name, value) in filled().filter(|(name, _)| name != FORMAT) {
        if !P::NAMES.contains(&name.as_str()) {
            let valid = [&[FORMAT], P::NAMES].concat();
            return Err(Problem::Parameter { name: name.clone(), valid });
        }
        parameters.set(name, value)?;
    }
    Ok(parameters)
}

/// One of some words.
pub(super) fn word<T: Copy>(
    name: &'static str,
    given: &str,
    words: &[(&'static str, T)],
) -> Result<T, Problem> {
    let found = words.iter().find(|(word, _)| *word == given);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        let expected = format!("one of {}", words.join(", "));
        Problem::Value { name, given: given.to_owned(), expected }
    })
}

/// A number within a range.
pub(super) fn number(
    name: &'static str,
    given: &str,
    range: RangeInclusive<usize>,
) -> Result<usize, Problem> {
    let number = given.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        Problem::Value { name, given: given.to_owned(), expected }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Page {
        limit: usize,
    }

    impl Parameters for Page {
        const NAMES: &'static [&'static str] = &["limit"];

        fn set(&mut self, _: &str, value: &str) -> Result<(), Problem> {
            self.limit = number("limit", value, 1..=500)?;
            Ok(())
        }
    }

    fn ask(pairs: &[(&str, &str)]) -> (Format, Result<usize, String>) {
        let pairs: Vec<_> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let mut format = Format::Text;
        let page = read::<Page>(&pairs, &mut format);
        (format, page.map(|page| page.limit).map_err(|problem| problem.to_string()))
    }

    #[test]
    fn known_parameters_are_read() {
        assert_eq!(ask(&[("limit", "20"), ("format", "json")]), (Format::Json, Ok(20)));
    }

    #[test]
    fn a_field_that_nobody_filled_in_is_none() {
        assert_eq!(ask(&[("limit", ""), ("format", "")]), (Format::Text, Ok(0)));
    }

    #[test]
    fn unknown_parameters_are_answered_with_the_known_ones_in_the_form_asked_for() {
        let unknown = "there is no parameter \"top\" here; there are format, limit".to_owned();
        assert_eq!(ask(&[("top", "3"), ("format", "json")]), (Format::Json, Err(unknown)));
    }

    #[test]
    fn impossible_values_are_answered_with_the_possible_ones() {
        let text = |pair| ask(&[pair]).1.unwrap_err();
        assert_eq!(text(("limit", "0")), "limit is a number from 1 to 500, not \"0\"");
        assert_eq!(text(("limit", "many")), "limit is a number from 1 to 500, not \"many\"");
        assert_eq!(text(("format", "xml")), "format is one of text, json, html, not \"xml\"");
    }
}
