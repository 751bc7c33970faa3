use serde_json::{Value, json};

use crate::Panel;

/// Version of Grafana's dashboard schema that the JSON is written for.
const SCHEMA_VERSION: u32 = 42;
/// Marks the dashboards of this family, and links them to each other.
const TAG: &str = "amazing-gitlab-exporter";
/// Columns of Grafana's grid.
const COLUMNS: u32 = 24;

/// A dashboard: variables on top, rows of panels below.
#[derive(Debug)]
pub struct Dashboard {
    name: &'static str,
    title: &'static str,
    description: &'static str,
    selector: &'static str,
    from: &'static str,
    variables: Vec<Variable>,
    rows: Vec<Row>,
}

/// A row: a heading with panels under it.
#[derive(Debug)]
pub struct Row {
    title: &'static str,
    panels: Vec<Panel>,
}

impl Dashboard {
    /// `name` is that of the file and of the stable uid; `selector` is what `..` in queries stands
    /// for.
    pub fn new(
        name: &'static str,
        title: &'static str,
        description: &'static str,
        selector: &'static str,
    ) -> Self {
        Self {
            name,
            title,
            description,
            selector,
            from: "now-24h",
            variables: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// The time that is shown at first, up to now.
    pub fn since(mut self, from: &'static str) -> Self {
        self.from = from;
        self
    }

    pub fn variable(mut self, variable: Variable) -> Self {
        self.variables.push(variable);
        self
    }

    pub fn row(mut self, title: &'static str, panels: impl IntoIterator<Item = Panel>) -> Self {
        let panels = panels.into_iter().collect();
        self.rows.push(Row { title, panels });
        self
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn file_name(&self) -> String {
        format!("{}.json", self.name)
    }

    pub fn variables(&self) -> &[Variable] {
        &self.variables
    }

    pub fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.rows.iter().flat_map(|row| &row.panels)
    }

    /// A query as Grafana gets it: with the selector written out.
    pub fn written_out(&self, expr: &str) -> String {
        expr.replace("..", self.selector)
    }

    /// The file's text.
    pub fn text(&self) -> String {
        format!("{:#}\n", self.json())
    }

    /// The dashboard in Grafana's classic JSON model.
    pub fn json(&self) -> Value {
        let mut variables = vec![data_source("datasource", "Data source", "prometheus")];
        variables.extend(self.variables.iter().map(Variable::json));
        json!({
            "uid": format!("age-{}", self.name),
            "title": format!("GitLab / {}", self.title),
            "description": self.description,
            "tags": [TAG, "gitlab"],
            "schemaVersion": SCHEMA_VERSION,
            "editable": true,
            "graphTooltip": 1,
            "timezone": "browser",
            "refresh": "1m",
            "time": {"from": self.from, "to": "now"},
            "links": [{
                "type": "dashboards", "title": "GitLab dashboards", "tags": [TAG],
                "asDropdown": true, "icon": "external link", "includeVars": true,
                "keepTime": true, "targetBlank": false, "tooltip": "",
            }],
            "templating": {"list": variables},
            "annotations": {"list": []},
            "panels": self.laid_out(),
        })
    }

    /// Rows from top to bottom, panels from left to right, a new line where one does not fit.
    fn laid_out(&self) -> Vec<Value> {
        let mut all = Vec::new();
        let mut top = 0;
        for row in &self.rows {
            all.push(json!({
                "id": all.len() + 1, "type": "row", "title": row.title, "collapsed": false,
                "panels": [], "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": 1},
            }));
            top += 1;
            let (mut left, mut tallest) = (0, 0);
            for panel in &row.panels {
                let (width, height) = panel.size();
                if left + width > COLUMNS {
                    (left, top, tallest) = (0, top + tallest, 0);
                }
                let mut json = panel.json(&|expr| self.written_out(expr));
                json["id"] = json!(all.len() + 1);
                json["gridPos"] = json!({"x": left, "y": top, "w": width, "h": height});
                all.push(json);
                left += width;
                tallest = tallest.max(height);
            }
            top += tallest;
        }
        all
    }
}

/// A variable of a dashboard.
#[derive(Debug)]
pub enum Variable {
    /// Values of a label, several at once, all by default.
    Label {
        name: &'static str,
        label: &'static str,
        /// The series to take the values from; `$project` and the like may stand in it.
        of: &'static str,
    },
    /// One value of a label, the first by default; another may be typed in.
    One {
        name: &'static str,
        title: &'static str,
        label: &'static str,
        of: &'static str,
    },
    /// A choice of durations.
    Window {
        title: &'static str,
        default: &'static str,
        choices: &'static [&'static str],
    },
    /// One of some values that have names, the first by default.
    Choice {
        name: &'static str,
        title: &'static str,
        /// Names and values.
        of: &'static [(&'static str, &'static str)],
    },
    /// A Tempo data source, for links to traces.
    Tempo,
}

