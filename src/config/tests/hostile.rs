//! Files that are too large, no files, or no configuration.

use crate::config::tree::{Data, Entry, Node, Origin};
use crate::config::{Config, ConfigError, Sources, load};

fn load_file(path: &std::path::Path) -> Result<Config, ConfigError> {
    load(&Sources {
        file: Some(path.to_owned()),
        ..Sources::default()
    })
}

const HEAD: &str = "gitlab: {token: t}\n";

#[test]
fn a_byte_order_mark_is_skipped() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = format!("\u{feff}{HEAD}projects: [{{name: a/b}}]\n");
    std::fs::write(file.path(), text).unwrap();
    let config = load_file(file.path()).unwrap();
    assert_eq!(config.projects[0].name, "a/b");
}

#[test]
fn a_file_of_more_than_a_mebibyte_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let with = |length: usize| {
        let text = format!("{HEAD}projects: [{{name: a/b}}]\n#");
        let filler = "x".repeat(length - text.len());
        std::fs::write(file.path(), text + &filler).unwrap();
        load_file(file.path())
    };
    assert!(with(1 << 20).is_ok());
    let error = with((1 << 20) + 1).unwrap_err().to_string();
    assert!(error.ends_with("(it is larger than 1024 KiB)"), "{error}");
}

#[cfg(unix)]
#[test]
fn pipes_and_devices_are_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for path in [&*pipe, std::path::Path::new("/dev/zero")] {
        let error = load_file(path).unwrap_err().to_string();
        assert!(error.contains("a pipe or a device, not a file"), "{error}");
    }
}

#[test]
fn a_token_file_holds_a_token_and_nothing_else() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let check = |content: &[u8]| {
        std::fs::write(file.path(), content).unwrap();
        let path = file.path().display();
        let yaml = format!("gitlab: {{token_file: '{path}'}}\nprojects: [{{name: a/b}}]");
        Config::from_yaml(&yaml)
            .map(drop)
            .map_err(|error| error.to_string())
    };
    for good in [
        "glpat-abc",
        "glpat-abc\n",
        "  glpat-abc\r\n",
        "\u{feff}glpat-abc\n",
    ] {
        assert_eq!(check(good.as_bytes()), Ok(()), "{good:?}");
    }
    for (bad, why) in [
        (&b"glpat-abc\nglpat-def\n"[..], "more than one line"),
        (b"\"glpat-abc\"", "quotes"),
        (b"'glpat-abc'\n", "quotes"),
        (b"TOKEN=glpat-abc\n", "a name and ="),
        (b"export TOKEN=glpat-abc", "a space"),
        (b"glpat\0abc", "another character"),
        (b"\n \n", "is empty"),
        (b"\xff\xfeg\0l\0", "not UTF-8"),
        (&[b'x'; 70_000], "larger than 64 KiB"),
    ] {
        let error = check(bad).unwrap_err();
        assert!(error.contains("gitlab.token_file"), "{error}");
        assert!(error.contains(why), "{error}");
        assert!(!error.contains("glpat"), "{error}");
    }
}

// Each of these took minutes or more where each key or entry was compared with all others.

fn many(count: usize, entry: impl Fn(usize) -> String) -> String {
    (0..count).map(entry).collect()
}

#[test]
fn fifty_thousand_projects_are_read() {
    let projects = many(50_000, |number| format!("- {{name: g/{number}}}\n"));
    let config = Config::from_yaml(&format!("{HEAD}projects:\n{projects}")).unwrap();
    assert_eq!(config.projects.len(), 50_000);
}

#[test]
fn a_map_of_a_hundred_thousand_keys_is_read() {
    let keys = many(100_000, |number| format!("  k{number}: v\n"));
    let attributes =
        format!("{HEAD}projects: [{{name: a/b}}]\notel:\n resource_attributes:\n{keys}");
    let config = Config::from_yaml(&attributes).unwrap();
    assert_eq!(config.otel.resource_attributes.len(), 100_000);
}

#[test]
fn of_many_problems_the_first_are_shown() {
    let keys = many(100_000, |number| format!("  k{number}: v\n"));
    let unknown = Config::from_yaml(&format!("{HEAD}log:\n{keys}")).unwrap_err();
    assert_eq!(unknown.problems().len(), 101);
    assert!(unknown.to_string().ends_with("shown when these are solved"));

    let wrong = many(50_000, |number| format!("- {{nam: g/{number}}}\n"));
    let wrong = Config::from_yaml(&format!("{HEAD}projects:\n{wrong}")).unwrap_err();
    assert_eq!(wrong.problems().len(), 101);

    let twice = many(50_000, |_| "- {name: g/a}\n".to_owned());
    let twice = Config::from_yaml(&format!("{HEAD}projects:\n{twice}")).unwrap_err();
    assert_eq!(twice.problems().len(), 101);
}

#[test]
fn maps_of_many_keys_merge_as_those_of_few() {
    for count in [3, 40] {
        let map = |from: usize, value: i64| {
            let entries = (from..from + count).map(|number| Entry {
                key: format!("k{number}"),
                origin: Origin::Default,
                node: Node::new(Data::Int(value), &Origin::Default),
            });
            Node::new(Data::Map(entries.collect()), &Origin::Default)
        };
        let mut merged = map(0, 1);
        merged.merge(map(1, 2));
        let json = merged.to_json();
        let values: Vec<(String, i64)> = json
            .as_object()
            .unwrap()
            .iter()
            .map(|(key, value)| (key.clone(), value.as_i64().unwrap()))
            .collect();
        let want = (0..=count).map(|number| (format!("k{number}"), 1 + i64::from(number > 0)));
        assert_eq!(values, want.collect::<Vec<_>>());
    }
}

/// What the fuzz target `config` holds of each of its seeds.
#[test]
fn every_seed_is_a_configuration_or_refused_in_sentences() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/config");
    let mut good = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        match Config::from_yaml(&text) {
            Ok(config) => good += usize::from(!config.to_yaml().is_empty()),
            Err(error) => assert!(!error.to_string().is_empty(), "{path:?}"),
        }
    }
    assert!(good > 0);
}
