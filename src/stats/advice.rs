//! What may help against what repeats, in the words of the framework that the tags name.

use super::units::Class;

/// A framework whose words are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framework {
    Django,
    Rails,
    Unknown,
}

impl Framework {
    /// From the tag `framework`, such as `django:4.2.1`.
    pub(super) fn named(tag: Option<&str>) -> Self {
        let tag = tag.unwrap_or_default().to_ascii_lowercase();
        if tag.starts_with("django") {
            Self::Django
        } else if tag.starts_with("rails") || tag.starts_with("ruby_on_rails") {
            Self::Rails
        } else {
            Self::Unknown
        }
    }
}

pub(super) fn advice(class: Class, framework: Framework) -> &'static str {
    match (class, framework) {
        (Class::NPlusOne, Framework::Django) => {
            "fetch them with the list: select_related() for a foreign key, prefetch_related() for many rows"
        }
        (Class::NPlusOne, Framework::Rails) => "fetch them with the list: includes() or preload()",
        (Class::NPlusOne, Framework::Unknown) => {
            "fetch them with the list: a JOIN, or one statement with = ANY($1) for all keys"
        }
        (Class::Duplicate, Framework::Django) => {
            "ask once and keep the answer: a variable, cached_property or the cache framework"
        }
        (Class::Duplicate, Framework::Rails) => {
            "ask once and keep the answer: a variable, ||= or Rails.cache"
        }
        (Class::Duplicate, Framework::Unknown) => "ask once and keep the answer",
        (Class::LoopWrite, Framework::Django) => {
            "write them at once: bulk_create(), bulk_update(), or one update() or delete() of the query set"
        }
        (Class::LoopWrite, Framework::Rails) => {
            "write them at once: insert_all(), upsert_all(), update_all() or delete_all()"
        }
        (Class::LoopWrite, Framework::Unknown) => {
            "write them at once: one INSERT with many rows, or one UPDATE or DELETE for all keys"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_framework_is_known_whatever_its_version() {
        for (tag, expected) in [
            (Some("django:4.2.1"), Framework::Django),
            (Some("Rails 7.1"), Framework::Rails),
            (Some("spring"), Framework::Unknown),
            (None, Framework::Unknown),
        ] {
            assert_eq!(Framework::named(tag), expected, "{tag:?}");
        }
        assert!(advice(Class::NPlusOne, Framework::Django).contains("select_related"));
    }
}
