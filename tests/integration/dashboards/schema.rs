//! The JSON against Grafana's own types, by TypeScript: the dashboards as a whole, and of each panel
//! the options and the settings of its fields that its type knows. Unknown keys are mistakes, too.

use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use crate::support::exporter::write;
use crate::support::tools::tool;

/// What stands before the values. JSON has the values of Grafana's enumerations, not their names.
const HEAD: &str = "import type {Dashboard} from '@grafana/schema';
type Plain<T> = T extends string ? `${T}` : T extends number ? T :
    T extends (infer U)[] ? Plain<U>[] : T extends object ? {[K in keyof T]: Plain<T[K]>} : T;
";

/// Types of panels, and whether their fields have settings of their own.
const PANELS: [(&str, bool); 6] = [
    ("barchart", true),
    ("bargauge", false),
    ("piechart", false),
    ("stat", false),
    ("table", true),
    ("timeseries", true),
];

#[test]
fn they_have_grafanas_own_types() {
    let Some(modules) = tool("node/node_modules") else {
        return;
    };
    let modules = modules.canonicalize().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&modules, folder.path().join("node_modules")).expect("a link");
    write(&folder, "dashboards.ts", &checked());
    let ran = Command::new("node")
        .arg(modules.join("typescript/bin/tsc"))
        .args([
            "--noEmit",
            "--strict",
            "--skipLibCheck",
            "--target",
            "es2022",
        ])
        .args(["--module", "esnext", "--moduleResolution", "bundler"])
        .arg("dashboards.ts")
        .current_dir(folder.path())
        .output()
        .expect("node runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    let first: String = said.lines().take(10).collect::<Vec<_>>().join("\n");
    assert!(ran.status.success(), "{first}");
}

/// A program that has the right types if and only if the dashboards have.
fn checked() -> String {
    let mut text = HEAD.to_owned();
    for (name, _) in PANELS {
        let _ = writeln!(
            text,
            "import type * as {name} from './node_modules/@grafana/schema/dist/types/raw/composable/{name}/panelcfg/x/types.gen';"
        );
    }
    let mut count = 0;
    let mut add = |text: &mut String, value: &Value, kind: &str| {
        count += 1;
        let _ = writeln!(
            text,
            "export const it{count} = {value} satisfies Plain<Partial<{kind}>>;"
        );
    };
    for dashboard in gitlab_dashboards::all() {
        let json = dashboard.json();
        add(&mut text, &json, "Dashboard");
        let panels = json["panels"].as_array().expect("panels");
        for panel in panels.iter().filter(|panel| panel["type"] != "row") {
            let kind = panel["type"].as_str().expect("a type");
            let known = PANELS.iter().find(|(name, _)| *name == kind);
            let (_, has_custom) = known.unwrap_or_else(|| panic!("{kind} is not checked"));
            add(&mut text, &panel["options"], &format!("{kind}.Options"));
            let custom = &panel["fieldConfig"]["defaults"]["custom"];
            assert_eq!(custom.is_object(), *has_custom, "{}", panel["title"]);
            if *has_custom {
                add(&mut text, custom, &format!("{kind}.FieldConfig"));
            }
        }
    }
    // The check itself: what has the wrong type, and what is no setting, is an error.
    for wrong in [r#"{"showHeader": 1}"#, r#"{"showHeaders": true}"#] {
        let _ = writeln!(
            text,
            "// @ts-expect-error\n({wrong} satisfies Plain<Partial<table.Options>>);"
        );
    }
    text
}
