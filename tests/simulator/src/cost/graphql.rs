//! What a GraphQL document costs: its plan, walked beside the answer that it got.
//!
//! The charge follows from the document as sent (aliases, fragments, arguments, `@include`, `@skip`) and
//! from the objects that came back. What cannot be seen in an answer, the rows that a list reads to find
//! its page, is noted by the resolvers in [`Lists`].

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use super::Charge;
use super::prices;
use crate::graphql::plan::Plan;
use crate::world::{ProjectId, World};

/// What a list had to read for its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListRead {
    /// The project that has the list.
    pub project: ProjectId,
    /// Rows.
    pub rows: u64,
}

/// The lists of one operation, by their place in the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lists(Arc<Mutex<HashMap<String, ListRead>>>);

impl Lists {
    pub fn note(&self, path: String, read: ListRead) {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.insert(path, read);
    }

    fn at(&self, path: &str) -> Option<ListRead> {
        let lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.get(path).copied()
    }
}

/// Adds what an answer costs to a charge.
pub(crate) fn charge(
    world: &World,
    plan: &Plan,
    lists: &Lists,
    data: &mut Value,
    charge: &mut Charge,
) {
    walk(world, plan, lists, data, charge, None);
}

/// Cuts an answer as GitLab does when its time is over: fields that are not resolved by then are null.
/// `budget_ms` is the work that was done until then, that of the request's floor included. Gives the
/// errors.
pub(crate) fn cut(
    world: &World,
    plan: &Plan,
    lists: &Lists,
    data: &mut Value,
    charge: &mut Charge,
    budget_ms: f64,
) -> Vec<Value> {
    walk(world, plan, lists, data, charge, Some(budget_ms))
}

fn walk(
    world: &World,
    plan: &Plan,
    lists: &Lists,
    data: &mut Value,
    charge: &mut Charge,
    budget_ms: Option<f64>,
) -> Vec<Value> {
    let mut walk = Walk {
        world,
        lists,
        charge,
        budget_ms,
        seen: HashSet::new(),
        scope: 0,
        scopes: 0,
        project: None,
        path: Vec::new(),
        errors: Vec::new(),
    };
    if let Value::Object(fields) = data {
        walk.fields(plan, fields);
    }
    walk.errors
}

struct Walk<'a> {
    world: &'a World,
    lists: &'a Lists,
    charge: &'a mut Charge,
    budget_ms: Option<f64>,
    /// Prices (by their address) that were paid for the first time, by scope: a project, or the request.
    seen: HashSet<(usize, *const prices::Item)>,
    scope: usize,
    scopes: usize,
    project: Option<ProjectId>,
    path: Vec<Value>,
    errors: Vec<Value>,
}

impl Walk<'_> {
    fn fields(&mut self, plan: &Plan, fields: &mut Map<String, Value>) {
        for below in &plan.below {
            if let Some(value) = fields.get_mut(&below.key) {
                self.path.push(below.key.as_str().into());
                self.field(below, value);
                self.path.pop();
            }
        }
    }

    fn is_over(&self) -> bool {
        let total = &self.charge.total;
        self.budget_ms
            .is_some_and(|budget| total.cpu_ms + total.database_ms > budget)
    }

    fn field(&mut self, plan: &Plan, value: &mut Value) {
        if let Some(price) = plan.price {
            if self.is_over() {
                *value = Value::Null;
                let message = format!("Timeout on {}.{}", plan.parent, plan.name);
                self.errors
                    .push(json!({"message": message, "path": self.path}));
                return;
            }
            self.charge.pay(self.project, price.each);
            if self.seen.insert((self.scope, std::ptr::from_ref(price))) {
                self.charge.pay(self.project, price.first);
            }
            if is_filled(value) {
                self.charge.pay(self.project, price.filled);
            }
        }
        if plan.is_count {
            let rows = self.counted(plan, value);
            self.charge.read_list(self.project, rows);
        }
        if plan.is_connection {
            self.list(plan, value);
        } else if plan.object.is_some() && value.is_object() && !plan.in_list {
            self.charge.read(self.project, 1);
        }
        match value {
            Value::Object(fields) => self.object(plan, fields),
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    let Value::Object(fields) = item else {
                        continue;
                    };
                    self.path.push(index.into());
                    self.object(plan, fields);
                    self.path.pop();
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, plan: &Plan, fields: &mut Map<String, Value>) {
        let outside = (self.project, self.scope);
        if plan.is_project {
            self.scopes += 1;
            self.scope = self.scopes;
            self.project = self.named(plan, fields);
            self.charge.pay(self.project, plan.row);
        }
        if let Some(object) = plan.object {
            let cpu_ms = object.base.cpu_ms + object.scalar.cpu_ms * plan.scalars as f64;
            let price = prices::Price {
                queries: 0.0,
                cpu_ms,
            };
            self.charge.pay(self.project, price);
        }
        self.fields(plan, fields);
        (self.project, self.scope) = outside;
    }

    /// The project that an object is, as far as the answer or the document says.
    fn named(&self, plan: &Plan, fields: &Map<String, Value>) -> Option<ProjectId> {
        let text = |key: &Option<String>| fields.get(key.as_deref()?)?.as_str();
        let by_id = || text(&plan.id_key)?.rsplit('/').next()?.parse().ok();
        let by_path = || {
            let path = text(&plan.path_key).or(plan.full_path.as_deref())?;
            self.world.project_by_path(path).map(|project| project.id)
        };
        by_id().or_else(by_path)
    }

    fn list(&mut self, plan: &Plan, value: &Value) {
        let rows = ["nodes", "edges"]
            .iter()
            .find_map(|key| value[key].as_array());
        let returned = rows.map_or(0, Vec::len);
        if let Some(price) = plan.price.filter(|_| plan.node != "Project") {
            self.charge.pay(self.project, price.row.times(returned));
        }
        let path: Vec<String> = self.path.iter().map(segment).collect();
        let noted = self.lists.at(&path.join("."));
        let project = noted.map(|read| read.project).or(self.project);
        let read = noted.map_or(returned as u64, |read| read.rows);
        self.charge.read_list(project, read);
    }

    /// Rows that counting a connection reads: all that its filter leaves, and the past behind them.
    fn counted(&self, plan: &Plan, value: &Value) -> u64 {
        let shown = value.as_u64().unwrap_or_default();
        let ever =
            self.project
                .filter(|_| !plan.is_filtered)
                .map(|project| match plan.parent.as_str() {
                    "MergeRequestConnection" => super::merge_requests_ever(self.world, project),
                    "PipelineConnection" => self.world.pipelines_ever(project),
                    _ => 0,
                });
        shown.max(ever.unwrap_or_default())
    }
}

/// Whether a field answers with something.
fn is_filled(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Object(fields) => !["nodes", "edges"].iter().any(|key| {
            let rows = fields.get(*key).and_then(Value::as_array);
            rows.is_some_and(Vec::is_empty)
        }),
        _ => true,
    }
}

fn segment(step: &Value) -> String {
    match step {
        Value::String(key) => key.clone(),
        other => other.to_string(),
    }
}
