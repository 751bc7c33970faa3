//! Any bytes as one of GraphQL's answers: the first byte says which.

#![no_main]

use amazing_gitlab_exporter::gitlab::bodies::{GraphQlAnswer, graphql};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, body)) = bytes.split_first() else {
        return;
    };
    let answer = GraphQlAnswer::ALL[usize::from(*kind) % GraphQlAnswer::ALL.len()];
    if let Err(why) = graphql(answer, body) {
        assert!(!why.is_empty());
    }
});
