//! What a document may cost, weighed before anything of it runs.
//!
//! Five bounds: tokens, depth, aliases, mutations, cost. Every field costs 1 and every list
//! multiplies what is selected in it, by the page that is asked for where it has pages. Fragments
//! are weighed once and added where they are spread, so that weighing takes a time that grows with
//! the text and not with what it unfolds to.

mod shape;
mod tokens;

pub(crate) use shape::Shape;

use crate::problem::{Code, Problem};
use async_graphql::parser::types::{
    ExecutableDocument, Field, OperationDefinition, OperationType, Selection, SelectionSet,
};
use async_graphql::{Name, Value, Variables};
use std::collections::HashMap;

const TOKENS_MAX: usize = 2_000;
const DEPTH_MAX: u64 = 12;
const ALIASES_MAX: u64 = 50;
const MUTATIONS_MAX: u64 = 10;
const COST_MAX: u64 = 5_000;
/// How many fields a document may unfold to, whatever they cost.
const FIELDS_MAX: u64 = 5_000;

/// Refuses a text with too many tokens, before it is parsed.
pub(crate) fn check_text(text: &str) -> Result<(), Problem> {
    let found = tokens::count(text, TOKENS_MAX);
    if found > TOKENS_MAX {
        return Err(too_much(&format!("the document has more than {TOKENS_MAX} tokens")));
    }
    Ok(())
}

fn too_much(what: &str) -> Problem {
    Problem::new(Code::CostLimitExceeded, format!("{what}; ask for less at once"))
}

/// What an operation turned out to ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    fields: u64,
    depth: u64,
    aliases: u64,
    cost: u64,
    /// Whether it asks about the schema.
    pub(crate) introspects: bool,
}

impl Weight {
    /// Both, one beside the other.
    fn beside(self, other: Self) -> Self {
        Self {
            fields: self.fields.saturating_add(other.fields),
            depth: self.depth.max(other.depth),
            aliases: self.aliases.saturating_add(other.aliases),
            cost: self.cost.saturating_add(other.cost),
            introspects: self.introspects || other.introspects,
        }
    }
}

/// Weighs an operation; refuses one that asks for too much.
pub(crate) fn check(
    shape: &Shape,
    document: &ExecutableDocument,
    operation: &OperationDefinition,
    variables: &Variables,
) -> Result<Weight, Problem> {
    let mut scale = Scale { shape, document, operation, variables, fragments: HashMap::new() };
    let root = shape.root(operation.ty);
    let weight = scale.selections(&operation.selection_set.node, root, true);
    let bounds = [
        (weight.fields, FIELDS_MAX, "fields"),
        (weight.depth, DEPTH_MAX, "levels"),
        (weight.aliases, ALIASES_MAX, "aliases"),
        (weight.cost, COST_MAX, "points of cost"),
    ];
    for (found, most, what) in bounds {
        if found > most {
            return Err(too_much(&format!("the document has {found} {what}, and {most} may be")));
        }
    }
    if operation.ty == OperationType::Mutation {
        let found = scale.root_fields(&operation.selection_set.node, 0);
        if found > MUTATIONS_MAX {
            let what = format!("the document has {found} mutations, and {MUTATIONS_MAX} may be");
            return Err(too_much(&what));
        }
    }
    Ok(weight)
}

struct Scale<'a> {
    shape: &'a Shape,
    document: &'a ExecutableDocument,
    operation: &'a OperationDefinition,
    variables: &'a Variables,
    /// What each fragment weighs; `None` while it is being weighed, which only a cycle meets.
    fragments: HashMap<&'a str, Option<Weight>>,
}

impl<'a> Scale<'a> {
    /// `pages` says whether lists count here: within a page its rows are counted already.
    fn selections(&mut self, set: &'a SelectionSet, of: Option<&'a str>, pages: bool) -> Weight {
        let mut weight = Weight::default();
        for selection in &set.items {
            let part = match &selection.node {
                Selection::Field(field) => self.field(&field.node, of, pages),
                Selection::InlineFragment(inline) => {
                    let on = inline.node.type_condition.as_ref();
                    let of = on.map_or(of, |on| Some(on.node.on.node.as_str()));
                    self.selections(&inline.node.selection_set.node, of, pages)
                }
                Selection::FragmentSpread(spread) => {
                    self.fragment(spread.node.fragment_name.node.as_str())
                }
            };
            weight = weight.beside(part);
        }
        weight
    }

