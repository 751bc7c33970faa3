//! What generated projects hold, and what becomes of it as they live on.

use std::sync::Arc;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::World;
use super::code::{
    Code, Commit, CommitDetails, CommitSpec, FlowIssue, Release, Sizes, Stage, Vulnerability,
};
use super::model::{ProjectId, Tier};
use crate::time::{DAY, HOUR, Millis};

/// Who commits in worlds that live on their own.
const AUTHORS: [(&str, &str); 4] = [
    ("Ada Fields", "ada@example.com"),
    ("Ben Okafor", "ben@example.com"),
    ("Chiara Neri", "chiara@example.com"),
    ("Exporter Bot", "bot@example.com"),
];

impl World {
    /// What else somebody does in a living project, from random numbers of its own.
    pub(super) fn live_on(&mut self, project: ProjectId) {
        let now = self.now;
        let seed = self.config.seed ^ project.rotate_left(32) ^ now.unsigned_abs().rotate_left(8);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let Some(code) = self.code.get_mut(&project) else {
            return;
        };
        code.sizes.repository += rng.random_range(0..4_096);
        match rng.random_range(0..5) {
            0 => code.stars += 1,
            1 => code.issues.push(FlowIssue {
                created_at: now,
                mentioned_at: None,
                closed_at: None,
            }),
            2 => {
                let open = code
                    .issues
                    .iter_mut()
                    .find(|issue| issue.closed_at.is_none());
                if let Some(issue) = open {
                    issue.mentioned_at.get_or_insert(now);
                    issue.closed_at = Some(now);
                }
            }
            3 => code.vulnerabilities.push(Vulnerability {
                severity: "medium".into(),
                state: "detected".into(),
            }),
            _ => {
                let stage = rng.random_range(0..code.default_stages.len());
                code.default_stages[stage] = Some(f64::from(rng.random_range(600_u32..200_000)));
            }
        }
    }

    /// Gives a generated project a history, sizes, languages and the rest, from random numbers of its own.
    pub(super) fn generate_code(&mut self, project: ProjectId) {
        let start = self.config.start;
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed ^ project.rotate_left(32));
        let seed = self.config.seed;
        let Some(code) = self.code.get_mut(&project) else {
            return;
        };
        let ruby = 40.0 + f64::from(rng.random_range(0_u32..4_000)) / 100.0;
        code.languages = vec![("Ruby".into(), ruby), ("Shell".into(), 100.0 - ruby)];
        code.sizes = Sizes {
            repository: rng.random_range(1_000_000..90_000_000),
            lfs_objects: rng.random_range(0..5_000_000),
            job_artifacts: rng.random_range(0..50_000_000),
            packages: rng.random_range(0..9_000_000),
            container_registry: Some(rng.random_range(0..900_000_000)),
            wiki: rng.random_range(0..400_000),
        };
        (code.stars, code.forks) = (rng.random_range(0..200), rng.random_range(0..20));
        let released_at = start - rng.random_range(DAY..6 * DAY);
        let tag: Arc<str> = "v1.0.0".into();
        code.releases.insert(
            tag.clone(),
            Release {
                tag,
                created_at: released_at,
                released_at,
                name: None,
                author: None,
            },
        );
        code.issues = (0..12)
            .map(|index| {
                let created_at = start - rng.random_range(3 * DAY..20 * DAY);
                FlowIssue {
                    created_at,
                    mentioned_at: Some(created_at + rng.random_range(HOUR..DAY)),
                    closed_at: (index % 3 > 0).then(|| created_at + rng.random_range(DAY..3 * DAY)),
                }
            })
            .collect();
        for median in &mut code.default_stages {
            *median = Some(f64::from(rng.random_range(600_u32..200_000)));
        }
        let mut stream = code.streams(Tier::Free);
        if let Some(stream) = stream.first_mut() {
            stream.name = "Delivery".into();
            stream.stages.push(Stage {
                name: "Security review".into(),
                custom: true,
                hidden: false,
                median: Some(f64::from(rng.random_range(600_u32..90_000))),
            });
        }
        code.value_streams = stream;
        code.vulnerabilities = (0..rng.random_range(2_usize..30))
            .map(|index| Vulnerability {
                severity: ["critical", "high", "medium", "low", "info", "unknown"][index % 6]
                    .into(),
                state: ["detected", "confirmed", "detected", "dismissed", "resolved"][index % 5]
                    .into(),
            })
            .collect();
        code.put_below(seed, project, rng.random_range(5..60));
    }
}

impl Code {
    /// Puts a history of `count` commits below the first one.
    fn put_below(&mut self, seed: u64, project: ProjectId, count: usize) {
        let Some((first, at)) = self
            .history()
            .last()
            .map(|commit| (commit.sha.clone(), commit.committed_at))
        else {
            return;
        };
        let mut above = first;
        for index in 0..count {
            let spec = somebody(seed, project, 1_000_000 + index);
            let sha: Arc<str> = format!("{project:016x}{index:024x}").into();
            if let Some(commit) = self.commits.get_mut(&above) {
                commit.parent = Some(sha.clone());
            }
            let commit = Commit {
                sha: sha.clone(),
                parent: None,
                merge: false,
                author_name: spec.author_name,
                author_email: spec.author_email,
                authored_at: at - HOUR * (index as Millis + 1),
                committed_at: at - HOUR * (index as Millis + 1),
                additions: spec.additions,
                deletions: spec.deletions,
                details: CommitDetails::default(),
            };
            self.commits.insert(sha.clone(), commit);
            above = sha;
        }
    }
}

/// Somebody's commit: who and how much follow from the world's seed, the project and the number.
pub(super) fn somebody(seed: u64, project: ProjectId, number: usize) -> CommitSpec {
    let mut rng =
        ChaCha8Rng::seed_from_u64(seed.rotate_left(40) ^ project.rotate_left(20) ^ number as u64);
    let (name, email) = AUTHORS[rng.random_range(0..AUTHORS.len())];
    CommitSpec::by(
        name,
        email,
        rng.random_range(0..300),
        rng.random_range(0..120),
    )
}
