//! What an event says to the audit reader beside what the log knows of every event.

use domain::Event;
use domain::access::security;
use domain::commerce::purchase;
use domain::credits::{self, GrantSource};
use domain::identity::{api_key, user};
use domain::metering;
use domain::operations::service;
use domain::retention::{legal_hold, policy, purged};
use domain::tenancy;

/// Target, result, reason and command, as far as the event itself states them.
pub(super) struct Words {
    /// When it is not the stream.
    pub(super) target: Option<String>,
    /// `success`, `failure` or `denied`.
    pub(super) result: &'static str,
    /// When somebody said so.
    pub(super) reason: Option<String>,
    /// When it is not the one that recorded the event.
    pub(super) command: Option<String>,
}

impl Words {
    const fn of(result: &'static str, reason: Option<String>) -> Self {
        Self { target: None, result, reason, command: None }
    }

    const fn success(reason: Option<String>) -> Self {
        Self::of("success", reason)
    }
}

pub(super) fn words(event: &Event) -> Words {
    match event {
        Event::Usage(metering::Event::UsageRecorded(record)) => {
            Words { target: Some(format!("usage/{}", record.source)), ..Words::success(None) }
        }
        Event::CreditAccount(event) => of_credits(event),
        Event::User(event) => of_user(event),
        Event::ApiKey(event) => of_api_key(event),
        Event::Organization(event) => of_organization(event),
        Event::Purchase(event) => of_purchase(event),
        Event::Service(event) => of_service(event),
        Event::Security(event) => of_security(event),
        Event::LegalHold(event) => of_legal_hold(event),
        Event::Retention(event) => of_retention(event),
        Event::Purged(event) => of_purged(event),
        Event::Role(_)
        | Event::Tier(_)
        | Event::AddOn(_)
        | Event::CreditPack(_)
        | Event::Meter(_)
        | Event::Model(_)
        | Event::RateCard(_)
        | Event::Installation(_) => Words::success(None),
    }
}

fn of_credits(event: &credits::Event) -> Words {
    use credits::Event as It;
    Words::success(match event {
        It::CreditsGranted(granted) => match &granted.source {
            GrantSource::Manual { reason } => Some(reason.to_string()),
            GrantSource::Tier { .. } | GrantSource::Purchase { .. } => None,
        },
        It::GrantVoided(voided) => Some(voided.reason.to_string()),
        It::CreditsSpent(spent) => Some(spent.reason.to_string()),
        It::HoldPlaced(placed) => Some(placed.reason.to_string()),
        It::GrantExpired(_)
        | It::UsageCharged(_)
        | It::OwedSettled(_)
        | It::HoldCaptured(_)
        | It::HoldReleased(_)
        | It::HoldExpired(_) => None,
    })
}

fn of_user(event: &user::Event) -> Words {
    use user::Event as It;
    Words::success(match event {
        It::UserSuspended(it) => Some(it.reason.to_string()),
        It::UserDeactivated(it) => Some(it.reason.to_string()),
        It::UserRoleAssigned(it) => Some(format!("role {} assigned", it.role)),
        It::UserRoleRemoved(it) => Some(format!("role {} removed", it.role)),
        It::UserErasureRequested(it) => Some(match &it.reference {
            Some(reference) => format!("{}, {reference}", it.ground.as_str()),
            None => it.ground.as_str().to_owned(),
        }),
        It::UserInvited(_) | It::UserActivated(_) | It::UserReactivated(_) | It::UserErased(_) => {
            None
        }
    })
}

fn of_api_key(event: &api_key::Event) -> Words {
    use api_key::Event as It;
    Words::success(match event {
        It::ApiKeyRevoked(it) => Some(it.reason.to_string()),
        It::ApiKeyCreated(_) | It::ApiKeyRotated(_) => None,
    })
}

fn of_organization(event: &tenancy::Event) -> Words {
    use tenancy::Event as It;
    Words::success(match event {
        It::OrganizationTierChanged(it) => Some(it.reason.to_string()),
        It::OrganizationSuspended(it) => Some(it.reason.to_string()),
        It::OrganizationClosed(it) => Some(it.reason.to_string()),
        It::OrganizationCreated(_)
        | It::OrganizationRenamed(_)
        | It::MemberAdded(_)
        | It::MemberRoleChanged(_)
        | It::MemberRemoved(_)
        | It::OrganizationReactivated(_) => None,
    })
}

fn of_purchase(event: &purchase::Event) -> Words {
    use purchase::Event as It;
    match event {
        It::PurchaseInitiated(_) | It::PurchaseFulfilled(_) => Words::success(None),
        It::PurchasePaid(it) => Words::success(Some(it.reference.to_string())),
        It::PurchaseFailed(it) => Words::of("failure", Some(it.reason.to_string())),
        It::PurchaseRefunded(it) => Words::success(Some(it.reason.to_string())),
    }
}

fn of_service(event: &service::Event) -> Words {
    use service::Event as It;
    match event {
        It::ServiceRegistered(_)
        | It::ServiceActionDispatched(_)
        | It::ServiceActionSucceeded(_) => Words::success(None),
        It::ServiceDeregistered(it) => Words::success(Some(it.reason.to_string())),
        It::ServiceActionRequested(it) => {
            let reason = it.reason.as_ref().map(|why| format!("{}: {why}", it.verb.as_str()));
            Words::success(reason.or_else(|| Some(it.verb.as_str().to_owned())))
        }
        It::ServiceActionFailed(it) => Words::of("failure", Some(it.reason.clone())),
        It::ServiceActionTimedOut(_) => Words::of("failure", Some("nobody answered".to_owned())),
    }
}

fn of_security(event: &security::Event) -> Words {
    use security::Event as It;
    let (result, it) = match event {
        It::CommandDenied(it) => ("denied", (&it.command, &it.target, &it.permission, &it.reason)),
        It::CommandRefused(it) => ("failure", (&it.command, &it.target, &it.code, &it.reason)),
    };
    let (command, target, what, reason) = it;
    Words {
        target: Some(target.clone()),
        result,
        reason: Some(format!("{what}: {reason}")),
        command: Some(command.clone()),
    }
}

fn of_legal_hold(event: &legal_hold::Event) -> Words {
    use legal_hold::Event as It;
    Words::success(Some(match event {
        It::LegalHoldPlaced(it) => it.reason.to_string(),
        It::LegalHoldReleased(it) => it.reason.to_string(),
    }))
}

fn of_retention(event: &policy::Event) -> Words {
    use policy::Event as It;
    Words::success(Some(match event {
        It::RetentionPolicySet(it) => format!("{} for {} days", it.kind.as_str(), it.keep_days),
        It::BodiesPurged(it) => format!("{} bodies of {}", it.count, it.kind.as_str()),
    }))
}

/// What is known of a denial whose body is gone: whether it was one of rights or of rules.
fn of_purged(event: &purged::Event) -> Words {
    Words::of(if event.type_name() == "command_denied" { "denied" } else { "failure" }, None)
}
