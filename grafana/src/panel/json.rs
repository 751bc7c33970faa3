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
            "mappings": self.all_mappings(),
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

    /// Of matrices: a cell without a value has neither text nor colour.
    fn all_mappings(&self) -> Vec<Value> {
        let mut all = self.mappings.clone();
        if self.shape == Shape::Matrix {
            let nothing = json!({"text": "", "color": "transparent", "index": all.len()});
            all.push(json!({"type": "special", "options": {"match": "null", "result": nothing}}));
        }
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
                // The panel's own text is for a panel without rows.
                properties.push(("noValue", json!("–")));
                if self.shape == Shape::Table {
                    properties.push(("custom.width", json!(column.width())));
                }
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
