//! The cases: each field with what asks for it and the permission it needs.

use super::Things;
use serde_json::{Value, json};

/// Each query, what selects something of it, and the permission it needs.
pub(super) fn queries(things: &Things) -> Vec<(&'static str, String, &'static str)> {
    let Things { user, organization: org, purchase, charge, service, event, .. } = things;
    let of = format!("organizationId: \"{org}\"");
    vec![
        ("node", format!("node(id: \"{user}\") {{ id }}"), "users:r"),
        ("user", format!("user(id: \"{user}\") {{ id }}"), "users:r"),
        ("users", "users { nodes { id } }".into(), "users:r"),
        ("organization", format!("organization(id: \"{org}\") {{ id }}"), "organizations:r"),
        ("organizations", "organizations { nodes { id } }".into(), "organizations:r"),
        ("tier", "tier(code: \"free\") { code }".into(), "billing:r"),
        ("tiers", "tiers { code }".into(), "billing:r"),
        ("addOns", "addOns { code }".into(), "billing:r"),
        ("creditPacks", "creditPacks { code }".into(), "billing:r"),
        ("rateCard", "rateCard { version }".into(), "billing:r"),
        ("meters", "meters { code }".into(), "settings:r"),
        ("model", "model(name: \"no-such-model\") { name }".into(), "models:r"),
        ("models", "models { nodes { name } }".into(), "models:r"),
        ("creditBalance", format!("creditBalance({of}) {{ available }}"), "billing:r"),
        ("creditStatement", format!("creditStatement({of}) {{ nodes {{ change }} }}"), "billing:r"),
        ("purchase", format!("purchase(id: \"{purchase}\") {{ id }}"), "purchases:r"),
        ("purchases", "purchases { nodes { id } }".into(), "purchases:r"),
        ("usage", format!("usage({of}) {{ nodes {{ quantity }} }}"), "metering:r"),
        ("usageTotals", format!("usageTotals({of}) {{ quantity }}"), "metering:r"),
        ("charge", format!("charge(id: \"{charge}\") {{ id }}"), "billing:r"),
        ("charges", format!("charges({of}) {{ nodes {{ id }} }}"), "billing:r"),
        ("bill", format!("bill({of}) {{ totalUsd }}"), "billing:r"),
        ("service", format!("service(id: \"{service}\") {{ id }}"), "services:r"),
        ("services", "services { id }".into(), "services:r"),
        ("serviceActions", "serviceActions { nodes { id } }".into(), "services:r"),
        ("roles", "roles { code }".into(), "settings:r"),
        ("apiKeys", format!("apiKeys(userId: \"{user}\") {{ id }}"), "api_keys:r"),
        ("auditTrail", "auditTrail { nodes { action } }".into(), "audit:r"),
        ("eventProof", format!("eventProof(eventId: \"{event}\") {{ treeSize }}"), "audit:r"),
        ("eventCountProof", format!("eventCountProof({of}) {{ count }}"), "audit:r"),
        ("legalHolds", format!("legalHolds(target: \"{org}\") {{ id }}"), "personal_data:r"),
        ("retention", "retention { rules { keepDays } }".into(), "personal_data:r"),
        ("installation", "installation { version }".into(), "settings:r"),
    ]
}

/// A mutation, an input that it understands, and the permission it needs.
pub(super) type Mutation = (&'static str, Value, &'static str);

/// Every mutation. What would end things for good comes last.
pub(super) fn mutations(things: &Things) -> Vec<Mutation> {
    let [first, second] = [about_people(things), about_the_catalogue()];
    [first, second, about_credits(things), about_services(things), about_retention(things)]
        .concat()
        .into_iter()
        .chain(about_organizations(things))
        .collect()
}

fn about_people(things: &Things) -> Vec<Mutation> {
    let Things { user, key, .. } = things;
    let (nobody, text) = ("usr_0000000000000000000000000a", "a test");
    let user_of = || json!({ "userId": user });
    let role = || json!({ "userId": user, "role": "viewer" });
    vec![
        ("userInvite", json!({ "email": "x@example.org", "name": "x" }), "users:w"),
        ("userActivate", user_of(), "users:w"),
        ("userReactivate", user_of(), "users:w"),
        ("userSuspend", json!({ "userId": nobody, "reason": text }), "users:w"),
        ("userDeactivate", json!({ "userId": nobody, "reason": text }), "users:d"),
        ("userRoleAssign", role(), "users:x"),
        ("userRoleRemove", role(), "users:x"),
        ("roleDefine", json!({ "role": "clerk", "permissions": ["billing:r"] }), "settings:x"),
        ("roleDelete", json!({ "role": "clerk" }), "settings:x"),
        ("apiKeyCreate", json!({ "userId": user, "name": "k" }), "api_keys:x"),
        ("apiKeyRotate", json!({ "apiKeyId": key }), "api_keys:x"),
        ("apiKeyRevoke", json!({ "apiKeyId": key, "reason": text }), "api_keys:d"),
    ]
}

