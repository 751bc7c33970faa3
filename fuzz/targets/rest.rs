//! Any bytes as one of REST's answers: the first byte says which.

#![no_main]

use amazing_gitlab_exporter::gitlab::bodies::{RestAnswer, rest};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else {
        return;
    };
    let answer = RestAnswer::ALL[usize::from(*kind) % RestAnswer::ALL.len()];
    match rest(answer, body) {
        Ok(reading) if answer.is_list() => {
            // No item is lost without a word.
            if let Ok(Value::Array(items)) = serde_json::from_slice(body) {
                assert_eq!(reading.items.len() + reading.skipped.len(), items.len());
            }
        }
        Ok(reading) => assert_eq!((reading.items.len(), reading.skipped.len()), (1, 0)),
        Err(why) => assert!(!why.is_empty()),
    }
});
