//! A panel in Grafana's JSON.

use serde_json::{Map, Value, json};

use super::{Column, Panel, Query, by_name, ref_id};
use crate::{Shape, Unit, look};

impl Panel {
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
        if self.shape == Shape::Pie && self.unit == Unit::Share {
            // The value is the percentage.
            panel["options"]["legend"]["values"] = json!(["value"]);
        }
        if let Some(heading) = self.colour_by {
            panel["options"]["colorByField"] = json!(heading);
        }
        if let Some(heading) = self.sort_by {
            panel["options"]["sortBy"] = json!([{"displayName": heading, "desc": true}]);
        }
        let transformations = self.all_transformations();
        if !transformations.is_empty() {
            panel["transformations"] = json!(transformations);
        }
        if let Some(interval) = self.interval {
            panel["interval"] = json!(interval);
        }
        if let Some(time) = self.always_over {
            panel["timeFrom"] = json!(time);
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
            "noValue": self.sentence(),
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": self.all_mappings(),
            "color": {"mode": look::colour_mode(self.shape)},
        });
        // An axis needs as many decimals as tell its marks apart, which Grafana knows.
        if !self.shape.over_time() && self.shape != Shape::BarChart {
            defaults["decimals"] = json!(self.unit.decimals());
        }
        if let Some(from) = self.bounds.0 {
            defaults["min"] = json!(from);
        }
        if let Some(to) = self.bounds.1 {
            defaults["max"] = json!(to);
        }
        if let Some(custom) = look::custom(self.shape, self.bars_begin) {
            defaults["custom"] = custom;
        }
        defaults
    }

    /// What stands there without data.
    fn sentence(&self) -> String {
        let mut queries = self.queries.iter();
        let reads_recorded = queries.any(|query| query.expr.contains("age:"));
        let rules = if reads_recorded {
            ". Are the recording rules loaded?"
        } else {
            ""
        };
        format!("{}{rules}", self.no_value)
    }

    /// A cell of a matrix that has no value has neither text nor colour; a number that is not there is
    /// neither good nor bad.
    fn all_mappings(&self) -> Vec<Value> {
        let mut all = self.mappings.clone();
        let (text, color) = match self.shape {
            Shape::Matrix => (String::new(), "transparent"),
            Shape::Stat => (self.sentence(), "text"),
            _ => return all,
        };
        let nothing = json!({"text": text, "color": color, "index": all.len()});
        all.push(json!({"type": "special", "options": {"match": "null+nan", "result": nothing}}));
        all
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
        if self.is_grouped() {
            all.push(json!({"id": "groupBy", "options": {"fields": self.groups()}}));
        }
        if !self.columns.is_empty() {
            let (mut order, mut names) = (Map::new(), Map::new());
            for (index, column) in self.columns.iter().enumerate() {
                let field = self.field(column);
                order.insert(field.clone(), json!(index));
                names.insert(field, json!(column.heading));
            }
            let organize = json!({
                "excludeByName": self.hidden(),
                "indexByName": order, "renameByName": names, "includeByName": {},
            });
            all.push(json!({"id": "organize", "options": organize}));
        }
        if self.shape == Shape::Distribution {
            // Prometheus 3 writes the bound 3600 as 3600.0.
            let names = [(r"^(\d+)\.0$", "$1"), (r"^\+Inf$", "more")];
            for (regex, rename) in names {
                let options = json!({"regex": regex, "renamePattern": rename});
                all.push(json!({"id": "renameByRegex", "options": options}));
            }
        }
        all.extend(self.transformations.iter().cloned());
        all
    }

    /// Whether rows are grouped by their labels. Of several queries without an answer Grafana makes a
    /// table of headings, which has no labels: grouped, nothing is left of it, and the panel's sentence
    /// stands there.
    fn is_grouped(&self) -> bool {
        let mut columns = self.columns.iter();
        self.queries.len() > 1 && !self.columns.is_empty() && !columns.any(|it| it.sparkline)
    }

    /// What groups rows, and what is kept of each group: of one row, all.
    fn groups(&self) -> Map<String, Value> {
        let group = json!({"operation": "groupby", "aggregations": []});
        let keep = json!({"operation": "aggregate", "aggregations": ["lastNotNull"]});
        let columns = self.columns.iter().map(|column| match column.unit {
            None => (column.field.clone(), group.clone()),
            Some(_) => (column.field.clone(), keep.clone()),
        });
        let keys = self
            .keys
            .iter()
            .map(|key| ((*key).to_owned(), group.clone()));
        columns.chain(keys).collect()
    }

    /// Columns that are not shown.
    fn hidden(&self) -> Map<String, Value> {
        let names = ["Time"].into_iter().chain(self.keys.iter().copied());
        names.map(|name| (name.to_owned(), json!(true))).collect()
    }

    /// The name of a column's field once rows are one for the same labels. A query that is alone
    /// returns its values under a name without its letter.
    fn field(&self, column: &Column) -> String {
        if self.queries.len() == 1 && column.field == "Value #A" {
            "Value".to_owned()
        } else if self.is_grouped() && column.unit.is_some() {
            format!("{} (lastNotNull)", column.field)
        } else {
            column.field.clone()
        }
    }

    /// The fixed colours of series that are named by a label.
    fn fixed_colours(&self) -> impl Iterator<Item = Value> {
        let labels = self.queries.iter().filter_map(|query| {
            let label = query.legend.strip_prefix("{{")?.strip_suffix("}}")?;
            look::fixed_colours(label)
        });
        labels.flatten().map(|(value, colour)| {
            let fixed = json!({"mode": "fixed", "fixedColor": colour});
            by_name(value, &[("color", fixed)])
        })
    }

    fn all_overrides(&self) -> Vec<Value> {
        let mut all: Vec<Value> = self.fixed_colours().collect();
        all.extend(self.overrides.iter().cloned());
        for column in &self.columns {
            // The panel's own text is for a panel without rows.
            let mut properties = vec![("noValue", json!("–"))];
            if let Some(colours) = look::fixed_colours(&column.field) {
                properties.push(("mappings", coloured(colours)));
                if self.shape == Shape::Table {
                    properties.push(("custom.cellOptions", json!({"type": "color-text"})));
                }
            }
            // A label is text, though it may look like a number: a branch 1.10, a commit 322e2723.
            let unit = column.unit.map_or("string", Unit::id);
            properties.push(("unit", json!(unit)));
            if let (Some(unit), Shape::Table) = (column.unit, self.shape) {
                properties.push(("decimals", json!(unit.decimals())));
                properties.push(("custom.width", json!(column.width())));
            }
            if let Some(link) = &column.link {
                let link = self.with_fields(link);
                let link = json!([{"title": "Open in GitLab", "url": link, "targetBlank": true}]);
                properties.push(("links", link));
            }
            if column.sparkline {
                let sparkline = json!({"type": "sparkline", "hideValue": false});
                properties.push(("custom.cellOptions", sparkline));
            }
            all.push(by_name(&column.heading, &properties));
        }
        all
    }

    /// A link with the fields' names as they are in the end.
    fn with_fields(&self, link: &str) -> String {
        let columns = self.columns.iter().filter(|column| column.unit.is_some());
        columns.fold(link.to_owned(), |link, column| {
            let quoted = |name: &str| format!("[\"{name}\"]");
            link.replace(&quoted(&column.field), &quoted(&self.field(column)))
        })
    }
}

/// Values that keep their text and have a colour.
fn coloured(colours: look::Colours) -> Value {
    let colours = colours.iter().enumerate();
    let colours: Map<String, Value> = colours
        .map(|(index, (value, color))| {
            ((*value).to_owned(), json!({"color": color, "index": index}))
        })
        .collect();
    json!([{"type": "value", "options": colours}])
}
