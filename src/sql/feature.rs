//! Session state that is bound to one server connection: the kinds there are, and sets of them.

/// State that cannot be carried from one server to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// `LISTEN`.
    Listen,
    /// A session-level advisory lock.
    AdvisoryLock,
    /// A temporary table, view or sequence.
    TemporaryTable,
    /// `DECLARE … WITH HOLD`.
    HoldCursor,
    /// SQL-level `PREPARE`, of what does not follow its client.
    Prepare,
    /// `LOAD`.
    Load,
    /// `pool_mode = session`.
    Session,
    /// Something was done that cannot be read, or Postgres would not say what is left of it.
    Unreadable,
}

/// All of them, in the order they are shown.
pub const FEATURES: [Feature; 8] = [
    Feature::Listen,
    Feature::AdvisoryLock,
    Feature::TemporaryTable,
    Feature::HoldCursor,
    Feature::Prepare,
    Feature::Load,
    Feature::Session,
    Feature::Unreadable,
];

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u8);

impl Feature {
    /// Its name, as operators see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::AdvisoryLock => "advisory lock",
            Self::TemporaryTable => "temporary table",
            Self::HoldCursor => "cursor with hold",
            Self::Prepare => "prepare",
            Self::Load => "load",
            Self::Session => "session mode",
            Self::Unreadable => "unreadable",
        }
    }

    /// The feature with this name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        FEATURES.into_iter().find(|feature| feature.name() == name)
    }

    /// What an application can do to be without it.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Listen => "Listen on a connection of its own, straight to Postgres.",
            Self::AdvisoryLock => {
                "Use pg_advisory_xact_lock, which ends with the transaction; in Rails migrations set advisory_locks: false."
            }
            Self::TemporaryTable => {
                "Create it with ON COMMIT DROP, within the transaction that uses it."
            }
            Self::HoldCursor => {
                "Declare the cursor without WITH HOLD, within a transaction; in Django set DISABLE_SERVER_SIDE_CURSORS."
            }
            Self::Prepare => {
                "Let the driver prepare by protocol; or prepare few statements, in ASCII, without backslashes and up to 8 KiB each."
            }
            Self::Load => "Load the library with session_preload_libraries.",
            Self::Session => "Set pool_mode = \"transaction\".",
            Self::Unreadable => "Keep session state out of functions and DO blocks.",
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Features {
    /// None at all.
    pub const NONE: Self = Self(0);

    /// What Postgres can be asked about.
    #[must_use]
    pub fn visible() -> Self {
        [
            Feature::Listen,
            Feature::AdvisoryLock,
            Feature::TemporaryTable,
            Feature::HoldCursor,
            Feature::Prepare,
        ]
        .into_iter()
        .collect()
    }

    /// Adds one.
    pub fn insert(&mut self, feature: Feature) {
        self.0 |= feature.bit();
    }

    /// Is it in the set?
    #[must_use]
    pub fn contains(self, feature: Feature) -> bool {
        self.0 & feature.bit() != 0
    }

    /// Is there none?
    #[inline]
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in either set.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is not in the other.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The features in it.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        FEATURES.into_iter().filter(move |feature| self.contains(*feature))
    }
}

impl FromIterator<Feature> for Features {
    fn from_iter<T: IntoIterator<Item = Feature>>(features: T) -> Self {
        let mut set = Self::NONE;
        features.into_iter().for_each(|feature| set.insert(feature));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_its_own_name_and_place() {
        let mut set = Features::NONE;
        for feature in FEATURES {
            assert!(!set.contains(feature));
            set.insert(feature);
            assert_eq!(Feature::by_name(feature.name()), Some(feature));
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), FEATURES);
        assert_eq!(set.without(Features::visible()).iter().count(), 3);
    }
}