    fn fragment(&mut self, name: &'a str) -> Weight {
        if let Some(known) = self.fragments.get(name) {
            // A cycle is refused by the validation that follows; an unknown fragment, too.
            return known.unwrap_or_default();
        }
        let Some(fragment) = self.document.fragments.get(name) else { return Weight::default() };
        self.fragments.insert(name, None);
        let on = fragment.node.type_condition.node.on.node.as_str();
        let pages = !self.shape.is_page(on);
        let weight = self.selections(&fragment.node.selection_set.node, Some(on), pages);
        self.fragments.insert(name, Some(weight));
        weight
    }

    fn field(&mut self, field: &'a Field, of: Option<&'a str>, pages: bool) -> Weight {
        let name = field.name.node.as_str();
        let known = of.and_then(|of| self.shape.field(of, name));
        let child = known.map(|known| known.of.as_str());
        let is_page = child.is_some_and(|child| self.shape.is_page(child));
        let inner = self.selections(&field.selection_set.node, child, !is_page);
        let times = match known {
            Some(known) if is_page => self.rows(field, known.rows_default()),
            Some(known) if known.is_list && pages => known.rows_default(),
            Some(_) | None => 1,
        };
        let about_schema = matches!(name, "__schema" | "__type");
        Weight {
            fields: inner.fields.saturating_add(1),
            // The schema's own depth is bounded by what is in it.
            depth: if about_schema { 1 } else { inner.depth.saturating_add(1) },
            aliases: inner.aliases.saturating_add(u64::from(field.alias.is_some())),
            cost: if about_schema { 1 } else { inner.cost.saturating_mul(times).saturating_add(1) },
            introspects: inner.introspects || about_schema,
        }
    }

    /// How many rows of a page are asked for, from whichever end.
    fn rows(&self, field: &Field, default: u64) -> u64 {
        let asked = ["first", "last"].into_iter().filter_map(|name| self.number(field, name));
        asked.max().unwrap_or(default).max(1)
    }

    /// A number that is given as an argument, or as the variable that stands in its place.
    fn number(&self, field: &Field, argument: &str) -> Option<u64> {
        let given = field.arguments.iter().find(|(name, _)| name.node == argument);
        let value = given.map(|(_, value)| value.node.clone())?;
        match value.into_const_with(|name| self.variable(&name)) {
            Ok(Value::Number(number)) => number.as_u64(),
            Ok(_) | Err(()) => None,
        }
    }

    /// The value of a variable: what was sent, else what the operation says it is by default.
    fn variable(&self, name: &Name) -> Result<Value, ()> {
        let mut declared = self.operation.variable_definitions.iter();
        let default = || {
            let declared = declared.find(|it| it.node.name.node == *name);
            declared.and_then(|it| it.node.default_value.as_ref()).map(|value| value.node.clone())
        };
        self.variables.get(name).cloned().or_else(default).ok_or(())
    }

    /// Fields at the top, fragments unfolded; a bound on the unfolding was checked before.
    fn root_fields(&self, set: &SelectionSet, level: u64) -> u64 {
        if level > DEPTH_MAX {
            return 0;
        }
        let of = |selection: &Selection| match selection {
            Selection::Field(_) => 1,
            Selection::InlineFragment(inline) => {
                self.root_fields(&inline.node.selection_set.node, level + 1)
            }
            Selection::FragmentSpread(spread) => {
                let fragment = self.document.fragments.get(&spread.node.fragment_name.node);
                fragment.map_or(0, |it| self.root_fields(&it.node.selection_set.node, level + 1))
            }
        };
        set.items.iter().map(|selection| of(&selection.node)).sum()
    }
}
