//! Who is in the demonstration: people, their roles, organizations, what these buy.

use domain::tenancy::OrganizationRole::{self, Admin, BillingAdmin, Member};

/// The first administrator; everybody else is invited.
pub(super) const ADMINISTRATOR: Person = Person("ada", "Ada Example", Some("admin"));

/// A handle, a name, and a role on the platform.
pub(super) struct Person(
    pub(super) &'static str,
    pub(super) &'static str,
    pub(super) Option<&'static str>,
);

impl Person {
    /// In a domain that can never exist.
    pub(super) fn email(&self) -> String {
        format!("{}@opscenter.example", self.0)
    }
}

/// One for each role that every installation has, and the people of the organizations.
pub(super) const PEOPLE: &[Person] = &[
    Person("mina", "Mina Moderator", Some("moderator")),
    Person("dev", "Dev Developer", Some("developer")),
    Person("anna", "Anna Analyst", Some("analyst")),
    Person("vito", "Vito Viewer", Some("viewer")),
    Person("audrey", "Audrey Auditor", Some("auditor")),
    Person("fiona", "Fiona Finance", Some("finance")),
    Person("olive", "Olive Owner", None),
    Person("arthur", "Arthur Admin", None),
    Person("bella", "Bella Billing", None),
    Person("max", "Max Member", None),
    Person("wile", "Wile Acme", None),
    Person("rory", "Rory Acme", None),
    Person("luna", "Luna Wolf", None),
    Person("pia", "Pia Plane", None),
];

/// An organization and who belongs to it.
pub(super) struct Company {
    pub(super) slug: &'static str,
    pub(super) name: &'static str,
    pub(super) tier: &'static str,
    pub(super) owner: &'static str,
    pub(super) members: &'static [(&'static str, OrganizationRole)],
}

/// One on each way of being charged: a markup, another markup, an own key, and no credits at all.
pub(super) const COMPANIES: &[Company] = &[
    Company {
        slug: "magic-unicorn",
        name: "Magic Unicorn",
        tier: "managed",
        owner: "olive",
        members: &[("arthur", Admin), ("bella", BillingAdmin), ("max", Member)],
    },
    Company {
        slug: "acme",
        name: "Acme",
        tier: "professional",
        owner: "wile",
        members: &[("rory", Member)],
    },
    Company { slug: "lone-wolf", name: "Lone Wolf", tier: "byok", owner: "luna", members: &[] },
    Company { slug: "paper-plane", name: "Paper Plane", tier: "free", owner: "pia", members: &[] },
];

/// A purchase of credits.
pub(super) struct Bought {
    /// What the demonstration calls it.
    pub(super) name: &'static str,
    pub(super) slug: &'static str,
    /// Who buys.
    pub(super) by: &'static str,
    pub(super) credit_pack: &'static str,
    /// The bank's reference, once the money is there.
    pub(super) reference: Option<&'static str>,
    /// Whole credits that are given back afterwards.
    pub(super) refunded: Option<i64>,
}

pub(super) const PURCHASES: &[Bought] = &[
    Bought {
        name: "purchase/magic-unicorn/1",
        slug: "magic-unicorn",
        by: "bella",
        credit_pack: "credits-10000",
        reference: Some("bank transfer DEMO-1001"),
        refunded: None,
    },
    Bought {
        name: "purchase/acme/1",
        slug: "acme",
        by: "wile",
        credit_pack: "credits-50000",
        reference: Some("bank transfer DEMO-1002"),
        refunded: None,
    },
    Bought {
        name: "purchase/lone-wolf/1",
        slug: "lone-wolf",
        by: "luna",
        credit_pack: "credits-5000",
        reference: Some("bank transfer DEMO-1003"),
        refunded: Some(2_000),
    },
    // Waits for its money, so that somebody can record it.
    Bought {
        name: "purchase/magic-unicorn/2",
        slug: "magic-unicorn",
        by: "bella",
        credit_pack: "credits-5000",
        reference: None,
        refunded: None,
    },
];

/// Services that are registered: a name and the container that it is.
pub(super) const SERVICES: &[(&str, &str)] =
    &[("vllm", "opscenter-demo-vllm"), ("open-webui", "opscenter-demo-open-webui")];