impl Variable {
    /// The projects that have a series of this metric.
    pub const fn project(metric: &'static str) -> Self {
        Variable::Label {
            name: "project",
            label: "project",
            of: metric,
        }
    }

    /// GitLab's address, for links into it.
    pub const fn gitlab_url() -> Self {
        Variable::One {
            name: "gitlab_url",
            title: "GitLab",
            label: "url",
            of: "age_gitlab_info",
        }
    }

    /// The name that stands in queries after a `$`.
    pub fn name(&self) -> &'static str {
        match self {
            Variable::Label { name, .. }
            | Variable::One { name, .. }
            | Variable::Choice { name, .. } => name,
            Variable::Window { .. } => "time_range",
            Variable::Tempo => "tempo",
        }
    }

    /// The label and the series whose values are offered.
    pub fn query(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Variable::Label { label, of, .. } | Variable::One { label, of, .. } => {
                Some((label, of))
            }
            Variable::Window { .. } | Variable::Choice { .. } | Variable::Tempo => None,
        }
    }

    fn json(&self) -> Value {
        match self {
            Variable::Label { name, label, of } => json!({
                "type": "query", "name": name, "label": titled(name),
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "query": label_values(label, of),
                "refresh": 2, "sort": 5, "multi": true, "includeAll": true, "allValue": ".*",
                "current": {"text": ["All"], "value": ["$__all"]}, "options": [], "regex": "",
            }),
            Variable::One {
                name,
                title,
                label,
                of,
            } => json!({
                "type": "query", "name": name, "label": title,
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "query": label_values(label, of),
                "refresh": 2, "sort": 1, "multi": false, "includeAll": false,
                "allowCustomValue": true, "options": [], "regex": "",
            }),
            Variable::Window {
                title,
                default,
                choices,
            } => {
                let options: Vec<Value> = choices
                    .iter()
                    .map(|choice| json!({"text": choice, "value": choice, "selected": choice == default}))
                    .collect();
                json!({
                    "type": "custom", "name": "time_range", "label": title,
                    "query": choices.join(","), "options": options,
                    "current": {"text": default, "value": default},
                    "multi": false, "includeAll": false,
                })
            }
            Variable::Choice { name, title, of } => choice(name, title, of),
            Variable::Tempo => data_source("tempo", "Traces", "tempo"),
        }
    }
}

fn titled(name: &str) -> String {
    let words = name.replace('_', " ");
    let mut letters = words.chars();
    let first: String = letters
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .collect();
    first + letters.as_str()
}

fn choice(name: &str, title: &str, of: &[(&str, &str)]) -> Value {
    let options: Vec<Value> = of
        .iter()
        .enumerate()
        .map(|(index, (text, value))| json!({"text": text, "value": value, "selected": index == 0}))
        .collect();
    let query: Vec<String> = of
        .iter()
        .map(|(text, value)| format!("{text} : {value}"))
        .collect();
    let first = of
        .first()
        .map(|(text, value)| json!({"text": text, "value": value}));
    json!({
        "type": "custom", "name": name, "label": title, "query": query.join(","),
        "options": options, "current": first, "multi": false, "includeAll": false,
    })
}

fn label_values(label: &str, of: &str) -> Value {
    json!({
        "qryType": 1,
        "query": format!("label_values({of}, {label})"),
        "refId": "PrometheusVariableQueryEditor-VariableQuery",
    })
}

fn data_source(name: &str, title: &str, kind: &str) -> Value {
    json!({
        "type": "datasource", "name": name, "label": title, "query": kind,
        "refresh": 1, "regex": "", "multi": false, "includeAll": false,
        "options": [],
    })
}
