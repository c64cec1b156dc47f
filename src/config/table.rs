//! The macro that declares a table of settings once: its struct, its reader, its keys for `check` and the example file.

use config::{Map, Value};

use super::fault::{Fault, Place};
use super::key::Key;
use super::kind::{Kind, Literal};
use super::layers;

/// A table of settings whose struct `settings!` made.
pub(super) trait Settings: Sized {
    /// Its keys in order.
    const KEYS: &'static [Key];

    /// Reads every key from `scope`; what is missing or faulty has its default.
    fn read(scope: &mut Scope<'_>) -> Self;

    /// Every key with its value; `None` for an optional key that is not set.
    fn show(&self) -> Vec<(&'static Key, Option<Literal>)>;
}

/// A table of settings as a fact, from which the example file is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    /// Its name: `pool`, or `databases.NAME` for the tables that a name makes many.
    pub name: &'static str,
    pub(super) about: &'static str,
    /// Its keys in order.
    pub keys: &'static [Key],
}

impl Table {
    /// What it is for.
    pub fn about(&self) -> &'static str {
        self.about.trim_start()
    }
}

/// A table's values while they are read, and the faults found so far.
pub(super) struct Scope<'a> {
    /// The path of the table, such as `pool` or `databases.shop`.
    pub(super) path: String,
    /// The values, each with its origin; `None` where the table is not configured.
    pub(super) values: Option<&'a Map<String, Value>>,
    /// Where the faults go.
    pub(super) faults: &'a mut Vec<Fault>,
}

impl Scope<'_> {
    /// The value of a key. Should it be faulty, the fault is noted and the default stands in, so that
    /// the other keys are read too.
    pub(super) fn read<K: Kind>(&mut self, key: &Key, kind: &K) -> K::Value {
        if let Some(value) = self.values.and_then(|values| values.get(key.name)) {
            match kind.read(layers::input(value)) {
                Ok(value) => return value,
                Err(problem) => {
                    let place = self.place(key.name);
                    self.faults.push(Fault { place, problem });
                }
            }
        }
        kind.read(key.default.input()).expect("a test reads the default of every key")
    }

    /// Where the value of a key came from.
    pub(super) fn place(&self, name: &str) -> Place {
        let path = format!("{}.{name}", self.path);
        match self.values.and_then(|values| values.get(name)) {
            Some(value) => layers::place(value, path),
            None => Place::Default(path),
        }
    }
}

/// Declares tables of settings:
///
/// ```text
/// settings! {
///     /// What the table is for.
///     "table" => Struct {
///         /// What the key does.
///         key: Type = Preset => kind, Live;
///     }
/// }
/// ```
///
/// The sentences become the documentation of the fields and the comments of the example file.
macro_rules! settings {
    ($(
        $(#[doc = $about_table:literal])+
        $table:literal => $name:ident {
            $(
                $(#[doc = $about:literal])+
                $field:ident : $type:ty = $default:expr => $kind:expr, $reload:ident;
            )+
        }
    )+) => {
        /// Every table with its keys, in the order of the example file.
        pub const TABLES: &[$crate::config::table::Table] = &[$(
            $crate::config::table::Table {
                name: $table,
                about: concat!($($about_table),+),
                keys: <$name as $crate::config::table::Settings>::KEYS,
            },
        )+];
    $(
        $(#[doc = $about_table])+
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $( $(#[doc = $about])+ pub $field: $type, )+
        }

        impl $crate::config::table::Settings for $name {
            const KEYS: &'static [$crate::config::key::Key] = &[
                $( settings!(@key $table $field [$($about)+] $default, $reload), )+
            ];

            fn read(scope: &mut $crate::config::table::Scope<'_>) -> Self {
                Self {
                    $( $field: scope.read(
                        &settings!(@key $table $field [$($about)+] $default, $reload),
                        &$kind,
                    ), )+
                }
            }

            fn show(
                &self,
            ) -> Vec<(&'static $crate::config::key::Key, Option<$crate::config::kind::Literal>)> {
                let values = [
                    $( $crate::config::kind::Kind::show(&$kind, &self.$field), )+
                ];
                Self::KEYS.iter().zip(values).collect()
            }
        }
    )+};

    (@key $table:literal $field:ident [$($about:literal)+] $default:expr, $reload:ident) => {
        $crate::config::key::Key {
            table: $table,
            name: stringify!($field),
            path: concat!($table, ".", stringify!($field)),
            default: $default,
            about: concat!($($about),+),
            reload: $crate::config::key::Reload::$reload,
        }
    };
}
pub(super) use settings;
