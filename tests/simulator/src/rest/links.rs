//! The addresses of other pages. GitLab writes every parameter that an endpoint declares with its value or
//! its default, sorted by name.

use super::Call;
use crate::time;

/// Parameters that an endpoint has by default, and the name that it has for the last part of its path.
struct Declared {
    endpoint: &'static str,
    defaults: &'static [(&'static str, &'static str)],
}

/// What lists of projects take.
const PROJECTS: &[(&str, &str)] = &[
    ("imported", "false"),
    ("membership", "false"),
    ("owned", "false"),
    ("simple", "false"),
    ("starred", "false"),
    ("statistics", "false"),
    ("with_custom_attributes", "false"),
    ("with_issues_enabled", "false"),
    ("with_merge_requests_enabled", "false"),
    ("order_by", "created_at"),
    ("sort", "desc"),
];

const MERGE_REQUESTS: &[(&str, &str)] = &[
    ("order_by", "created_at"),
    ("sort", "desc"),
    ("state", "all"),
    ("with_labels_details", "false"),
    ("with_merge_status_recheck", "false"),
];

const DECLARED: &[Declared] = &[
    Declared {
        endpoint: "/projects",
        defaults: PROJECTS,
    },
    Declared {
        endpoint: "/users/{id}/projects",
        defaults: PROJECTS,
    },
    Declared {
        endpoint: "/groups/{id}/projects",
        defaults: &[
            ("include_ancestor_groups", "false"),
            ("include_subgroups", "false"),
            ("order_by", "created_at"),
            ("owned", "false"),
            ("simple", "false"),
            ("sort", "desc"),
            ("starred", "false"),
            ("with_custom_attributes", "false"),
            ("with_issues_enabled", "false"),
            ("with_merge_requests_enabled", "false"),
            ("with_shared", "true"),
        ],
    },
    Declared {
        endpoint: "/projects/{id}/pipelines",
        defaults: &[("order_by", "id"), ("sort", "desc")],
    },
    Declared {
        endpoint: "/projects/{id}/pipelines/{pipeline_id}/jobs",
        defaults: &[("include_retried", "false")],
    },
    Declared {
        endpoint: "/projects/{id}/repository/tags",
        defaults: &[("order_by", "updated"), ("sort", "desc")],
    },
    Declared {
        endpoint: "/projects/{id}/releases",
        defaults: &[("order_by", "released_at"), ("sort", "desc")],
    },
    Declared {
        endpoint: "/projects/{id}/repository/contributors",
        defaults: &[("order_by", "commits"), ("sort", "asc")],
    },
    Declared {
        endpoint: "/projects/{id}/repository/commits",
        defaults: &[
            ("order", "default"),
            ("pagination", "legacy"),
            ("trailers", "false"),
        ],
    },
    Declared {
        endpoint: "/projects/{id}/deployments",
        defaults: &[("order_by", "id"), ("sort", "asc")],
    },
    Declared {
        endpoint: "/projects/{id}/deployments/{deployment_id}/merge_requests",
        defaults: MERGE_REQUESTS,
    },
    Declared {
        endpoint: "/projects/{id}/merge_requests",
        defaults: MERGE_REQUESTS,
    },
    Declared {
        endpoint: "/projects/{id}/merge_requests/{merge_request_iid}/notes",
        defaults: &[
            ("activity_filter", "all_notes"),
            ("order_by", "created_at"),
            ("sort", "desc"),
        ],
    },
    Declared {
        endpoint: "/projects/{id}/issues",
        defaults: &[
            ("order_by", "created_at"),
            ("sort", "desc"),
            ("state", "all"),
            ("with_labels_details", "false"),
        ],
    },
    Declared {
        endpoint: "/projects/{id}/vulnerabilities",
        defaults: &[],
    },
];

/// Parameters of the path that links name otherwise: endpoint, name here, name there.
const RENAMED: &[(&str, &str, &str)] = &[
    (
        "/projects/{id}/merge_requests/{merge_request_iid}/notes",
        "merge_request_iid",
        "noteable_id",
    ),
    ("/users/{id}/projects", "id", "user_id"),
];

impl Call {
    /// The address of this request with some parameters set and others left out.
    pub(super) fn url_with(&self, set: &[(&str, String)], without: &[&str]) -> String {
        let pattern = self.request.match_pattern().unwrap_or_default();
        let endpoint = pattern.strip_prefix("/api/v4").unwrap_or(&pattern);
        let mut values: Vec<(String, String)> = Vec::new();
        let mut put = |name: &str, value: String| {
            if !name.ends_with("[]") {
                values.retain(|(known, _)| known != name);
            }
            values.push((name.to_owned(), value));
        };
        let declared = DECLARED.iter().find(|one| one.endpoint == endpoint);
        for (name, value) in declared.map_or(&[][..], |one| one.defaults) {
            put(name, (*value).to_owned());
        }
        for (name, _) in self.request.match_info().iter() {
            let renamed = RENAMED
                .iter()
                .find(|(of, from, _)| *of == endpoint && *from == name);
            put(renamed.map_or(name, |(_, _, to)| to), self.segment(name));
        }
        for (name, value) in &self.query {
            let name = if name == "scope" && endpoint.ends_with("/jobs") {
                "scope[]"
            } else {
                name
            };
            put(name, shown(name, value));
        }
        for (name, value) in set {
            put(name, value.clone());
        }
        values.retain(|(name, _)| !without.contains(&name.as_str()));
        values.sort_by(|a, b| a.0.cmp(&b.0));
        let query: Vec<String> = values
            .iter()
            .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
            .collect();
        let path = self.request.uri().path();
        if query.is_empty() {
            return format!("{}{path}", self.base_url());
        }
        format!("{}{path}?{}", self.base_url(), query.join("&"))
    }
}

/// A parameter as links show it: times are written with their offset.
fn shown(name: &str, value: &str) -> String {
    let is_time = name.ends_with("_after") || name.ends_with("_before") || name == "since";
    match time::parse(value).filter(|_| is_time && !name.starts_with("id_")) {
        Some(at) => time::whole_seconds(at).replace('Z', "+00:00"),
        None => value.to_owned(),
    }
}

fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte))
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
