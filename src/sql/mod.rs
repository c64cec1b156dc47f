//! Reads SQL as bytes: tokens, without a parser and without a grammar. Knows no connection and no client.

pub mod lexer;
