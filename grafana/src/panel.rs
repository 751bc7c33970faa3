use serde_json::{Map, Value, json};

use crate::{Unit, look};

/// What a panel draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Lines over time.
    Lines,
    /// Areas over time, one upon the other.
    Areas,
    /// Bars over time, one upon the other.
    Bars,
    /// One number, with its course behind it.
    Stat,
    /// One number on a dial.
    Gauge,
    /// Bars beside each other, one for each row of a table.
    BarChart,
    /// A bar for each bucket of a histogram.
    Distribution,
    Pie,
    Table,
    /// A table whose cells are coloured by their value.
    Matrix,
}

impl Shape {
    /// Grafana's panel type.
    pub fn panel_type(self) -> &'static str {
        match self {
            Shape::Lines | Shape::Areas | Shape::Bars => "timeseries",
            Shape::Stat => "stat",
            Shape::Gauge => "gauge",
            Shape::BarChart => "barchart",
            Shape::Distribution => "bargauge",
            Shape::Pie => "piechart",
            Shape::Table | Shape::Matrix => "table",
        }
    }

    /// Whether its queries ask for values at many times, or for one.
    fn over_time(self) -> bool {
        matches!(
            self,
            Shape::Lines | Shape::Areas | Shape::Bars | Shape::Stat
        )
    }
}

/// A query of a panel.
#[derive(Clone, Debug)]
pub struct Query {
    /// PromQL, with `..` for the dashboard's selector.
    pub expr: String,
    /// The name of what it returns: a legend such as `{{status}}`, or the heading of a column.
    pub legend: String,
    /// Whether it asks for values at many times.
    pub over_time: bool,
    exemplars: bool,
}

/// A column of a table, or what a bar chart shows.
#[derive(Debug)]
struct Column {
    /// Name of the field in Grafana: a label, or `Value #A`.
    field: String,
    heading: String,
    unit: Option<Unit>,
    link: Option<String>,
    sparkline: bool,
}

/// One panel: title, a sentence on what it shows and how to read it, queries, and how they look.
#[derive(Debug)]
pub struct Panel {
    title: &'static str,
    description: &'static str,
    shape: Shape,
    width: u32,
    height: u32,
    unit: Unit,
    bounds: (Option<f64>, Option<f64>),
    steps: Vec<(Option<f64>, &'static str)>,
    mappings: Vec<Value>,
    no_value: &'static str,
    interval: Option<&'static str>,
    points: Option<u32>,
    queries: Vec<Query>,
    columns: Vec<Column>,
    overrides: Vec<Value>,
    transformations: Vec<Value>,
    links: Vec<Value>,
    beside: bool,
    ask_over_time: bool,
}

impl Panel {
    /// A panel of half the width.
    pub fn new(shape: Shape, title: &'static str, description: &'static str) -> Self {
        Self {
            title,
            description,
            shape,
            width: 12,
            height: 8,
            unit: Unit::Count,
            bounds: (None, None),
            steps: vec![(None, "green")],
            mappings: Vec::new(),
            no_value: "Nothing in this time range",
            interval: None,
            points: None,
            queries: Vec::new(),
            columns: Vec::new(),
            overrides: Vec::new(),
            transformations: Vec::new(),
            links: Vec::new(),
            beside: false,
            ask_over_time: false,
        }
    }

    pub fn title(&self) -> &'static str {
        self.title
    }

