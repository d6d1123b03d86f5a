//! Somebody who asks over HTTP, with a key or without one.

use crate::Answer;
use reqwest::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use uuid::Uuid;

/// Somebody who asks. Clones share connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    key: Option<String>,
    headers: Vec<(String, String)>,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let builder = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let http = builder.no_proxy().build().unwrap();
        Self { http, base: format!("http://{address}"), key: None, headers: Vec::new() }
    }

    /// The same with a key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same without a key.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { key: None, ..self.clone() }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(&self, name: &str, value: &str) -> Self {
        let mut client = self.clone();
        client.headers.push((name.to_owned(), value.to_owned()));
        client
    }

    /// The key in use.
    #[must_use]
    pub fn key(&self) -> &str {
        self.key.as_deref().unwrap_or_default()
    }

    /// A request to be filled in further.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(key) = &self.key {
            request = request.bearer_auth(key);
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request
    }

    /// Sends a request.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        Answer::of(request.send().await.unwrap()).await
    }

    /// Gets a page.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// Asks GraphQL.
    pub async fn ask(&self, query: &str, variables: Value) -> Answer {
        self.post("/graphql", &json!({ "query": query, "variables": variables })).await
    }

    /// Asks GraphQL without variables.
    pub async fn query(&self, query: &str) -> Answer {
        self.ask(query, json!({})).await
    }

    /// Runs one mutation with an input, under a new command id where the input has none.
    pub async fn run(&self, mutation: &str, input: Value, select: &str) -> Answer {
        let mut input = input;
        if input.get("commandId").is_none() {
            input["commandId"] = json!(Uuid::now_v7());
        }
        let kind = input_type(mutation);
        let query = format!(
            "mutation ($input: {kind}!) {{ {mutation}(input: $input) {{ {select} \
             userErrors {{ message path code }} \
             receipt {{ commandId position eventIds recordedAt wasReplayed }} }} }}"
        );
        self.ask(&query, json!({ "input": input })).await
    }
}

/// The input type of a mutation; several that take the same share one.
fn input_type(mutation: &str) -> String {
    match mutation {
        "userActivate" | "userReactivate" => "UserInput".to_owned(),
        "userSuspend" | "userDeactivate" => "UserReasonInput".to_owned(),
        "userRoleAssign" | "userRoleRemove" => "UserRoleInput".to_owned(),
        "organizationReactivate" => "OrganizationInput".to_owned(),
        "organizationSuspend" | "organizationClose" => "OrganizationReasonInput".to_owned(),
        "memberAdd" | "memberRoleChange" => "MemberInput".to_owned(),
        "usageRecord" => "UsageReportInput".to_owned(),
        "serviceStart" | "serviceStop" | "serviceRestart" | "servicePause" | "serviceUnpause" => {
            "ServiceActInput".to_owned()
        }
        other => {
            let (first, rest) = other.split_at(1);
            format!("{}{rest}Input", first.to_uppercase())
        }
    }
}
