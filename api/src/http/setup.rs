//! The one-time set-up page: makes the first administrator and shows the first key once.
//!
//! One page without scripts and without anything from elsewhere. The token in its address is the
//! right to use it; it is never written to a log, and it works once.

use super::App;
use super::Peer;
use super::about::Correlation;
use super::graphql::{parameters, read_body};
use crate::graphql::new_key;
use crate::problem::Problem;
use crate::server::has_administrator;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use commands::{AccessCommand, Caller, Failure, new_command_id};

/// The most bytes of a filled-in form.
const FORM_MAX: usize = 8 * 1_024;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:4rem auto;\
padding:0 1rem;color:#1b1f24}h1{font-size:1.4rem}label{display:block;margin:1rem 0 .25rem}\
input{width:100%;padding:.5rem;font:inherit;border:1px solid #8c959f;border-radius:4px;\
box-sizing:border-box}button{margin-top:1.5rem;padding:.5rem 1.5rem;font:inherit}\
.wrong{color:#a40e26}code{display:block;padding:1rem;background:#f0f2f4;overflow-wrap:anywhere}";

/// The form.
pub(crate) async fn form(State(app): State<App>, Path(_token): Path<String>) -> Response {
    match has_administrator(&app.services.executor).await {
        Ok(false) => page(StatusCode::OK, "Set up Ops Center", &form_body("", "", None)),
        Ok(true) => done_before(),
        Err(error) => failed(&Problem::unavailable(&error)),
    }
}

fn done_before() -> Response {
    let body = "<p>This installation has an administrator already. The link worked once and is of \
                no use any more.</p>";
    page(StatusCode::GONE, "Already set up", body)
}

fn failed(problem: &Problem) -> Response {
    let body = format!("<p class=\"wrong\">{}</p>", escape(&problem.message));
    page(problem.code.status(), "Not possible just now", &body)
}

fn form_body(email: &str, name: &str, wrong: Option<&str>) -> String {
    let wrong = wrong.map_or_else(String::new, |wrong| {
        format!("<p class=\"wrong\" role=\"alert\">{}</p>", escape(wrong))
    });
    format!(
        "<p>Who administers this installation? You get an API key; it is shown once.</p>{wrong}\
         <form method=\"post\"><label for=\"email\">E-mail address</label>\
         <input id=\"email\" name=\"email\" type=\"email\" required maxlength=\"254\" \
         autocomplete=\"email\" value=\"{}\"><label for=\"name\">Name</label>\
         <input id=\"name\" name=\"name\" required maxlength=\"200\" autocomplete=\"name\" \
         value=\"{}\"><button>Set up</button></form>",
        escape(email),
        escape(name)
    )
}

/// Makes the first administrator.
pub(crate) async fn complete(
    State(app): State<App>,
    Path(token): Path<String>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let given = parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = given.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if !media.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        let body = "<p>Open the link in a browser and fill in its form.</p>";
        return page(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Not a form", body);
    }
    let bytes = match read_body(body, FORM_MAX).await {
        Ok(bytes) => bytes,
        Err((_, problem)) => return failed(&problem),
    };
    let fields = parameters(&String::from_utf8_lossy(&bytes));
    let field = |wanted: &str| {
        let found = fields.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let (email, name) = (field("email"), field("name"));
    let (key, printed) = match new_key() {
        Ok(made) => made,
        Err(problem) => return failed(&problem),
    };
    let origin = parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_string());
    let correlation = parts.extensions.get::<Correlation>().map(|correlation| correlation.0);
    let request = commands::Request {
        command_id: new_command_id(),
        caller: Caller::anonymous().with_request(origin, correlation),
        expected_version: None,
        command: AccessCommand::SetupComplete {
            token,
            email: email.clone(),
            name: name.clone(),
            key: Some(key),
        }
        .into(),
    };
    match app.services.executor.execute(request).await {
        Ok(_) => page(StatusCode::OK, "Set up", &key_body(&printed)),
        Err(Failure::Refused(refusal)) if refusal.code() == "SETUP_ALREADY_DONE" => done_before(),
        Err(Failure::Refused(refusal)) => {
            let body = form_body(&email, &name, Some(&refusal.to_string()));
            page(StatusCode::UNPROCESSABLE_ENTITY, "Set up Ops Center", &body)
        }
        Err(failure) => failed(&failure.into()),
    }
}

fn key_body(printed: &str) -> String {
    format!(
        "<p>You administer this installation now. This is your API key. It is shown this once and \
         kept nowhere: put it where you keep secrets.</p><code>{}</code>\
         <p>Send it as <strong>Authorization: Bearer …</strong> to /graphql.</p>",
        escape(printed)
    )
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head>\
         <body><h1>{title}</h1>{body}</body></html>"
    );
    let mut response = (status, Html(html)).into_response();
    // The style is allowed by its hash, and nothing else is.
    let hash = data_encoding::BASE64.encode(&<sha2::Sha256 as sha2::Digest>::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; \
         frame-ancestors 'none'; base-uri 'none'"
    );
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Text as it stands in a page.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_stays_text() {
        let body = form_body("\"><script>", "<b>", Some("'&"));
        assert!(!body.contains("<script>") && !body.contains("<b>"), "{body}");
    }
}
