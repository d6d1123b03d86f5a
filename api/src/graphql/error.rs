//! From a [`Problem`] to an entry of `errors`.
//!
//! Resolvers return `Result<_, Problem>`; the conversion is explicit because `Problem` does not
//! implement `Display`. What the library itself finds wrong gets its code in [`add_codes`].

use crate::problem::{Code, Problem};
use async_graphql::{Error, ErrorExtensionValues, Response, ServerError};

/// The most characters of a message that repeats what was sent.
const MESSAGE_MAX: usize = 300;

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        let mut extensions = ErrorExtensionValues::default();
        fill(&mut extensions, &problem);
        let mut error = Self::new(problem.message);
        error.extensions = Some(extensions);
        error
    }
}

fn fill(extensions: &mut ErrorExtensionValues, problem: &Problem) {
    extensions.set("code", problem.code.as_str());
    if let Some(field) = &problem.field {
        extensions.set("field", field.as_str());
    }
    if let Some(error_id) = problem.error_id {
        extensions.set("errorId", error_id.to_string());
    }
}

/// A response that is a problem and nothing else.
pub(crate) fn response_of(problem: &Problem) -> Response {
    let mut error = ServerError::new(problem.message.clone(), None);
    let mut extensions = ErrorExtensionValues::default();
    fill(&mut extensions, problem);
    error.extensions = Some(extensions);
    Response::from_errors(vec![error])
}

/// Gives a code to every error of the library's own, and bounds its message.
pub(crate) fn add_codes(response: &mut Response) {
    for error in &mut response.errors {
        let said = plain(&error.message);
        let is_value = said != error.message;
        error.message = said;
        if error.message.chars().count() > MESSAGE_MAX {
            error.message = error.message.chars().take(MESSAGE_MAX).chain(['…']).collect();
        }
        let has_code = error.extensions.as_ref().is_some_and(|it| it.get("code").is_some());
        if has_code {
            continue;
        }
        let code = if is_value { Code::BadUserInput } else { code_of(error) };
        error.extensions.get_or_insert_with(Default::default).set("code", code.as_str());
    }
}

/// What is wrong with a value, without the names that types have inside of the library.
fn plain(message: &str) -> String {
    let Some(rest) = message.strip_prefix("Failed to parse \"") else { return message.to_owned() };
    let Some((_, said)) = rest.split_once("\": ") else { return message.to_owned() };
    said.split(" (occurred while parsing").next().unwrap_or(said).to_owned()
}

/// The library checks values of arguments while it validates and once more while it executes; only
/// what has no place in the answer and is not about a value is about the document.
fn code_of(error: &ServerError) -> Code {
    let is_value = error.message.starts_with("Invalid value for argument");
    if is_value || !error.path.is_empty() {
        Code::BadUserInput
    } else {
        Code::GraphqlValidationFailed
    }
}
