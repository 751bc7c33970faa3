//! The GraphQL of subscriptions: one root field, of which there is one.

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{Field, OperationType, Selection};
use serde_json::{Map, Value, json};

use crate::access::{Right, Viewer};
use crate::world::{PipelineId, ProjectId, World};

/// The only field that fires here.
const FIELD: &str = "ciPipelineStatusesUpdated";
/// The first release that has it.
const SINCE: (u32, u32) = (18, 6);
const NO_RESOURCE: &str = "The resource that you are attempting to access does not exist or you don't have \
                           permission to perform this action";

/// A subscription that stands.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) project: ProjectId,
    fields: Vec<String>,
}

impl Subscription {
    /// Takes a subscription in.
    pub(super) fn new(
        world: &World,
        viewer: &Viewer,
        query: &str,
        variables: &Value,
    ) -> Result<Self, String> {
        let document = parse_query(query).map_err(|error| error.to_string())?;
        let Some((_, operation)) = document.operations.iter().next() else {
            return Err("No operation".to_owned());
        };
        let root = fields(&operation.node.selection_set.node.items);
        let [field] = root.as_slice() else {
            return Err("A subscription operation may only have one root field".to_owned());
        };
        if operation.node.ty != OperationType::Subscription {
            return Err("The operation is no subscription".to_owned());
        }
        let name = field.name.node.as_str();
        if name != FIELD || world.version_numbers() < SINCE {
            return Err(format!(
                "Field '{name}' doesn't exist on type 'Subscription'"
            ));
        }
        let chosen = fields(&field.selection_set.node.items);
        let chosen: Vec<String> = chosen.iter().map(|one| one.name.node.to_string()).collect();
        if let Some(unknown) = chosen
            .iter()
            .find(|one| !["id", "iid", "status"].contains(&one.as_str()))
        {
            return Err(format!(
                "Field '{unknown}' doesn't exist on type 'Pipeline'"
            ));
        }
        let project = argument(field, "projectId", variables)
            .and_then(|id| id.strip_prefix("gid://gitlab/Project/")?.parse().ok())
            .filter(|id| is_readable(world, viewer, *id));
        Ok(Self {
            project: project.ok_or(NO_RESOURCE)?,
            fields: chosen,
        })
    }

    /// What is sent when a pipeline moved: as it is now.
    pub(super) fn event(&self, world: &World, id: PipelineId) -> Value {
        let Some(pipeline) = world.pipeline(id) else {
            return json!({FIELD: null});
        };
        let shown = self.fields.iter().map(|field| {
            let value = match field.as_str() {
                "id" => json!(format!("gid://gitlab/Ci::Pipeline/{id}")),
                "iid" => json!(pipeline.iid.to_string()),
                _ => json!(pipeline.status.to_string().to_uppercase()),
            };
            (field.clone(), value)
        });
        json!({FIELD: shown.collect::<Map<String, Value>>()})
    }

    /// What is sent first.
    pub(super) fn beginning() -> Value {
        json!({FIELD: null})
    }
}

/// Whether the pipelines of a project may be read.
pub(super) fn is_readable(world: &World, viewer: &Viewer, project: ProjectId) -> bool {
    let project = world.project(project);
    project.is_some_and(|project| viewer.may(project, Right::Pipelines))
}

fn fields(items: &[async_graphql::Positioned<Selection>]) -> Vec<&Field> {
    let fields = items.iter().filter_map(|item| match &item.node {
        Selection::Field(field) => Some(&field.node),
        _ => None,
    });
    fields.collect()
}

/// An argument's text, given by a variable or as it is.
fn argument(field: &Field, name: &str, variables: &Value) -> Option<String> {
    let value = &field.get_argument(name)?.node;
    let value = value
        .clone()
        .into_const_with(|name| {
            let given = variables.get(name.as_str()).cloned().unwrap_or_default();
            async_graphql::Value::from_json(given)
        })
        .ok()?;
    match value {
        async_graphql::Value::String(text) => Some(text),
        _ => None,
    }
}
