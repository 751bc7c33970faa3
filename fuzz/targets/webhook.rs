//! Any bytes as the body of a webhook.

#![no_main]

use amazing_gitlab_exporter::events::payload::{KINDS, Meaning, parse};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let Ok(event) = parse(body) else {
        return;
    };
    assert!(KINDS.contains(&event.kind));
    if let Meaning::Moved { project, readings, .. } = event.meaning {
        assert!(!readings.is_empty());
        // No project is read that the body does not name.
        let text = serde_json::from_slice::<Value>(body).map(|body| body.to_string());
        assert!(text.is_ok_and(|text| text.contains(&project.to_string())));
    }
});
