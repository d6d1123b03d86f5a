//! A caller of a running server: GraphQL and the usage batches, over HTTP.
//!
//! An answer that is not known, because the connection broke or the server could not reach its
//! database, is [`Lost`]: the same command is sent again. Every other answer is one.

use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;

/// Nobody knows whether it took effect; repeat it.
#[derive(Debug)]
pub(crate) struct Lost(pub(crate) String);

/// Somebody with a key in front of one server.
#[derive(Clone)]
pub(crate) struct Door {
    http: reqwest::Client,
    address: SocketAddr,
    key: String,
    /// What an answer has to include.
    at_least: Option<String>,
}

impl Door {
    pub(crate) fn new(address: SocketAddr, key: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30));
        let http = http.build().expect("a client");
        Self { http, address, key: key.to_owned(), at_least: None }
    }

    /// The same caller in front of another server.
    pub(crate) fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// The same server with another key.
    pub(crate) fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// Wants to see at least what a receipt said.
    pub(crate) fn at_least(&self, position: &str) -> Self {
        Self { at_least: Some(position.to_owned()), ..self.clone() }
    }

    /// Sends JSON and gives back the status and the JSON of the answer.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<(u16, Value), Lost> {
        let lost = |error: reqwest::Error| Lost(format!("{error:?}"));
        let url = format!("http://{}{path}", self.address);
        let mut request = self.http.post(url).bearer_auth(&self.key).json(body);
        if let Some(position) = &self.at_least {
            request = request.header("ops-consistency", format!("at-least={position}"));
        }
        let answer = request.send().await.map_err(lost)?;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await.map_err(lost)?;
        let problem = [&body["errors"][0], &body["error"]].into_iter().find(|it| it.is_object());
        let code = problem.and_then(|it| it["extensions"]["code"].as_str().or(it["code"].as_str()));
        match code {
            Some("UNAVAILABLE" | "TIMEOUT") => Err(Lost(body.to_string())),
            Some(_) | None => Ok((status, body)),
        }
    }

    /// Asks a GraphQL document; the whole answer, with whatever is wrong.
    pub(crate) async fn answer(&self, document: &str, variables: Value) -> Result<Value, Lost> {
        let body = json!({ "query": document, "variables": variables });
        Ok(self.post("/graphql", &body).await?.1)
    }

    /// Asks a GraphQL document that has to have an answer; its data.
    pub(crate) async fn ask(&self, document: &str, variables: Value) -> Value {
        let answer = self.answer(document, variables).await.expect("an answer");
        assert!(answer["errors"].is_null(), "{answer:#}");
        answer["data"].clone()
    }

    /// Asks one mutation with an input and what is wanted of its answer beside receipt and errors.
    pub(crate) async fn command(&self, of: &Mutation<'_>, input: Value) -> Result<Value, Lost> {
        let answer = self.answer(&of.document(), json!({ "input": input })).await?;
        assert!(answer["errors"].is_null(), "{}: {answer:#}", of.name);
        Ok(answer["data"][of.name].clone())
    }

    /// The same, expecting that the rules say yes.
    pub(crate) async fn done(&self, of: &Mutation<'_>, input: Value) -> Value {
        let done = self.command(of, input).await.expect("an answer");
        assert_eq!(done["userErrors"], json!([]), "{}", of.name);
        done
    }
}

/// A mutation by its name, its input's type and what is wanted of the answer.
pub(crate) struct Mutation<'a> {
    pub(crate) name: &'a str,
    pub(crate) input: &'a str,
    pub(crate) wanted: &'a str,
}

impl Mutation<'_> {
    fn document(&self) -> String {
        let Self { name, input, wanted } = self;
        format!(
            "mutation($input: {input}!) {{ {name}(input: $input) {{ {wanted} \
             userErrors {{ code message path }} \
             receipt {{ commandId position eventIds wasReplayed }} }} }}"
        )
    }
}

/// Gives credits to an organization.
pub(crate) const CREDIT_GRANT: Mutation<'_> =
    Mutation { name: "creditGrant", input: "CreditGrantInput", wanted: "" };

/// The number in a position: how far in the log it is.
pub(crate) fn place(position: &Value) -> i64 {
    let text = position.as_str().unwrap_or_else(|| panic!("{position} is no position"));
    let (_, number) = text.split_once('-').expect("a log and a place in it");
    number.parse().expect("a number")
}
