//! See `pooler::fuzzing`, where the check is.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pooler::fuzzing::run("oauth", input));
