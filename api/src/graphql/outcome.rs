//! From a command to the answer of its mutation.
//!
//! A refusal of the rules is an answer: it stands in `userErrors` and HTTP says 200. Rights and
//! faults stand in `errors`. What the command changed is read from the read model once that has
//! taken the command in: there is one description of each thing, and its price does not grow with
//! the history behind it. Nobody who selects only the receipt waits.

use super::{DateTime, LogPosition, asking, shown};
use crate::metrics;
use crate::problem::Problem;
use crate::reading::Asking;
use async_graphql::resolver_utils::EnumType;
use async_graphql::{Context, Enum, Object, SimpleObject};
use commands::{Command, Failure, Outcome, Receipt, Request, Right, Subject};
use domain::access::Scope;
use std::time::Instant;
use uuid::Uuid;

/// What every mutation is asked with.
pub(crate) struct Asked {
    /// Chosen by whoever asks; the same for every repeat.
    pub(crate) command_id: Uuid,
    /// The version that the caller had seen.
    pub(crate) expected_version: Option<i64>,
}

impl Asked {
    pub(crate) const fn once(command_id: Uuid) -> Self {
        Self { command_id, expected_version: None }
    }

    pub(crate) fn at(command_id: Uuid, version: Option<super::scalars::SafeInt>) -> Self {
        Self { command_id, expected_version: version.map(|version| version.0) }
    }
}

/// What a mutation answers, before it is given the shape of its thing.
#[derive(Default)]
pub(crate) struct Answer {
    pub(crate) outcome: Option<Outcome>,
    pub(crate) errors: Vec<UserError>,
    /// Shown once: the key that was made.
    pub(crate) secret: Option<String>,
}

impl Answer {
    /// The rules say no.
    pub(crate) fn refused(error: UserError) -> Self {
        Self { errors: vec![error], ..Self::default() }
    }

    /// Keeps a secret back unless it was made just now: a repeat never shows it again.
    pub(crate) fn with_secret(mut self, secret: String) -> Self {
        self.secret = self
            .outcome
            .as_ref()
            .is_some_and(|outcome| !outcome.receipt.was_replayed)
            .then_some(secret);
        self
    }
}

/// Carries out a command.
pub(crate) async fn carry_out(
    ctx: &Context<'_>,
    asked: Asked,
    command: impl Into<Command>,
) -> Result<Answer, Problem> {
    let (asking, command) = (asking(ctx)?, command.into());
    let (name, right, started) = (command.name(), command.right(), Instant::now());
    let request = Request {
        command_id: asked.command_id,
        caller: asking.caller.clone(),
        expected_version: asked.expected_version,
        command,
    };
    let result = asking.services.executor.execute(request).await;
    metrics::command(name, outcome_word(&result), started.elapsed());
    asking.forget_permits().await;
    match result {
        Ok(outcome) => {
            asking.note_receipt(&outcome.receipt);
            Ok(Answer { outcome: Some(outcome), ..Answer::default() })
        }
        Err(failure) => answer_of(asking, right, failure).await,
    }
}

/// One word for the figures.
pub(crate) const fn outcome_word<T>(result: &Result<T, Failure>) -> &'static str {
    match result {
        Ok(_) => "done",
        Err(Failure::Refused(_)) => "refused",
        Err(Failure::Unauthenticated | Failure::Forbidden { .. }) => "denied",
        Err(Failure::VersionConflict { .. } | Failure::CommandReused { .. }) => "conflict",
        Err(Failure::TooLarge(_)) => "too_large",
        Err(Failure::Busy | Failure::Halted(_) | Failure::Unavailable(_)) => "unavailable",
        Err(Failure::Internal(_)) => "internal",
    }
}

/// What a failure is to whoever asked: an answer, or a problem.
async fn answer_of(asking: &Asking, right: Right, failure: Failure) -> Result<Answer, Problem> {
    asking.note_read();
    if let Some(error) = UserError::of(&failure) {
        return Ok(Answer::refused(error));
    }
    let organization = match right {
        Right::Permission(_, Scope::Organization(organization))
        | Right::NewKeyFor(_, Some(organization)) => Some(organization),
        Right::Permission(_, Scope::Platform)
        | Right::NewKeyFor(_, None)
        | Right::OfKey(..)
        | Right::SystemOnly
        | Right::TokenInside => None,
    };
    match (failure, organization) {
        (failure @ Failure::Forbidden { .. }, Some(organization)) => {
            Err(asking.hide(organization, failure.into()).await)
        }
        (failure, _) => Err(failure.into()),
    }
}

