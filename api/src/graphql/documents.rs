//! One GraphQL request from its text to its response: bounded, executed, settled.

use super::limits::{self, Shape, Weight};
use super::{Schema, error, schema, shown, text_of};
use crate::metrics;
use crate::problem::{Code, Problem};
use crate::reading::Asking;
use async_graphql::parser::parse_query;
use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, OperationType,
};
use async_graphql::{Name, Request, Response, Value, Variables};
use domain::access::Resource;
use event_log::Position;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What came in.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    pub(crate) query: String,
    pub(crate) operation_name: Option<String>,
    pub(crate) variables: Variables,
}

/// Executes documents against the schema. Clones share everything.
#[derive(Clone)]
pub(crate) struct Documents {
    schema: Schema,
    shape: Arc<Shape>,
    open_schema: bool,
}

/// Whether a response came from executing a document, or says why none was executed.
pub(crate) enum Executed {
    Yes(Response),
    No(Response),
}

impl Documents {
    /// `open_schema` lets everybody ask about the schema, as one does while developing.
    pub(crate) fn new(open_schema: bool) -> Self {
        let schema = schema();
        let shape = Arc::new(Shape::read(&text_of(&schema)));
        Self { schema, shape, open_schema }
    }

    /// The schema as text, for whoever may ask about it.
    pub(crate) async fn text(&self, asking: &Asking) -> Result<String, Problem> {
        self.may_introspect(asking).await?;
        Ok(text_of(&self.schema))
    }

    async fn may_introspect(&self, asking: &Asking) -> Result<(), Problem> {
        if self.open_schema {
            return Ok(());
        }
        asking.may_read(Resource::Settings).await
    }

    /// Answers a request. A mutation is refused where only reading is allowed.
    pub(crate) async fn answer(
        &self,
        incoming: Incoming,
        asking: Asking,
        may_write: bool,
    ) -> Executed {
        let prepared = self.prepare(incoming, &asking, may_write).await;
        let request = match prepared {
            Ok(request) => request,
            Err(problem) => {
                metrics::graphql_error(problem.code.as_str());
                return Executed::No(error::response_of(&problem));
            }
        };
        let asking = Arc::new(asking);
        let executing = self.execute(request, Arc::clone(&asking));
        let executed = tokio::time::timeout(PATIENCE, executing).await;
        executed.unwrap_or_else(|_| {
            let message = format!("no answer within {} s; ask for less", PATIENCE.as_secs());
            Executed::Yes(error::response_of(&Problem::new(Code::Timeout, message)))
        })
    }

    async fn prepare(
        &self,
        incoming: Incoming,
        asking: &Asking,
        may_write: bool,
    ) -> Result<Request, Problem> {
        limits::check_text(&incoming.query)?;
        let document = parse_query(&incoming.query).map_err(|error| {
            let message: String = error.to_string().chars().take(200).collect();
            Problem::new(Code::GraphqlParseFailed, message)
        })?;
        let operation = chosen(&document, incoming.operation_name.as_deref())?;
        if operation.ty == OperationType::Mutation && !may_write {
            let message = "a mutation comes as POST; GET is for queries";
            return Err(Problem::new(Code::BadUserInput, message));
        }
        let weight: Weight = limits::check(&self.shape, &document, operation, &incoming.variables)?;
        if weight.introspects {
            self.may_introspect(asking).await?;
        }
        let mut request = Request::new(incoming.query).variables(incoming.variables);
        request.operation_name = incoming.operation_name;
        request.set_parsed_query(document);
        Ok(request)
    }

    async fn execute(&self, request: Request, asking: Arc<Asking>) -> Executed {
        let request = request.data(Arc::clone(&asking));
        let mut response = self.schema.execute(request).await;
        error::add_codes(&mut response);
        for error in &response.errors {
            let code = error.extensions.as_ref().and_then(|it| it.get("code"));
            metrics::graphql_error(code_word(code));
        }
        // Nothing was executed of what the schema does not know.
        if response.data == Value::Null && response.errors.iter().all(|it| it.path.is_empty()) {
            return Executed::No(response);
        }
        match asking.settle().await {
            Ok(position) => {
                let used = asking.models_used().await;
                let models = used.into_iter().map(|(name, at)| {
                    (Name::new(name), Value::String(shown(&asking, at).to_string()))
                });
                let mut consistency = BTreeMap::new();
                if position > Position::START {
                    consistency.insert("position", shown(&asking, position).to_string().into());
                }
                consistency.insert("readModels", Value::Object(models.collect()));
                let consistency = consistency.into_iter();
                let consistency = consistency.map(|(name, value)| (Name::new(name), value));
                response
                    .extensions
                    .insert("consistency".to_owned(), Value::Object(consistency.collect()));
                Executed::Yes(response)
            }
            // What was read may not be shown; whoever wrote repeats the same command.
            Err(problem) => Executed::Yes(error::response_of(&problem)),
        }
    }
}

fn code_word(code: Option<&Value>) -> &'static str {
    let Some(Value::String(code)) = code else { return "INTERNAL" };
    Code::ALL.iter().map(|known| known.as_str()).find(|known| known == code).unwrap_or("INTERNAL")
}

/// The operation that is meant.
fn chosen<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a OperationDefinition, Problem> {
    let problem = |message: String| Problem::new(Code::GraphqlValidationFailed, message);
    match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Ok(&operation.node),
        (DocumentOperations::Multiple(named), Some(name)) => {
            let found = named.get(name).map(|operation| &operation.node);
            let name: String = name.chars().take(60).collect();
            found.ok_or_else(|| problem(format!("the document has no operation {name:?}")))
        }
        (DocumentOperations::Single(_), Some(name)) => {
            let name: String = name.chars().take(60).collect();
            Err(problem(format!("the document has no operation {name:?}")))
        }
        (DocumentOperations::Multiple(named), None) if named.len() == 1 => {
            named.values().next().map(|it| &it.node).ok_or_else(|| problem("no operation".into()))
        }
        (DocumentOperations::Multiple(_), None) => {
            Err(problem("the document has several operations; name one in operationName".into()))
        }
    }
}
