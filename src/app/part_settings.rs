//! From the configuration to the settings of each part: the parts do not know the configuration.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use tracing::Level;

use super::StateFile;
use crate::catalogue::buckets::BucketSettings;
use crate::config::{
    Config, LogFormat, OtlpCompression, OtlpProtocol, OtlpTarget as ConfiguredTarget, Rewriting,
    Signal,
};
use crate::gitlab::{self, JobFields, TokenSource};
use crate::recorder::LabelRules;
use crate::redis::{Password, RedisOptions};
use crate::series::TableSettings;
use crate::store::FileSettings;
use crate::telemetry::logs::{self, LogSettings};
use crate::telemetry::otlp::{OtlpTarget, Protocol};
use crate::telemetry::secrets::Secrets;
use crate::telemetry::traces::{TraceSampler, TraceSettings};

/// How long a state file that another process holds is waited for: a rolling update takes that
/// long.
const STATE_PATIENCE: Duration = Duration::from_secs(60);

/// Where the token comes from.
pub(super) fn token(config: &Config) -> TokenSource {
    let section = &config.gitlab;
    match (&section.token, &section.token_file) {
        (_, Some(file)) => TokenSource::File(file.clone()),
        (token, None) => {
            let token = token.as_ref().map(|token| token.expose().to_owned());
            TokenSource::Secret(token.unwrap_or_default().into())
        }
    }
}

/// The GitLab client's.
pub(super) fn gitlab(config: &Config) -> gitlab::Settings {
    let section = &config.gitlab;
    let headers = section.headers.iter();
    let headers = headers.map(|(name, value)| (name.clone(), value.expose().to_owned().into()));
    gitlab::Settings {
        enable_tls_verify: section.enable_tls_verify,
        ca_cert_path: section.ca_cert_path.clone(),
        client_cert_path: section.client_cert_path.clone(),
        client_key_path: section.client_key_path.clone(),
        headers: headers.collect(),
        timeout: section.timeout,
        max_requests_per_second: section.max_requests_per_second,
        burst: section.burst_requests_per_second,
        max_requests_per_hour: section.max_requests_per_hour,
        max_concurrent_requests: section.max_concurrent_requests,
        max_server_share: section.max_server_share,
        use_graphql: section.use_graphql,
        graphql_page_size: section.graphql_page_size,
        rest_page_size: section.rest_page_size,
        job_fields: JobFields {
            runners: config.collectors.jobs.runner_description_regexp.is_some(),
            tags: config.collectors.jobs.tags_regexp.is_some(),
        },
        ..gitlab::Settings::new(section.url.clone(), token(config))
    }
}

/// The histograms' bucket bounds.
pub fn buckets(config: &Config) -> BucketSettings {
    let collectors = &config.collectors;
    BucketSettings {
        pipelines: collectors.pipelines.histogram_buckets.as_slice().into(),
        jobs: collectors.jobs.histogram_buckets.as_slice().into(),
        merge_requests: collectors
            .merge_requests
            .histogram_buckets
            .as_slice()
            .into(),
    }
}

/// The series table's.
pub(super) fn table(config: &Config) -> TableSettings {
    TableSettings {
        birth_window: config.telemetry.widest_birth_window(),
        cardinality_limit: usize::try_from(config.telemetry.cardinality_limit)
            .unwrap_or(usize::MAX),
        buckets: buckets(config),
    }
}

/// Where label values are cut, in bytes.
pub(super) fn max_label_length(config: &Config) -> usize {
    usize::try_from(config.labels.max_length).unwrap_or(usize::MAX)
}

/// The state file's; none when state is kept in memory.
/// How labels are rewritten and dropped.
pub(super) fn label_rules(config: &Config) -> LabelRules {
    let labels = &config.labels;
    let rewrite = |rewriting: &Rewriting| {
        let regexp = rewriting.regexp.as_ref()?.regex().clone();
        Some((regexp, rewriting.replacement.clone()))
    };
    LabelRules::new(
        rewrite(&labels.job_name),
        labels.merge_parallel_jobs,
        rewrite(&labels.git_ref),
        labels.drop.clone(),
    )
}

pub(super) fn state(config: &Config, state: StateFile) -> Option<FileSettings> {
    Some(FileSettings {
        path: config.state.path.clone()?,
        reset: state == StateFile::Reset,
        patience: STATE_PATIENCE,
        gitlab: config.gitlab.url.clone(),
        accept_instance: config.state.accept_instance,
    })
}