macro_rules! codes {
    ($($(#[$meta:meta])* $Code:ident)*) => {
        /// Why the rules say no.
        #[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum UserErrorCode {
            $($(#[$meta])* $Code,)*
        }
    };
}

codes! {
    AddOnPriceNegative ApiKeyExists ApiKeyNotFound ApiKeyRevoked
    CreditPackEmpty CreditPackNotFound CreditPackNotSold
    CreditsNotPositive CreditsTooFew CreditsTooMany
    GrantNotFound GrantSpent HoldAlreadyOver HoldExceeded HoldNotFound
    LegalHoldNotFound LegalHoldStands LegalHoldTooLate
    LogEpochKnown
    MemberExists MemberNotFound MeterImmutable MeterNotFound
    ModelPriceMissing ModelPriceNegative
    /// Something that the input names does not exist.
    NotFound
    OrganizationClosed OrganizationExists OrganizationLastOwner OrganizationNotFound
    OrganizationOwnersOnly
    PurchaseAlreadyPaid PurchaseExists PurchaseNotFound PurchaseOtherAmount PurchaseWrongState
    RateNegative RatePowerMissing RefundTooMuch
    RetentionDaysInvalid RetentionNeeded RetentionNoPolicy RetentionNotPurged
    RoleBuiltIn RoleNotFound
    ServiceActionDispatched ServiceActionNotAllowed ServiceActionNotFound
    ServiceBusy ServiceExists ServiceNotFound
    SetupAlreadyDone SetupTokenInvalid
    /// What has to be unique belongs to somebody else.
    Taken
    TierCreditsNegative TierPriceNegative TierVersionEarlier
    UsageDifferent UsageEmpty UsageTooMuch UsageUnpriceable
    UserEmailInvalid UserExists UserNameInvalid UserNotErasing UserNotFound
    UserWrongState
    /// The thing is at another version than the one expected: load it again and decide.
    VersionConflict
    /// The command id was used before with other content: choose a new one.
    CommandReused
}

impl UserErrorCode {
    /// The code as it is written.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::items().iter().find(|item| item.name == name).map(|item| item.value)
    }
}

/// Why the rules say no, for whoever asked.
#[derive(SimpleObject, Clone, Debug)]
pub(crate) struct UserError {
    /// In words, with what to do next.
    pub(crate) message: String,
    /// Where in the input it is.
    pub(crate) path: Vec<String>,
    /// For programs.
    pub(crate) code: UserErrorCode,
}

impl UserError {
    /// The code as it is written.
    pub(crate) fn code_name(&self) -> String {
        let items = UserErrorCode::items();
        let found = items.iter().find(|item| item.value == self.code);
        found.map_or_else(String::new, |item| item.name.to_owned())
    }

    /// What a failure is when it is an answer.
    pub(crate) fn of(failure: &Failure) -> Option<Self> {
        let (name, field) = match failure {
            Failure::Refused(refusal) => (refusal.code(), field_of(refusal.code())),
            Failure::VersionConflict { .. } => ("VERSION_CONFLICT", Some("expectedVersion")),
            Failure::CommandReused { .. } => ("COMMAND_REUSED", Some("commandId")),
            Failure::Unauthenticated
            | Failure::Forbidden { .. }
            | Failure::TooLarge(_)
            | Failure::Busy
            | Failure::Halted(_)
            | Failure::Unavailable(_)
            | Failure::Internal(_) => return None,
        };
        // A test holds the list of codes against those of the domain.
        let code = UserErrorCode::named(name)?;
        let path = ["input"].into_iter().chain(field).map(str::to_owned).collect();
        Some(Self { message: failure.to_string(), path, code })
    }
}

/// The field that a refusal is about, where it is always the same one.
fn field_of(code: &str) -> Option<&'static str> {
    Some(match code {
        "CREDITS_NOT_POSITIVE"
        | "CREDITS_TOO_FEW"
        | "CREDITS_TOO_MANY"
        | "HOLD_EXCEEDED"
        | "REFUND_TOO_MUCH"
        | "GRANT_SPENT" => "credits",
        "USER_EMAIL_INVALID" => "email",
        "USER_NAME_INVALID" => "name",
        "USER_NOT_FOUND" | "MEMBER_NOT_FOUND" | "MEMBER_EXISTS" => "userId",
        "CREDIT_PACK_NOT_FOUND" | "CREDIT_PACK_NOT_SOLD" => "creditPack",
        "PURCHASE_OTHER_AMOUNT" => "amount",
        "PURCHASE_NOT_FOUND" => "purchaseId",
        "GRANT_NOT_FOUND" => "grantId",
        "HOLD_NOT_FOUND" => "holdId",
        "ORGANIZATION_NOT_FOUND" => "organizationId",
        "SERVICE_NOT_FOUND" => "serviceId",
        "LEGAL_HOLD_NOT_FOUND" => "legalHoldId",
        "LEGAL_HOLD_TOO_LATE" => "target",
        "RETENTION_NEEDED" | "RETENTION_NO_POLICY" => "kind",
        "RETENTION_DAYS_INVALID" => "keepDays",
        "API_KEY_NOT_FOUND" => "apiKeyId",
        "ROLE_BUILT_IN" | "ROLE_NOT_FOUND" => "role",
        "SETUP_TOKEN_INVALID" => "token",
        "METER_NOT_FOUND" | "USAGE_EMPTY" | "USAGE_TOO_MUCH" | "USAGE_UNPRICEABLE" => "records",
        _ => return None,
    })
}

/// What the log said to a command.
pub(crate) struct ReceiptObject<'a>(pub(crate) &'a Receipt);

