//! What the token may read of a project, as GitLab says it: by its permissions and features, never by
//! what a role is called. What GitLab did not say is asked for, and refused then.

use super::Target;
use crate::facts::Unavailable;
use crate::gitlab::model::{Features, Known, Permissions, Role};
use crate::types::Tier;

/// What a source reads of a project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// Pipelines, jobs, test reports, schedules.
    Pipelines,
    /// Environments and deployments.
    Environments,
    /// Merge requests.
    MergeRequests,
    /// Branches, tags, commits.
    Code,
    /// Value stream analytics.
    Analytics,
    /// Variables.
    Variables,
    /// Vulnerabilities.
    Vulnerabilities,
}

/// The lowest role that reads vulnerabilities: security manager.
const READS_VULNERABILITIES: Role = Role(25);

impl Target {
    /// Why the project has nothing for what needs this tier and this right, as far as both are known.
    #[must_use]
    pub fn lacks(&self, tier: Tier, right: Right) -> Option<Unavailable> {
        if let Some(why) = self.forbids(right) {
            return Some(why);
        }
        match self.tier.value() {
            Some(has) if has < tier => Some(Unavailable::Tier { needs: tier, has }),
            _ => None,
        }
    }

    /// Why this cannot be read of the project, as far as GitLab said so.
    #[must_use]
    pub fn forbids(&self, right: Right) -> Option<Unavailable> {
        forbids(&self.project.features, &self.permissions, right)
    }
}

/// Why this cannot be read of a project with such features, as far as GitLab said so.
#[must_use]
pub fn forbids(features: &Features, may: &Permissions, right: Right) -> Option<Unavailable> {
    let needs_jobs = matches!(
        right,
        Right::Pipelines | Right::Environments | Right::Variables
    );
    if needs_jobs && features.jobs == Known::Value(false) {
        return Some(Unavailable::SwitchedOff("CI/CD"));
    }
    if right == Right::MergeRequests && features.merge_requests == Known::Value(false) {
        return Some(Unavailable::SwitchedOff("the feature merge requests"));
    }
    let (permitted, what) = match right {
        // Everybody who sees the project sees its pipelines, unless they are for members.
        Right::Pipelines => match features.public_jobs {
            Known::Value(false) => (at_least(may, Role::REPORTER), "its pipelines and jobs"),
            _ => return None,
        },
        Right::Environments => (may.environments, "its environments"),
        Right::MergeRequests => (may.merge_requests, "its merge requests"),
        Right::Code => (may.code, "its repository"),
        Right::Analytics => (may.analytics, "its analytics"),
        Right::Variables => (may.admin, "its variables, which need the role Maintainer"),
        Right::Vulnerabilities => (
            at_least(may, READS_VULNERABILITIES),
            "its vulnerabilities, which need the role Developer or Security Manager",
        ),
    };
    (permitted == Known::Value(false)).then_some(Unavailable::Permission(what))
}

/// Whether the token reads with this role or a higher one.
fn at_least(may: &Permissions, role: Role) -> Known<bool> {
    match may.reads_as() {
        Known::Value(has) => Known::Value(has >= role),
        _ => Known::Unread,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::tests::project;

    fn target(features: Features, permissions: Permissions) -> Target {
        Target {
            is_asked_for: false,
            tracking: 0,
            project: crate::gitlab::model::Project {
                features,
                ..project(1)
            },
            settings: std::sync::Arc::default(),
            memory: std::sync::Arc::default(),
            tier: Known::Value(Tier::Ultimate),
            permissions,
            permitted_at: crate::clock::UnixSeconds::default(),
            instance: None,
        }
    }

    const ALL: [Right; 7] = [
        Right::Pipelines,
        Right::Environments,
        Right::MergeRequests,
        Right::Code,
        Right::Analytics,
        Right::Variables,
        Right::Vulnerabilities,
    ];

    fn forbidden(target: &Target) -> Vec<Right> {
        let forbidden = ALL.into_iter();
        forbidden
            .filter(|right| target.forbids(*right).is_some())
            .collect()
    }

    fn features(public_jobs: bool) -> Features {
        Features {
            public_jobs: Known::Value(public_jobs),
            jobs: Known::Value(true),
            merge_requests: Known::Value(true),
        }
    }

    fn permissions(role: u32, admin: bool, others: bool) -> Permissions {
        let others = Known::Value(others);
        Permissions {
            role: Known::Value(Role(role)),
            admin: Known::Value(admin),
            code: others,
            analytics: others,
            environments: others,
            merge_requests: others,
        }
    }

    #[test]
    fn an_administrator_without_a_role_reads_everything() {
        for public_jobs in [true, false] {
            let target = target(features(public_jobs), permissions(0, true, true));
            assert_eq!(forbidden(&target), []);
        }
    }

    #[test]
    fn a_guest_reads_pipelines_where_they_are_public() {
        let guest = permissions(10, false, false);
        assert!(!forbidden(&target(features(true), guest)).contains(&Right::Pipelines));
        assert!(forbidden(&target(features(false), guest)).contains(&Right::Pipelines));
        let reporter = permissions(20, false, true);
        let reads = forbidden(&target(features(false), reporter));
        assert_eq!(reads, [Right::Variables, Right::Vulnerabilities]);
    }

    #[test]
    fn a_feature_that_is_off_is_off_for_everybody() {
        let off = Features {
            jobs: Known::Value(false),
            merge_requests: Known::Value(false),
            ..features(true)
        };
        let owner = target(off, permissions(50, true, true));
        let rights = [
            Right::Pipelines,
            Right::Environments,
            Right::MergeRequests,
            Right::Variables,
        ];
        assert_eq!(forbidden(&owner), rights);
    }

    #[test]
    fn what_gitlab_did_not_say_is_asked_for() {
        let unknown = target(Features::default(), Permissions::default());
        assert_eq!(forbidden(&unknown), []);
    }
}
