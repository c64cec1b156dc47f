//! Reads SQL as bytes: tokens, without a parser and without a grammar. Knows no connection and no client.

pub mod effects;
pub mod feature;
pub mod fingerprint;
pub mod hidden;
pub mod kind;
pub mod lexer;
pub mod named;
pub mod plannable;
pub mod prepare;
pub mod query;
pub mod role;
pub mod routine;
pub mod strip;
pub mod tags;
pub mod trace;

mod canonical;
mod dynamic;
mod glance;
mod level;
mod normal;
mod render;
mod shape;
mod tokens;
mod words;
