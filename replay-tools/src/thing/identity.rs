//! Users and API keys as they were.

use super::{Shown, personal};
use domain::identity::api_key::ApiKey;
use domain::identity::user::{Event, User};
use serde_json::{Map, Value, json};

impl Shown for User {
    fn show(&self) -> Value {
        json!({ "user_id": self.id, "status": self.status.as_str(), "roles": self.roles })
    }

    fn note(event: &Event, facts: &mut Map<String, Value>) {
        if let Event::UserInvited(invited) = event {
            facts.insert("email".to_owned(), personal(&invited.email));
            facts.insert("name".to_owned(), personal(&invited.name));
        }
    }
}

impl Shown for ApiKey {
    fn show(&self) -> Value {
        let created = self.created.as_ref();
        json!({
            "api_key_id": created.map(|created| created.api_key_id),
            "name": created.map(|created| &created.name),
            "public_part": created.map(|created| &created.public_part),
            "user_id": created.map(|created| created.user_id),
            "organization_id": created.and_then(|created| created.organization_id),
            "scopes": created.map(|created| &created.scopes),
            "expires_at": created.and_then(|created| created.expires_at),
            "revoked": self.revoked,
            "valid_until": self.valid_until,
        })
    }
}
