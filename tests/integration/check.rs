//! `check`: what `run` would find.

use amazing_gitlab_exporter::app::check::{Report, check};
use amazing_gitlab_exporter::config::Config;
use gitlab_simulator::{AccessLevel, Options, Simulator, Token, World, WorldConfig};

const TOKEN: &str = "glpat-of-the-test-00000";

fn simulator() -> Simulator {
    let config = WorldConfig {
        projects: 4,
        pipelines_per_project: 1,
        ..WorldConfig::default()
    };
    Simulator::start(World::generate(config), &Options::default()).expect("a simulator")
}

async fn report(simulator: &Simulator, token: &str, watched: &str) -> Report {
    let url = simulator.url();
    let yaml = format!("gitlab: {{url: '{url}', token: '{token}'}}\n{watched}\n");
    let config = Config::from_yaml(&yaml).expect("a configuration");
    check(&config, |_| {}).await.expect("a client")
}

#[tokio::test]
async fn a_good_token_sees_every_project() {
    let simulator = simulator();
    let report = report(&simulator, simulator.token(), "wildcards: [{}]").await;
    let text = report.to_string();
    assert!(report.is_good(), "{text}");
    assert!(text.contains("Projects    4 found"), "{text}");
    assert!(text.contains("Roles       maintainer in 4"), "{text}");
    assert!(
        text.contains("pipelines        sees 4 of 4 projects"),
        "{text}"
    );
    assert!(
        text.contains("dora             sees 4 of 4 projects"),
        "{text}"
    );
    assert!(text.ends_with("run would work\n"), "{text}");
}

#[tokio::test]
async fn a_low_role_is_named_with_its_projects() {
    let simulator = simulator();
    let path = {
        let mut world = simulator.world();
        world.add_token(Token::new(TOKEN));
        let (id, path) = world
            .projects()
            .next()
            .map(|project| (project.id, project.full_path.to_string()))
            .expect("a project");
        world
            .set_role(TOKEN, id, AccessLevel::Guest)
            .expect("a token");
        path
    };
    let report = report(&simulator, TOKEN, "wildcards: [{}]").await;
    assert!(report.is_good());
    let text = report.to_string();
    let sentence = format!(
        "merge_requests   sees 3 of 4 projects; the token may not read its merge requests in {path}\n"
    );
    assert!(text.contains(&sentence), "{text}");
    assert!(
        text.contains("pipelines        sees 4 of 4 projects\n"),
        "{text}"
    );
    // The table begins with it: pipelines are read, merge requests are not.
    let rows: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.ends_with("  project"))
        .collect();
    let columns =
        |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
    let numbered = |name: &str| {
        let number = text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            let number = words.next()?.parse::<usize>().ok()?;
            (words.next() == Some(name)).then_some(number)
        });
        number.expect("a column") - 1
    };
    let first = columns(rows[1]);
    assert_eq!(first.last(), Some(&path));
    assert_eq!(
        (
            &*first[numbered("pipelines")],
            &*first[numbered("merge_requests")]
        ),
        ("+", "p")
    );
    let second = columns(rows[2]);
    assert_eq!(&*second[numbered("merge_requests")], "+", "{text}");
    let json = report.to_json();
    let project = json["projects"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|one| one["path"] == path);
    let project = project.expect("it is there");
    assert_eq!(project["role"], "guest");
    assert_eq!(project["collectors"]["pipelines"]["reads"], true);
    let refused = &project["collectors"]["merge_requests"];
    assert_eq!(
        (&refused["reads"], &refused["reason"]),
        (&false.into(), &"permission".into())
    );
    assert_eq!(json["ok"], true);
}

#[tokio::test]
async fn a_token_that_reads_nothing_is_an_error() {
    let simulator = simulator();
    {
        let mut world = simulator.world();
        let ids: Vec<_> = world.projects().map(|project| project.id).collect();
        world.add_token(Token::new(TOKEN));
        for id in ids {
            world
                .set_role(TOKEN, id, AccessLevel::Guest)
                .expect("a token");
            let changed = world.change_settings(id, |settings| settings.public_jobs = false);
            changed.expect("a project");
        }
    }
    let off = ["repository", "value_stream"].map(|name| format!("{name}: {{enabled: false}}"));
    let watched = format!("wildcards: [{{}}]\ncollectors: {{{}}}", off.join(", "));
    let report = report(&simulator, TOKEN, &watched).await;
    let text = report.to_string();
    assert!(!report.is_good(), "{text}");
    assert!(
        text.contains("error       the token cannot read any project"),
        "{text}"
    );
}

#[tokio::test]
async fn a_collector_that_is_off_for_some_projects_says_so() {
    let simulator = simulator();
    let path = {
        let world = simulator.world();
        let first = world.projects().next();
        first.expect("a project").full_path.to_string()
    };
    let watched = format!(
        "projects: [{{name: {path}, collectors: {{jobs: {{enabled: false}}}}}}]\nwildcards: [{{}}]"
    );
    let text = report(&simulator, simulator.token(), &watched)
        .await
        .to_string();
    let sentence =
        format!("jobs             sees 3 of 4 projects; off in the settings in {path}\n");
    assert!(text.contains(&sentence), "{text}");
    assert!(
        text.contains("schedules        off in the settings\n"),
        "{text}"
    );
}

#[tokio::test]
async fn what_would_not_work_is_an_error() {
    let simulator = simulator();
    let unknown = report(&simulator, "glpat-nobody-knows-it", "wildcards: [{}]").await;
    assert!(!unknown.is_good());
    let text = unknown.to_string();
    assert!(text.contains("GitLab refused the token (401"), "{text}");
    assert!(!text.contains("glpat-nobody-knows-it"), "{text}");
    let nothing = report(&simulator, simulator.token(), "projects: [{name: no/such}]").await;
    assert!(!nothing.is_good());
    let text = nothing.to_string();
    assert!(text.contains("warning     project no/such:"), "{text}");
    assert!(text.contains("error       no project was found"), "{text}");
}
