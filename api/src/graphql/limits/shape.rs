//! What the schema looks like, as far as weighing a document needs to know: read from its own text,
//! so that nothing has to be said twice.

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{BaseType, OperationType, Type, TypeKind, TypeSystemDefinition};
use std::collections::HashMap;

/// Rows that a list without pages is taken for.
const LIST_ROWS: u64 = 10;

/// Types with their fields.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    types: HashMap<String, HashMap<String, FieldShape>>,
}

/// One field.
#[derive(Debug)]
pub(crate) struct FieldShape {
    /// The name of its type.
    pub(crate) of: String,
    /// Whether it is a list.
    pub(crate) is_list: bool,
}

impl FieldShape {
    /// How many rows it is taken for when nobody says.
    pub(crate) fn rows_default(&self) -> u64 {
        if self.is_list {
            return LIST_ROWS;
        }
        u64::try_from(crate::graphql::page::ROWS_DEFAULT).unwrap_or(u64::MAX)
    }
}

impl Shape {
    /// Reads the schema's text.
    pub(crate) fn read(sdl: &str) -> Self {
        let mut shape = Self::default();
        let Ok(document) = parse_schema(sdl) else {
            tracing::error!("the schema's own text cannot be read; every list counts once");
            return shape;
        };
        for definition in document.definitions {
            let TypeSystemDefinition::Type(definition) = definition else { continue };
            let fields = match definition.node.kind {
                TypeKind::Object(object) => object.fields,
                TypeKind::Interface(interface) => interface.fields,
                TypeKind::Scalar
                | TypeKind::Union(_)
                | TypeKind::Enum(_)
                | TypeKind::InputObject(_) => continue,
            };
            let fields = fields.into_iter().map(|field| {
                let (of, is_list) = named(&field.node.ty.node);
                (field.node.name.node.to_string(), FieldShape { of, is_list })
            });
            shape.types.insert(definition.node.name.node.to_string(), fields.collect());
        }
        shape
    }

    /// The type that an operation begins with.
    pub(crate) fn root(&self, operation: OperationType) -> Option<&str> {
        let name = match operation {
            OperationType::Query => "Query",
            OperationType::Mutation => "Mutation",
            OperationType::Subscription => "Subscription",
        };
        self.types.get_key_value(name).map(|(name, _)| name.as_str())
    }

    /// A field of a type.
    pub(crate) fn field(&self, of: &str, name: &str) -> Option<&FieldShape> {
        self.types.get(of)?.get(name)
    }

    /// Whether a type is one page of a list: the field that leads to it counts its rows.
    pub(crate) fn is_page(&self, name: &str) -> bool {
        name.ends_with("Connection")
    }
}

fn named(ty: &Type) -> (String, bool) {
    match &ty.base {
        BaseType::Named(name) => (name.to_string(), false),
        BaseType::List(inner) => (named(inner).0, true),
    }
}