#[Object(name = "Receipt")]
impl ReceiptObject<'_> {
    /// The command it is the receipt of.
    async fn command_id(&self) -> Uuid {
        self.0.command_id
    }

    /// Give it back as `Ops-Consistency: at-least=…` to see at least this.
    async fn position(&self, ctx: &Context<'_>) -> Result<LogPosition, Problem> {
        Ok(shown(asking(ctx)?, self.0.position))
    }

    /// The events that happened; none when there was nothing left to do.
    async fn event_ids(&self) -> &[Uuid] {
        &self.0.event_ids
    }

    /// When the log took it.
    async fn recorded_at(&self) -> DateTime {
        DateTime(self.0.recorded_at)
    }

    /// Whether it had taken effect before this request.
    async fn was_replayed(&self) -> bool {
        self.0.was_replayed
    }
}

/// The id of what a command made or changed, where that is a part of something larger.
pub(crate) fn id_of(subject: &Subject) -> Option<String> {
    match subject {
        Subject::Grant(_, id) => Some(id.to_string()),
        Subject::Spend(_, id) => Some(id.to_string()),
        Subject::Hold(_, id) => Some(id.to_string()),
        Subject::ServiceAction(_, id) => Some(id.to_string()),
        Subject::User(_)
        | Subject::ApiKey(_)
        | Subject::Organization(_)
        | Subject::Role(_)
        | Subject::Tier(_)
        | Subject::AddOn(_)
        | Subject::CreditPack(_)
        | Subject::Meter(_)
        | Subject::Model(_)
        | Subject::RateCard
        | Subject::CreditAccount(_)
        | Subject::Purchase(_)
        | Subject::Service(_)
        | Subject::LegalHold(..)
        | Subject::Retention(_)
        | Subject::Installation => None,
    }
}

/// Declares the answer of mutations that make or change one kind of thing.
macro_rules! payload {
    ($(#[$meta:meta])* $Payload:ident {
        $(#[$field_meta:meta])* $field:ident: $Object:ty = $load:path
     }
     $(shows $(#[$secret_meta:meta])* $secret:ident)?
     $(names $(#[$name_meta:meta])* $name:ident)?) => {
        $(#[$meta])*
        pub(crate) struct $Payload(pub(crate) $crate::graphql::outcome::Answer);

        #[async_graphql::Object]
        impl $Payload {
            $(#[$field_meta])*
            async fn $field(
                &self,
                ctx: &async_graphql::Context<'_>,
            ) -> Result<Option<$Object>, $crate::problem::Problem> {
                match &self.0.outcome {
                    Some(outcome) => $load($crate::graphql::asking(ctx)?, outcome).await,
                    None => Ok(None),
                }
            }

            $(
                $(#[$secret_meta])*
                async fn $secret(&self) -> Option<&str> {
                    self.0.secret.as_deref()
                }
            )?

            $(
                $(#[$name_meta])*
                async fn $name(&self) -> Option<async_graphql::ID> {
                    let subject = &self.0.outcome.as_ref()?.subject;
                    $crate::graphql::outcome::id_of(subject).map(async_graphql::ID)
                }
            )?

            /// Why the rules say no; empty when they said yes.
            async fn user_errors(&self) -> &[$crate::graphql::outcome::UserError] {
                &self.0.errors
            }

            /// What the log said; null when nothing was recorded.
            async fn receipt(&self) -> Option<$crate::graphql::outcome::ReceiptObject<'_>> {
                let outcome = self.0.outcome.as_ref()?;
                Some($crate::graphql::outcome::ReceiptObject(&outcome.receipt))
            }
        }
    };
}
pub(crate) use payload;