    pub fn description(&self) -> &'static str {
        self.description
    }

    pub fn shape(&self) -> Shape {
        self.shape
    }

    pub fn queries(&self) -> &[Query] {
        &self.queries
    }

    /// Width and height in units of Grafana's grid, which has 24 columns.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    pub fn sized(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    pub fn unit(mut self, unit: Unit) -> Self {
        self.unit = unit;
        self
    }

    /// From where to where the axis, the dial or the colours go at least.
    pub fn between(mut self, from: f64, to: f64) -> Self {
        self.bounds = (Some(from), Some(to));
        self
    }

    pub fn from_zero(mut self) -> Self {
        self.bounds.0 = Some(0.0);
        self
    }

    /// Colours by value: the first holds from below, each other from its value on.
    pub fn steps(mut self, first: &'static str, others: &[(f64, &'static str)]) -> Self {
        self.steps = vec![(None, first)];
        let others = others.iter().map(|(from, colour)| (Some(*from), *colour));
        self.steps.extend(others);
        self
    }

    /// Words instead of numbers: from (included), to, the word, its colour.
    pub fn words(mut self, ranges: &[(f64, f64, &'static str, &'static str)]) -> Self {
        self.mappings = ranges
            .iter()
            .enumerate()
            .map(|(index, (from, to, text, color))| {
                let result = json!({"text": text, "color": color, "index": index});
                json!({"type": "range", "options": {"from": from, "to": to, "result": result}})
            })
            .collect();
        self
    }

    /// What stands where there is no data.
    pub fn when_empty(mut self, text: &'static str) -> Self {
        self.no_value = text;
        self
    }

    /// The shortest step between two points. `$__interval` and `$__rate_interval` follow.
    pub fn at_least_every(mut self, interval: &'static str) -> Self {
        self.interval = Some(interval);
        self
    }

    /// The most points that are asked for.
    pub fn points(mut self, points: u32) -> Self {
        self.points = Some(points);
        self
    }

    /// The queries that follow ask for values at many times, though the panel shows one for each.
    pub fn over_time(mut self) -> Self {
        self.ask_over_time = true;
        self
    }

    /// A query; see [`Query`] for what the legend is.
    pub fn query(mut self, expr: impl Into<String>, legend: impl Into<String>) -> Self {
        self.queries.push(Query {
            expr: expr.into(),
            legend: legend.into(),
            over_time: self.ask_over_time || self.shape.over_time(),
            exemplars: false,
        });
        self
    }

    /// A query whose points lead to traces.
    pub fn query_with_exemplars(mut self, expr: &str, legend: &str) -> Self {
        self = self.query(expr, legend);
        if let Some(query) = self.queries.last_mut() {
            query.exemplars = true;
        }
        self
    }

    /// A column of a table or the axis of a bar chart: a label.
    pub fn label(mut self, label: &str, heading: &str) -> Self {
        self.columns.push(Column::new(label, heading, None));
        self
    }

    /// A column of a table or the bars of a bar chart: the query's values.
    pub fn column(mut self, heading: &str, unit: Unit, expr: impl Into<String>) -> Self {
        let field = format!("Value #{}", ref_id(self.queries.len()));
        self.columns.push(Column::new(&field, heading, Some(unit)));
        self.query(expr, heading)
    }

    /// A column of a table that shows the query's course over time and its last value.
    pub fn sparkline(mut self, heading: &str, unit: Unit, expr: impl Into<String>) -> Self {
        let field = format!("Trend #{}", ref_id(self.queries.len()));
        let mut column = Column::new(&field, heading, Some(unit));
        column.sparkline = true;
        self.columns.push(column);
        self = self.query(expr, heading);
        if let Some(query) = self.queries.last_mut() {
            query.over_time = true;
        }
        self
    }

    /// The last column becomes a link. `${__data.fields.project}` and the like may stand in it.
    pub fn linked(mut self, url: &str) -> Self {
        if let Some(column) = self.columns.last_mut() {
            column.link = Some(url.to_owned());
        }
        self
    }

    /// A link in the panel's menu.
    pub fn link(mut self, title: &str, url: &str) -> Self {
        self.links.push(json!({
            "type": "link", "title": title, "url": url, "icon": "external link", "tags": [],
            "asDropdown": false, "includeVars": false, "keepTime": false, "targetBlank": true,
            "tooltip": "",
        }));
        self
    }

    /// A series with a look of its own.
    pub fn override_of(mut self, name: &str, properties: &[(&str, Value)]) -> Self {
        self.overrides.push(by_name(name, properties));
        self
    }

    /// The series' axis stands on the right.
    pub fn on_the_right(self, name: &str) -> Self {
        self.override_of(name, &[("custom.axisPlacement", json!("right"))])
    }

    /// The colours that GitLab gives to statuses.
    pub fn status_colours(mut self) -> Self {
        for (status, colour) in [
            ("success", "green"),
            ("failed", "red"),
            ("canceled", "#8e8e99"),
            ("skipped", "#c4c4cd"),
            ("running", "blue"),
            ("pending", "orange"),
            ("manual", "purple"),
        ] {
            let fixed = json!({"mode": "fixed", "fixedColor": colour});
            self.overrides.push(by_name(status, &[("color", fixed)]));
        }
        self
    }

    /// The buckets of a duration under names that one reads.
    pub fn duration_buckets(mut self, buckets: &[(&str, &str)]) -> Self {
        for (bound, name) in buckets {
            let named = [("displayName", json!(name))];
            self.overrides.push(by_name(bound, &named));
        }
        self
    }

    /// Bars of one group stand beside each other, not upon each other.
    pub fn beside(mut self) -> Self {
        self.beside = true;
        self
    }

    pub fn transformed(mut self, id: &str, options: Value) -> Self {
        self.transformations
            .push(json!({"id": id, "options": options}));
        self
    }

    /// The panel in Grafana's JSON; `write_out` puts the dashboard's selector into a query.
    pub fn json(&self, write_out: &dyn Fn(&str) -> String) -> Value {
        let mut panel = json!({
            "type": self.shape.panel_type(),
            "title": self.title,
            "description": self.description,
            "datasource": {"type": "prometheus", "uid": "${datasource}"},
            "targets": self.targets(write_out),
            "fieldConfig": {"defaults": self.defaults(), "overrides": self.all_overrides()},
            "options": look::options(self.shape, self.beside),
        });
        let transformations = self.all_transformations();
        if !transformations.is_empty() {
            panel["transformations"] = json!(transformations);
        }
        if let Some(interval) = self.interval {
            panel["interval"] = json!(interval);
        }
        if let Some(points) = self.points {
            panel["maxDataPoints"] = json!(points);
        }
        if !self.links.is_empty() {
            panel["links"] = json!(self.links);
        }
        panel
    }

    fn targets(&self, write_out: &dyn Fn(&str) -> String) -> Vec<Value> {
        let format = match self.shape {
            Shape::Table | Shape::Matrix | Shape::BarChart => "table",
            Shape::Distribution => "heatmap",
            _ => "time_series",
        };
        let one = |(index, query): (usize, &Query)| {
            let format = if query.over_time {
                "time_series"
            } else {
                format
            };
            json!({
                "refId": ref_id(index),
                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                "editorMode": "code",
                "expr": write_out(&query.expr),
                "legendFormat": query.legend,
                "format": format,
                "range": query.over_time,
                "instant": !query.over_time,
                "exemplar": query.exemplars,
            })
        };
        self.queries.iter().enumerate().map(one).collect()
    }

    fn defaults(&self) -> Value {
        let steps: Vec<Value> = self
            .steps
            .iter()
            .map(|(from, color)| json!({"value": from, "color": color}))
            .collect();
        let mut defaults = json!({
            "unit": self.unit.id(),
            "decimals": self.unit.decimals(),
            "noValue": self.no_value,
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": self.mappings,
            "color": {"mode": look::colour_mode(self.shape)},
        });
        if let Some(from) = self.bounds.0 {
            defaults["min"] = json!(from);
        }
        if let Some(to) = self.bounds.1 {
            defaults["max"] = json!(to);
        }
        if let Some(custom) = look::custom(self.shape) {
            defaults["custom"] = custom;
        }
        defaults
    }

    /// Of tables and bar charts: one row for the same labels, the columns in their order under their headings.
    fn all_transformations(&self) -> Vec<Value> {
        let mut all = Vec::new();
        if self.columns.iter().any(|column| column.sparkline) {
            let each = (0..self.queries.len())
                .map(|index| (ref_id(index), json!({"stat": "lastNotNull"})));
            let each: Map<String, Value> = each.collect();
            all.push(json!({"id": "timeSeriesTable", "options": each}));
        }
        if self.queries.len() > 1 && !self.columns.is_empty() {
            all.push(json!({"id": "merge", "options": {}}));
        }
        if !self.columns.is_empty() {
            let (mut order, mut names) = (Map::new(), Map::new());
            for (index, column) in self.columns.iter().enumerate() {
                let field = self.field(column);
                order.insert(field.clone(), json!(index));
                names.insert(field, json!(column.heading));
            }
            let organize = json!({
                "excludeByName": {"Time": true, "kind": true},
                "indexByName": order, "renameByName": names, "includeByName": {},
            });
            all.push(json!({"id": "organize", "options": organize}));
        }
        all.extend(self.transformations.iter().cloned());
        all
    }

    /// A query that is alone returns its values under a name without its letter.
    fn field(&self, column: &Column) -> String {
        if self.queries.len() == 1 && column.field == "Value #A" {
            "Value".to_owned()
        } else {
            column.field.clone()
        }
    }

    fn all_overrides(&self) -> Vec<Value> {
        let mut all = self.overrides.clone();
        for column in &self.columns {
            let mut properties = Vec::new();
            if let Some(unit) = column.unit {
                properties.push(("unit", json!(unit.id())));
                properties.push(("decimals", json!(unit.decimals())));
            }
            if let Some(link) = &column.link {
                let link = json!([{"title": "Open in GitLab", "url": link, "targetBlank": true}]);
                properties.push(("links", link));
            }
            if column.sparkline {
                let sparkline = json!({"type": "sparkline", "hideValue": false});
                properties.push(("custom.cellOptions", sparkline));
            }
            if !properties.is_empty() {
                all.push(by_name(&column.heading, &properties));
            }
        }
        all
    }
}

impl Column {
    fn new(field: &str, heading: &str, unit: Option<Unit>) -> Self {
        Self {
            field: field.to_owned(),
            heading: heading.to_owned(),
            unit,
            link: None,
            sparkline: false,
        }
    }
}

fn by_name(name: &str, properties: &[(&str, Value)]) -> Value {
    let properties: Vec<Value> = properties
        .iter()
        .map(|(id, value)| json!({"id": id, "value": value}))
        .collect();
    json!({"matcher": {"id": "byName", "options": name}, "properties": properties})
}

/// A, B, C, …
fn ref_id(index: usize) -> String {
    u8::try_from(index)
        .ok()
        .filter(|index| *index < 26)
        .map(|index| char::from(b'A' + index))
        .map_or_else(|| format!("Q{index}"), String::from)
}
