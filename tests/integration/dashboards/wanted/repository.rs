use super::super::facts::{Facts, above_zero, greatest, joined, times};
use super::Want::{self, Living, Near};
use super::most;

pub fn analytics(f: &Facts, panel: &str) -> Option<Vec<Want>> {
    let by_author = |name| f.sum(name, &["author"]);
    let (additions, deletions) = ("age_contributor_additions", "age_contributor_deletions");
    Some(match panel {
        "Languages" => {
            let shares = "age_repository_language_percentage";
            let all: f64 = f.sum(shares, &[]).values().sum();
            vec![Near(times(f.sum(shares, &["language"]), 1.0 / all))]
        }
        "Test coverage" => vec![Near(f.max("age_repository_coverage", &["project"]))],
        "Repository size" => vec![Near(f.max("age_repository_size_bytes", &["project"]))],
        "Commits per week" => vec![Near(f.sum("age_repository_commit_count", &["project"]))],
        "Commits by weekday and hour" => {
            vec![
                Near(f.sum("age_repository_commit_count", &[])),
                Living,
                Living,
            ]
        }
        "Top contributors" => vec![
            Near(by_author("age_contributor_commits_count")),
            Near(by_author(additions)),
            Near(by_author(deletions)),
        ],
        "Projects" => {
            let scaled = |name| Near(times(f.max(name, &["project"]), 1000.0));
            let mut all: Vec<Want> = [
                "age_repository_branch_count",
                "age_repository_tag_count",
                "age_repository_open_issues_count",
                "age_repository_star_count",
                "age_repository_fork_count",
                "age_release_count",
            ]
            .map(|name| most(f, name, &["project"]))
            .into();
            all.push(scaled("age_release_latest_timestamp"));
            all.push(scaled("age_repository_last_activity_timestamp"));
            all
        }
        "Storage" => [
            "",
            "lfs_",
            "artifacts_",
            "packages_",
            "container_registry_",
            "wiki_",
        ]
        .map(|part| most(f, &format!("age_repository_{part}size_bytes"), &["project"]))
        .into(),
        "Vulnerabilities by severity" => {
            vec![Near(f.sum("age_vulnerability_count", &["severity"]))]
        }
        "Vulnerabilities by project" => {
            let found = f.max("age_vulnerability_count", &["project", "severity"]);
            vec![Near(above_zero(found))]
        }
        "Lines by contributor" => {
            let lines = joined(by_author(additions), &by_author(deletions), |one, two| {
                one + two
            });
            let top = greatest(above_zero(lines), 15);
            vec![
                Near(joined(by_author(additions), &top, |lines, _| lines)),
                Near(joined(by_author(deletions), &top, |lines, _| lines)),
            ]
        }
        _ => return None,
    })
}
