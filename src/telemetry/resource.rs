//! The OpenTelemetry resource: what all telemetry of this process says about where it comes from.

use std::collections::BTreeMap;

use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_semantic_conventions::resource::{
    SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, TELEMETRY_SDK_LANGUAGE, TELEMETRY_SDK_NAME,
    TELEMETRY_SDK_VERSION,
};

/// `service.name` where nothing else is configured.
pub const DEFAULT_SERVICE_NAME: &str = "amazing-gitlab-exporter";

/// The resource of this process.
///
/// `instance_id` becomes `service.instance.id`. `attributes` are the configured ones; they win
/// over every default, `service.name` included.
#[must_use]
pub fn resource(instance_id: &str, attributes: &BTreeMap<String, String>) -> Resource {
    let sdk = Resource::builder().build();
    let of_sdk = [
        TELEMETRY_SDK_LANGUAGE,
        TELEMETRY_SDK_NAME,
        TELEMETRY_SDK_VERSION,
    ];
    Resource::builder_empty()
        .with_attributes(
            sdk.iter()
                .filter(|(key, _)| of_sdk.contains(&key.as_str()))
                .map(|(key, value)| KeyValue::new(key.clone(), value.clone())),
        )
        .with_attributes([
            KeyValue::new(SERVICE_NAME, DEFAULT_SERVICE_NAME),
            KeyValue::new(SERVICE_VERSION, env!("CARGO_PKG_VERSION")),
            KeyValue::new(SERVICE_INSTANCE_ID, instance_id.to_owned()),
        ])
        .with_attributes(
            attributes
                .iter()
                .map(|(key, value)| KeyValue::new(key.clone(), value.clone())),
        )
        .build()
}

/// The instrumentation scope of this program's metrics, spans and logs.
#[must_use]
pub fn scope() -> InstrumentationScope {
    InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
        .with_version(env!("CARGO_PKG_VERSION"))
        .build()
}

#[cfg(test)]
mod tests {
    use opentelemetry::{Key, Value};

    use super::*;

    fn get(resource: &Resource, key: &'static str) -> String {
        let value: Option<Value> = resource.get(&Key::from_static_str(key));
        value.map(|value| value.to_string()).unwrap_or_default()
    }

    #[test]
    fn configured_attributes_win() {
        let plain = resource("instance-1", &BTreeMap::new());
        assert_eq!(get(&plain, "service.name"), "amazing-gitlab-exporter");
        assert_eq!(get(&plain, "service.version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(get(&plain, "service.instance.id"), "instance-1");
        assert_eq!(get(&plain, "telemetry.sdk.language"), "rust");

        let configured = resource(
            "instance-1",
            &BTreeMap::from([
                ("service.name".into(), "ci-metrics".into()),
                ("deployment.environment.name".into(), "production".into()),
            ]),
        );
        assert_eq!(get(&configured, "service.name"), "ci-metrics");
        assert_eq!(
            get(&configured, "deployment.environment.name"),
            "production"
        );
        assert_eq!(get(&configured, "service.instance.id"), "instance-1");
    }
}
