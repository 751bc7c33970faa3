mod json;

use serde_json::{Value, json};

use crate::Unit;

/// What a panel draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Lines over time.
    Lines,
    /// Areas over time, one upon the other.
    Areas,
    /// Bars over time, one upon the other.
    Bars,
    /// One number.
    Stat,
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
            Shape::BarChart => "barchart",
            Shape::Distribution => "bargauge",
            Shape::Pie => "piechart",
            Shape::Table | Shape::Matrix => "table",
        }
    }

    /// Whether it draws a course over time, so that its queries ask for values at many times.
    pub fn over_time(self) -> bool {
        matches!(self, Shape::Lines | Shape::Areas | Shape::Bars)
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
    always_over: Option<&'static str>,
    bars_begin: bool,
    queries: Vec<Query>,
    columns: Vec<Column>,
    overrides: Vec<Value>,
    transformations: Vec<Value>,
    links: Vec<Value>,
    keys: Vec<&'static str>,
    beside: bool,
    colour_by: Option<&'static str>,
    sort_by: Option<&'static str>,
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
            always_over: None,
            bars_begin: false,
            queries: Vec::new(),
            columns: Vec::new(),
            overrides: Vec::new(),
            transformations: Vec::new(),
            links: Vec::new(),
            keys: Vec::new(),
            beside: false,
            colour_by: None,
            sort_by: None,
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

    /// The headings of a table's columns, or of a bar chart's axis and bars, in their order.
    pub fn headings(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.heading.as_str())
    }

    /// Pixels that a table's columns need.
    pub fn columns_width(&self) -> usize {
        self.columns.iter().map(Column::width).sum()
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

    /// A bar for each period, drawn from the period's begin on, over a time of the panel's own: a
    /// dashboard of some hours would show no whole day. Queries look ahead: `[1d] offset -1d`.
    pub fn for_each(mut self, period: &'static str, always_over: &'static str) -> Self {
        self.interval = Some(period);
        self.always_over = Some(always_over);
        self.bars_begin = true;
        self
    }

    /// Bars stand where their intervals begin. Queries look ahead: `[$__interval] offset -$__interval`.
    pub fn bars_from_begin(mut self, at_least_every: &'static str) -> Self {
        self.interval = Some(at_least_every);
        self.bars_begin = true;
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

    /// The bars of a bar chart have the fixed colours of this column's values, which stand under them.
    pub fn coloured_by(mut self, heading: &'static str) -> Self {
        self.colour_by = Some(heading);
        self
    }

    /// Labels that tell rows of a table apart and are in no column.
    pub fn told_apart_by(mut self, labels: &[&'static str]) -> Self {
        self.keys.extend(labels);
        self
    }

    /// A column of a matrix that names its rows: its cells have no colour, and so many pixels.
    pub fn row_names(self, heading: &str, width: u32) -> Self {
        self.override_of(
            heading,
            &[
                ("custom.cellOptions", json!({"type": "auto"})),
                ("custom.align", json!("left")),
                ("custom.width", json!(width)),
                // A job `10` takes no 10 seconds.
                ("unit", json!("string")),
            ],
        )
    }

    /// The buckets of a duration under names that one reads.
    pub fn duration_buckets(mut self, buckets: &[(&str, &str)]) -> Self {
        for (bound, name) in buckets {
            let named = [("displayName", json!(name))];
            self.overrides.push(by_name(bound, &named));
        }
        self
    }

    /// A table's rows in the order of this column, the greatest first, until somebody clicks on a
    /// heading.
    pub fn sorted_by(mut self, heading: &'static str) -> Self {
        self.sort_by = Some(heading);
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

    /// Pixels that the heading takes with its icons, or what is under it; what is left of the panel's
    /// width is for the names.
    fn width(&self) -> usize {
        let least = match (self.sparkline, self.unit) {
            (true, _) => 160,
            (false, Some(Unit::Ago)) => 130,
            (false, Some(_)) => 80,
            (false, None) => NAME,
        };
        least.max(8 * self.heading.len() + 32)
    }
}

/// Pixels that a column of names needs.
const NAME: usize = 100;

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
