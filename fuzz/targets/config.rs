//! Any text as a configuration: an error in sentences or a configuration that prints itself.

#![no_main]

use amazing_gitlab_exporter::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Config::from_yaml(text) {
        Ok(config) => {
            let _ = config.to_yaml();
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