fn about_the_catalogue() -> Vec<Mutation> {
    let money = json!({ "amount": "1.00", "currency": "USD" });
    let terms = json!({ "tier": "new", "name": "New", "effectiveFrom": "2026-01-01T00:00:00Z",
        "seats": 1, "callPricing": { "markup": { "percent": 1 } } });
    let card = json!({ "effectiveFrom": "2026-01-01T00:00:00Z", "power": [],
        "unknownProvider": "1", "meters": [] });
    vec![
        ("tierPublish", terms, "billing:w"),
        (
            "addOnPublish",
            json!({ "addOn": "tts", "name": "TTS", "priceMonth": money }),
            "billing:w",
        ),
        (
            "creditPackPublish",
            json!({ "creditPack": "small", "credits": "1", "price": money }),
            "billing:w",
        ),
        ("rateCardPublish", card, "billing:w"),
        ("meterDefine", json!({ "meter": "m", "aggregation": "SUM", "unit": "u" }), "settings:w"),
        ("modelPrice", json!({ "model": "m", "provider": "p", "prices": [] }), "models:w"),
    ]
}

fn about_credits(things: &Things) -> Vec<Mutation> {
    let Things { organization: org, purchase, grant, .. } = things;
    let (hold, text) = ("hld_0000000000000000000000000a", "a test");
    let money = json!({ "amount": "1.00", "currency": "USD" });
    vec![
        (
            "creditGrant",
            json!({ "organizationId": org, "credits": "1", "reason": text }),
            "billing:w",
        ),
        (
            "creditVoid",
            json!({ "organizationId": org, "grantId": grant, "credits": "1", "reason": text }),
            "billing:w",
        ),
        (
            "creditSpend",
            json!({ "organizationId": org, "credits": "1", "reason": text }),
            "billing:x",
        ),
        (
            "creditHoldPlace",
            json!({ "organizationId": org, "credits": "1", "seconds": 60, "reason": text }),
            "billing:x",
        ),
        (
            "creditHoldCapture",
            json!({ "organizationId": org, "holdId": hold, "credits": "1" }),
            "billing:x",
        ),
        ("creditHoldRelease", json!({ "organizationId": org, "holdId": hold }), "billing:x"),
        (
            "purchaseInitiate",
            json!({ "organizationId": org, "creditPack": "credits-1000" }),
            "purchases:w",
        ),
        (
            "purchasePay",
            json!({ "purchaseId": purchase, "amount": money, "reference": "r" }),
            "purchases:x",
        ),
        ("purchaseFail", json!({ "purchaseId": purchase, "reason": text }), "purchases:x"),
        ("purchaseRefund", json!({ "purchaseId": purchase, "reason": text }), "purchases:d"),
        (
            "usageRecord",
            json!({ "organizationId": org, "source": "test", "records": [{ "usageId": "9",
                "occurredAt": "2026-11-20T10:15:00Z", "model": "openai/m",
                "quantities": [{ "meter": "llm_tokens_input", "quantity": 1 }] }] }),
            "metering:w",
        ),
    ]
}

fn about_services(things: &Things) -> Vec<Mutation> {
    let (service, text) = (&things.service, "a test");
    let act = || json!({ "serviceId": service });
    vec![
        (
            "serviceRegister",
            json!({ "name": "tika", "container": "tika", "verbs": [] }),
            "services:w",
        ),
        ("serviceStart", act(), "services:x"),
        ("serviceStop", act(), "services:x"),
        ("serviceRestart", act(), "services:x"),
        ("servicePause", act(), "services:x"),
        ("serviceUnpause", act(), "services:x"),
        ("serviceDeregister", json!({ "serviceId": service, "reason": text }), "services:d"),
    ]
}

fn about_retention(things: &Things) -> Vec<Mutation> {
    let (org, nobody) = (&things.organization, "usr_0000000000000000000000000a");
    let (hold, text) = ("lgh_0000000000000000000000000a", "a test");
    let denials = |days: u32| json!({ "kind": "DENIALS", "keepDays": days });
    vec![
        ("legalHoldPlace", json!({ "target": org, "reason": text }), "personal_data:w"),
        (
            "legalHoldRelease",
            json!({ "target": org, "legalHoldId": hold, "reason": text }),
            "personal_data:w",
        ),
        ("retentionPolicySet", denials(30), "personal_data:w"),
        ("retentionPurge", json!({ "kind": "DENIALS" }), "personal_data:x"),
        ("personErase", json!({ "userId": nobody, "ground": "REQUESTED" }), "personal_data:d"),
    ]
}

fn about_organizations(things: &Things) -> Vec<Mutation> {
    let Things { user, organization: org, .. } = things;
    let text = "a test";
    let org_of = || json!({ "organizationId": org, "reason": text });
    let member = || json!({ "organizationId": org, "userId": user, "role": "OWNER" });
    vec![
        (
            "organizationCreate",
            json!({ "slug": "other", "name": "Other", "owner": user, "tier": "free" }),
            "organizations:w",
        ),
        ("organizationRename", json!({ "organizationId": org, "name": "X" }), "organizations:w"),
        (
            "organizationTierChange",
            json!({ "organizationId": org, "tier": "starter", "reason": text }),
            "billing:w",
        ),
        ("memberAdd", member(), "organizations:w"),
        ("memberRoleChange", member(), "organizations:w"),
        ("memberRemove", json!({ "organizationId": org, "userId": user }), "organizations:w"),
        ("organizationReactivate", json!({ "organizationId": org }), "organizations:w"),
        ("organizationSuspend", org_of(), "organizations:w"),
        ("organizationClose", org_of(), "organizations:d"),
    ]
}
