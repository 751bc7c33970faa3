//! The types of a schema, as far as a query is looked at before it runs.

use std::collections::HashMap;

use async_graphql::parser::types::{BaseType, Type, TypeKind, TypeSystemDefinition};

#[derive(Clone, Debug)]
pub(crate) struct FieldShape {
    pub type_name: String,
    pub arguments: Vec<String>,
}

/// The types of a schema: what each field answers with and takes.
#[derive(Clone, Debug, Default)]
pub struct Types {
    pub(crate) fields: HashMap<String, HashMap<String, FieldShape>>,
    enums: HashMap<String, Vec<String>>,
}

/// Fields that GitLab has and that are only looked at here: a query that asks for them is refused for its depth
/// or its price, as GitLab refuses it, and not for their names.
const LOOKED_AT: &str = "
type Group { parent: Group projects(first: Int): ProjectConnection }
type MergeRequest { pipelines(first: Int): PipelineConnection assignees(first: Int): UserCoreConnection
  milestone: Milestone }
type MergeRequestAuthor { authoredMergeRequests(first: Int): MergeRequestConnection }
type Milestone { group: Group }
type UserCore { assignedMergeRequests(first: Int): MergeRequestConnection }
";

impl Types {
    /// Reads a schema's SDL, and adds what is only looked at.
    ///
    /// # Errors
    /// If it is none.
    pub fn looked_at(sdl: &str) -> Result<Self, async_graphql::parser::Error> {
        let mut types = Self::parse(sdl)?;
        for (name, fields) in Self::parse(LOOKED_AT)?.fields {
            let known = types.fields.entry(name).or_default();
            for (field, shape) in fields {
                known.entry(field).or_insert(shape);
            }
        }
        Ok(types)
    }

    /// Reads a schema's SDL.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(sdl: &str) -> Result<Self, async_graphql::parser::Error> {
        let mut types = Self::default();
        for definition in async_graphql::parser::parse_schema(sdl)?.definitions {
            let TypeSystemDefinition::Type(definition) = definition else {
                continue;
            };
            let name = definition.node.name.node.to_string();
            let fields = match definition.node.kind {
                TypeKind::Object(object) => object.fields,
                TypeKind::Interface(interface) => interface.fields,
                TypeKind::Enum(found) => {
                    let values = found.values.into_iter();
                    let values = values.map(|value| value.node.value.node.to_string());
                    types.enums.insert(name, values.collect());
                    continue;
                }
                _ => continue,
            };
            let fields = fields.into_iter().map(|field| {
                let shape = FieldShape {
                    type_name: base_name(&field.node.ty.node),
                    arguments: field
                        .node
                        .arguments
                        .iter()
                        .map(|argument| argument.node.name.node.to_string())
                        .collect(),
                };
                (field.node.name.node.to_string(), shape)
            });
            types.fields.insert(name, fields.collect());
        }
        Ok(types)
    }

    pub(crate) fn is_composite(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// The values of an enum; `None` for what is none.
    pub(super) fn values_of(&self, name: &str) -> Option<&[String]> {
        self.enums.get(name).map(Vec::as_slice)
    }
}

fn base_name(ty: &Type) -> String {
    match &ty.base {
        BaseType::Named(name) => name.to_string(),
        BaseType::List(inner) => base_name(inner),
    }
}
