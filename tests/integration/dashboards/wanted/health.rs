use super::super::facts::{Facts, times};
use super::Want::{self, Living, Near, Nothing};
use super::one;

pub fn health(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    Some(match panel {
        "Initial sync" => vec![one(1.0)],
        "Projects" => vec![Near(f.sum("age_projects_tracked", &[]))],
        "Token expires" => vec![Near(times(
            f.max("age_token_expiry_timestamp", &[]),
            1000.0,
        ))],
        "Last success"
        | "Requests in the last hour"
        | "Rate limit left"
        | "Calls"
        | "GitLab's time"
        | "Answers that are no success"
        | "Lag"
        | "Errors"
        | "Duration of runs"
        | "OTLP messages" => vec![Living],
        "Latency" => vec![Living, Living, Living],
        "Waiting and retries" | "Memory and processor" | "Time per request and concurrency" => {
            vec![Living, Living]
        }
        "Tasks" | "Collectors" => vec![Living, Living, Living],
        "Store errors and open files" => vec![Living, Living],
        "State file" => vec![one(1.0)],
        "GitLab tier" => vec![one(2.0)],
        "Configuration" => vec![one(1.0)],
        "Configuration loaded" => vec![Near(times(
            f.max("age_config_last_reload_success_timestamp_seconds", &[]),
            1000.0,
        ))],
        "Complexity of queries" | "Delay of tasks" => vec![Living],
        "Projects without data" => vec![Near(
            f.sum("age_projects_unavailable", &["collector_type", "reason"]),
        )],
        "Series" => vec![Living, Nothing],
        "Freshness" => vec![Living],
        // They are off there.
        "Subscriptions" | "Connections for subscriptions" => vec![Nothing],
        "Handling of events" | "Webhooks" | "Replicas" => vec![Nothing, Nothing],
        _ => return None,
    })
}
