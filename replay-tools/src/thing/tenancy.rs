//! Organizations and their credit accounts as they were.

use super::Shown;
use crate::output::dollars;
use domain::credits::Account;
use domain::tenancy::{Event, Organization};
use serde_json::{Map, Value, json};

impl Shown for Organization {
    fn show(&self) -> Value {
        let tier = self.tier.as_ref();
        json!({
            "organization_id": self.id,
            "slug": self.slug,
            "status": self.status.as_str(),
            "tier": tier.map(|(code, _)| code),
            "tier_version": tier.map(|(_, version)| version),
            "members": self.members,
        })
    }

    fn note(event: &Event, facts: &mut Map<String, Value>) {
        if let Event::OrganizationCreated(created) = event {
            facts.insert("name".to_owned(), json!(created.name));
        }
        if let Event::OrganizationRenamed(renamed) = event {
            facts.insert("name".to_owned(), json!(renamed.name));
        }
    }
}

impl Shown for Account {
    fn show(&self) -> Value {
        json!({
            "balance_credits": self.balance(),
            "owed_credits": self.owed,
            "owed_usd": dollars(self.owed),
            "charged_through": self.charged_through,
            "grants": self.grants,
            "holds": self.holds,
        })
    }
}