/// The connection to Redis; none for a single instance.
pub(super) fn redis(config: &Config, secrets: &Secrets) -> Option<RedisOptions> {
    let section = &config.redis;
    // Validated with the configuration.
    let url = section.address()?.ok()?;
    let password = match (&section.password, &section.password_file) {
        (_, Some(file)) => Password::File(file.clone()),
        (Some(password), None) => Password::Secret(password.expose().to_owned().into()),
        (None, None) => Password::None,
    };
    let count = |count| usize::try_from(count).unwrap_or(usize::MAX);
    let secrets = secrets.clone();
    Some(RedisOptions {
        username: section.username.clone(),
        password,
        ca_cert_path: section.ca_cert_path.clone(),
        client_cert_path: section.client_cert_path.clone(),
        client_key_path: section.client_key_path.clone(),
        pool_size: count(section.pool_size),
        min_idle_conns: count(section.min_idle_conns),
        on_password: Arc::new(move |password| secrets.register_token(password)),
        ..RedisOptions::new(url)
    })
}

/// Prefix of all keys in Redis: the same for all replicas of one GitLab.
pub(super) fn redis_prefix(config: &Config) -> String {
    let prefix = config.redis.key_prefix.clone();
    prefix.unwrap_or_else(|| {
        let url = config.gitlab.url.as_str().trim_end_matches('/');
        format!(
            "age:{:016x}",
            twox_hash::XxHash3_64::oneshot(url.as_bytes())
        )
    })
}

/// Who this exporter is when no state remembers it.
pub(super) fn instance_id(config: &Config) -> String {
    let host = gethostname::gethostname();
    let port = config.server.listen_address.port();
    format!("{}:{port}", host.to_string_lossy())
}

/// The logs'.
pub(super) fn logs(config: &Config) -> LogSettings {
    LogSettings {
        level: config.log.level.as_str().parse().unwrap_or(Level::INFO),
        format: match config.log.format {
            LogFormat::Text => logs::LogFormat::Text,
            LogFormat::Json => logs::LogFormat::Json,
        },
        otlp: config.otlp(Signal::Logs).map(otlp),
    }
}

/// The traces'; none when spans go nowhere.
pub(super) fn traces(config: &Config) -> Option<TraceSettings> {
    let configured = config.trace_sampler();
    let sampler = TraceSampler {
        ratio: configured.ratio,
        parent_based: configured.parent_based,
    };
    config.otlp(Signal::Traces).map(|target| TraceSettings {
        otlp: otlp(target),
        sampler,
    })
}

/// An OTLP target's.
pub(super) fn otlp(target: &ConfiguredTarget) -> OtlpTarget {
    let headers = target.headers.iter();
    OtlpTarget {
        endpoint: target.endpoint.clone(),
        protocol: match target.protocol {
            OtlpProtocol::Grpc => Protocol::Grpc,
            OtlpProtocol::HttpProtobuf => Protocol::HttpProtobuf,
        },
        headers: headers
            .map(|(name, value)| (name.clone(), value.expose().to_owned().into()))
            .collect(),
        timeout: target.timeout,
        gzip: target.compression == OtlpCompression::Gzip,
        ca_cert_path: target.ca_cert_path.clone(),
    }
}

/// What must never be printed.
pub(super) fn secrets(config: &Config) -> Secrets {
    let secrets = Secrets::new();
    register_secrets(config, &secrets);
    secrets
}

/// The same, of a configuration that was loaded later.
pub(super) fn register_secrets(config: &Config, secrets: &Secrets) {
    let known = [
        &config.gitlab.token,
        &config.redis.url,
        &config.redis.password,
        &config.labels.people_hash_key,
    ];
    for secret in known.into_iter().flatten() {
        secrets.register(secret.expose());
    }
    // Alone, too: an error may say the password without the address.
    if let Some(Ok(url)) = config.redis.address()
        && let Some(password) = url.password
    {
        secrets.register(password.expose_secret());
    }
    let headers = config.gitlab.headers.values();
    for secret in config.server.webhook.secrets().chain(headers) {
        secrets.register(secret.expose());
    }
    for signal in Signal::ALL {
        if let Some(target) = config.otlp(signal) {
            otlp(target).register_secrets(secrets);
        }
    }
}
