//! Roles, and the installation itself, as they were.

use super::Shown;
use domain::access::role::Role;
use domain::installation::Installation;
use serde_json::{Value, json};

impl Shown for Role {
    fn show(&self) -> Value {
        let defined = self.defined.as_ref();
        json!({
            "role": defined.map(|(role, _)| role),
            "permissions": defined.map(|(_, permissions)| permissions),
        })
    }
}

impl Shown for Installation {
    fn show(&self) -> Value {
        json!({ "administrator": self.administrator })
    }
}
