//! Plans of Postgres, as EXPLAIN gives them in JSON: read, shown, told apart, judged. No I/O and no clock.

pub mod calls;
pub mod condition;
pub mod facts;
pub mod hints;
pub mod name;
pub mod node;
pub mod text;
