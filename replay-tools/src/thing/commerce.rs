//! Purchases as they were.

use super::Shown;
use domain::commerce::purchase::{Purchase, Stage};
use serde_json::{Value, json};

impl Shown for Purchase {
    fn show(&self) -> Value {
        let (reference, grant, refunded) = match &self.stage {
            Stage::Unknown | Stage::Initiated | Stage::Failed => (None, None, None),
            Stage::Paid { reference } => (Some(reference), None, None),
            Stage::Fulfilled { grant_id, reference, refunded } => {
                (Some(reference), Some(grant_id), Some(refunded))
            }
        };
        json!({
            "purchase": self.initiated,
            "state": self.state(),
            "reference": reference,
            "grant_id": grant,
            "refunded_credits": refunded,
        })
    }
}
