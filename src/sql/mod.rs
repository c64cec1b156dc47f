//! Reads SQL as bytes: tokens, without a parser and without a grammar. Knows no connection and no client.

pub mod fingerprint;
pub mod lexer;

mod canonical;
pub mod kind;
mod level;
mod normal;
mod render;
mod shape;
mod words;
