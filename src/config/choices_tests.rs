//! Words of the configuration.

use super::*;
use crate::config::{KeepParams, StripComments};

#[test]
fn every_word_reads_back() {
    fn check<W: Word + std::fmt::Debug>() {
        assert!(!W::WORDS.is_empty());
        for (word, value) in W::WORDS {
            assert_eq!(value.word(), *word);
        }
    }
    check::<PoolMode>();
    check::<PinPolicy>();
    check::<ServerReset>();
    check::<StripComments>();
    check::<KeepParams>();
    check::<AuthType>();
    check::<LogFormat>();
    let words = |method| match method {
        AuthType::Trust
        | AuthType::Plain
        | AuthType::Md5
        | AuthType::ScramSha256
        | AuthType::Passthrough
        | AuthType::Cert
        | AuthType::Peer
        | AuthType::OAuth
        | AuthType::Hba => AuthType::WORDS.len(),
    };
    assert_eq!(words(AuthType::Trust), 9, "a new variant needs a word and an arm here");
}
