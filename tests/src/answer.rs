//! What came back: status, headers, JSON.

use reqwest::header::HeaderMap;
use serde_json::Value;

/// What came back for one request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
    /// The body as JSON; null when it is none.
    pub json: Value,
}

impl Answer {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Self { status, headers, text, json }
    }

    /// What stands at a JSON pointer; null when nothing does.
    #[must_use]
    pub fn at(&self, pointer: &str) -> &Value {
        self.json.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// The text at a JSON pointer.
    ///
    /// # Panics
    /// When there is none; the whole answer is shown.
    #[must_use]
    pub fn text_at(&self, pointer: &str) -> String {
        let found = self.at(pointer).as_str();
        found.unwrap_or_else(|| panic!("no text at {pointer} in {}", self.text)).to_owned()
    }

    /// The code of the first entry of `errors`; empty when there is none.
    #[must_use]
    pub fn error_code(&self) -> &str {
        self.at("/errors/0/extensions/code").as_str().unwrap_or_default()
    }

    /// The code of the first entry of `userErrors` of a mutation; empty when there is none.
    #[must_use]
    pub fn user_error(&self, mutation: &str) -> &str {
        let pointer = format!("/data/{mutation}/userErrors/0/code");
        self.at(&pointer).as_str().unwrap_or_default()
    }

    /// The same answer, which has to be one without any errors.
    ///
    /// # Panics
    /// When it has errors; the whole answer is shown.
    #[must_use]
    pub fn accepted(self) -> Self {
        assert!(self.at("/errors").is_null(), "errors: {}", self.text);
        let data = self.at("/data").as_object();
        let data = data.unwrap_or_else(|| panic!("no data: {}", self.text));
        for (name, payload) in data {
            let refused = payload.get("userErrors").and_then(Value::as_array);
            let refused = refused.is_some_and(|errors| !errors.is_empty());
            assert!(!refused, "{name} was refused: {}", self.text);
        }
        self
    }

    /// The value of a header; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
