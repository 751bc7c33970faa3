//! What was found, as JSON.

use serde_json::{Map, Value, json};

use super::{Access, Column, Estimate, Level, Report};
use crate::gitlab::capability::{Edition, TokenState};
use crate::gitlab::model::{Known, Project, Role};
use crate::types::Tier;

impl Estimate {
    /// The numbers, in bytes and per second.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let whole = |number: f64| number.round() as u64;
        json!({
            "samples_after_first_sync": whole(self.states),
            "samples_when_every_job_has_run": whole(self.counted),
            "memory_bytes": whole(self.memory()),
            "state_file_bytes": whole(self.state_file()),
        })
    }
}

impl Report {
    /// Everything as one JSON object: `ok`, `gitlab`, `token`, `graphql`, `projects` with what each
    /// collector reads of each, `redis` where it is set, `otlp`, `problems`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let projects = self.projects.iter().enumerate();
        let projects = projects.map(|(place, (project, _))| self.project(place, project));
        let problems = self.problems.iter();
        let problems = problems.map(|one| {
            let fatal = one.level == Level::Error;
            json!({"fatal": fatal, "level": one.level.as_str(), "text": one.text})
        });
        let receivers = self.receivers.iter().map(|one| {
            json!({
                "signal": one.signal.as_str(),
                "target": one.target,
                "ok": one.result.is_ok(),
                "error": one.result.as_ref().err(),
            })
        });
        let redis = self.redis.as_ref().map(|one| {
            json!({
                "server": one.server,
                "ok": one.result.is_ok(),
                "error": one.result.as_ref().err(),
            })
        });
        json!({
            "ok": self.is_good(),
            "gitlab": self.gitlab(),
            "token": self.token(),
            "graphql": {
                "usable": self.graphql.is_ok(),
                "error": self.graphql.as_ref().err(),
                "missing": self.lost,
            },
            "projects": projects.collect::<Vec<_>>(),
            "redis": redis,
            "otlp": receivers.collect::<Vec<_>>(),
            "problems": problems.collect::<Vec<_>>(),
        })
    }

    fn gitlab(&self) -> Value {
        let instance = self.instance.as_ref().ok();
        let edition = instance.map(|instance| match instance.edition {
            Edition::Community => "community",
            Edition::Enterprise => "enterprise",
        });
        json!({
            "url": self.url.trim_end_matches('/'),
            "version": instance.map(|instance| instance.version.to_string()),
            "edition": edition,
        })
    }

    fn token(&self) -> Value {
        let Ok(TokenState { token, user }) = &self.token else {
            return Value::Null;
        };
        let (name, scopes, expires_at) = match token {
            Known::Value(token) => (
                Some(&token.name),
                Some(&token.scopes),
                token.expires_at.map(|at| at.to_string()),
            ),
            _ => (None, None, None),
        };
        let user = match user {
            Known::Value(user) => Some(&user.username),
            _ => None,
        };
        json!({"name": name, "scopes": scopes, "expires_at": expires_at, "user": user})
    }

    fn project(&self, place: usize, project: &Project) -> Value {
        let collectors = self.collectors.iter().map(|(collector, column)| {
            let access = match column {
                Column::Off => None,
                Column::On(all) => all.get(place),
            };
            let (reads, reason, text) = match access {
                None | Some(Access::Off) => (Some(false), Some("off"), None),
                Some(Access::Reads) => (Some(true), None, None),
                Some(Access::Unknown) => (None, None, None),
                Some(Access::Nothing(why)) => {
                    (Some(false), Some(why.kind()), Some(why.to_string()))
                }
            };
            let cell = json!({"reads": reads, "reason": reason, "text": text});
            (collector.as_str().to_owned(), cell)
        });
        let tier = self.tiers.get(&project.id).and_then(|tier| tier.value());
        json!({
            "id": project.id.0,
            "path": &*project.full_path,
            "role": project.role.value().map(Role::name),
            "tier": tier.map(Tier::as_str),
            "collectors": collectors.collect::<Map<String, Value>>(),
        })
    }
}
