//! A purchase of a credit pack.
//!
//! Lifecycle: initiated → paid → fulfilled → partially refunded → refunded; or failed. A refunded
//! purchase never returns, and a late or repeated notice changes nothing. A refund gives money back
//! for credits that nobody spent: money is allotted to credits cumulatively, so that any sequence
//! of partial refunds adds up to the price exactly.

use crate::aggregate::Aggregate;
use crate::events::events;
use crate::values::{
    Amount, Code, Credits, GrantId, MicroDollars, Money, OrganizationId, PurchaseId, RefundId,
    Rounding, Text,
};
use serde::{Deserialize, Serialize};

events! {
    /// What can have happened to a purchase.
    pub enum Event {
        /// Somebody wants to buy.
        PurchaseInitiated = "purchase_initiated" 1 "purchase.initiate" {
            /// Which purchase.
            purchase_id: PurchaseId,
            /// For whom.
            organization_id: OrganizationId,
            /// What.
            credit_pack: Code,
            /// How many credits.
            credits: Credits,
            /// For how much.
            price: Money,
            /// What the credits are worth when spent; the difference to the price is margin.
            worth: MicroDollars,
        }
        /// The money arrived.
        PurchasePaid = "purchase_paid" 1 "purchase.pay" {
            /// Which purchase.
            purchase_id: PurchaseId,
            /// For whom.
            organization_id: OrganizationId,
            /// How many credits it buys.
            credits: Credits,
            /// How much arrived.
            amount: Money,
            /// The bank's reference.
            reference: Text,
        }
        /// The credits are there.
        PurchaseFulfilled = "purchase_fulfilled" 1 "purchase.fulfil" {
            /// Which purchase.
            purchase_id: PurchaseId,
            /// The grant that gave them.
            grant_id: GrantId,
        }
        /// It came to nothing.
        PurchaseFailed = "purchase_failed" 1 "purchase.fail" {
            /// Which purchase.
            purchase_id: PurchaseId,
            /// Why.
            reason: Text,
        }
        /// Money was given back for credits that were taken back.
        PurchaseRefunded = "purchase_refunded" 1 "purchase.refund" {
            /// Which purchase.
            purchase_id: PurchaseId,
            /// Which refund.
            refund_id: RefundId,
            /// How many credits were taken back.
            credits: Credits,
            /// How much money is given back.
            amount: Money,
            /// Why.
            reason: Text,
        }
    }
}

/// What can be asked of a purchase.
#[derive(Clone, Debug)]
pub enum Command {
    /// Begin it.
    Initiate(Box<PurchaseInitiated>),
    /// Record that the money arrived.
    Pay {
        /// How much.
        amount: Money,
        /// The bank's reference.
        reference: Text,
    },
    /// Record that the credits are there.
    Fulfil {
        /// The grant that gave them.
        grant_id: GrantId,
    },
    /// Record that it came to nothing.
    Fail {
        /// Why.
        reason: Text,
    },
    /// Give money back for credits.
    Refund {
        /// Which refund.
        refund_id: RefundId,
        /// For how many credits; for all that are left of the purchase when `None`.
        credits: Option<Credits>,
        /// Why.
        reason: Text,
    },
}

/// Why a purchase says no.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such purchase.
    #[error("there is no such purchase")]
    NotFound,
    /// The id is taken.
    #[error("a purchase with this id exists already")]
    Exists,
    /// The tier does not sell it.
    #[error("credit pack {credit_pack} is not sold on tier {tier}")]
    NotSold {
        /// Which pack.
        credit_pack: Code,
        /// To which tier.
        tier: Code,
    },
    /// There is no such pack.
    #[error("there is no credit pack {0}")]
    NoSuchPack(Code),
    /// What arrived is not what was asked.
    #[error("{paid} arrived and {price} was asked; a difference is for a person to settle")]
    OtherAmount {
        /// What arrived.
        paid: String,
        /// What was asked.
        price: String,
    },
    /// Paid before, by something else.
    #[error("the purchase was paid already, with reference {0}")]
    AlreadyPaid(Text),
    /// The lifecycle does not allow it.
    #[error("a purchase that is {state} cannot be {wanted}")]
    WrongState {
        /// Where it is.
        state: &'static str,
        /// What was asked.
        wanted: &'static str,
    },
    /// More than is left.
    #[error("{left} credits of the purchase are not refunded yet; {wanted} is more")]
    TooMuch {
        /// What is left.
        left: Credits,
        /// What was asked.
        wanted: Credits,
    },
    /// None, or less than none.
    #[error("a number of credits must be more than zero")]
    NotPositive,
}

impl Refusal {
    /// The stable code of it.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "PURCHASE_NOT_FOUND",
            Self::Exists => "PURCHASE_EXISTS",
            Self::NotSold { .. } => "CREDIT_PACK_NOT_SOLD",
            Self::NoSuchPack(_) => "CREDIT_PACK_NOT_FOUND",
            Self::OtherAmount { .. } => "PURCHASE_OTHER_AMOUNT",
            Self::AlreadyPaid(_) => "PURCHASE_ALREADY_PAID",
            Self::WrongState { .. } => "PURCHASE_WRONG_STATE",
            Self::TooMuch { .. } => "REFUND_TOO_MUCH",
            Self::NotPositive => "CREDITS_NOT_POSITIVE",
        }
    }
}

/// How far a purchase has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Never heard of.
    #[default]
    Unknown,
    /// Waits for money.
    Initiated,
    /// The money is there; the credits are not yet.
    Paid {
        /// The bank's reference.
        reference: Text,
    },
    /// The credits are there.
    Fulfilled {
        /// The grant that gave them.
        grant_id: GrantId,
        /// The bank's reference.
        reference: Text,
        /// What was given back so far.
        refunded: Credits,
    },
    /// It came to nothing.
    Failed,
}

/// A purchase.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Purchase {
    /// What was wanted; `None` when it was never begun.
    pub initiated: Option<PurchaseInitiated>,
    /// How far it has come.
    pub stage: Stage,
}

impl Purchase {
    /// As it is written.
    #[must_use]
    pub fn state(&self) -> &'static str {
        let bought = self.initiated.as_ref().map(|initiated| initiated.credits);
        match &self.stage {
            Stage::Unknown => "unknown",
            Stage::Initiated => "initiated",
            Stage::Paid { .. } => "paid",
            Stage::Fulfilled { refunded, .. } if refunded.is_zero() => "fulfilled",
            Stage::Fulfilled { refunded, .. } if Some(*refunded) == bought => "refunded",
            Stage::Fulfilled { .. } => "partially_refunded",
            Stage::Failed => "failed",
        }
    }

    fn wrong(&self, wanted: &'static str) -> Refusal {
        Refusal::WrongState { state: self.state(), wanted }
    }

    fn pay(
        &self,
        initiated: &PurchaseInitiated,
        amount: Money,
        reference: Text,
    ) -> Result<Vec<Event>, Refusal> {
        match &self.stage {
            Stage::Initiated if amount != initiated.price => Err(Refusal::OtherAmount {
                paid: amount.to_string(),
                price: initiated.price.to_string(),
            }),
            Stage::Initiated => Ok(vec![
                PurchasePaid {
                    purchase_id: initiated.purchase_id,
                    organization_id: initiated.organization_id,
                    credits: initiated.credits,
                    amount,
                    reference,
                }
                .into(),
            ]),
            Stage::Paid { reference: known } | Stage::Fulfilled { reference: known, .. } => {
                if *known == reference {
                    Ok(vec![])
                } else {
                    Err(Refusal::AlreadyPaid(known.clone()))
                }
            }
            Stage::Failed | Stage::Unknown => Err(self.wrong("paid")),
        }
    }

    fn refund(
        &self,
        initiated: &PurchaseInitiated,
        refund_id: RefundId,
        credits: Option<Credits>,
        reason: Text,
    ) -> Result<Vec<Event>, Refusal> {
        let Stage::Fulfilled { refunded, .. } = &self.stage else {
            return Err(self.wrong("refunded"));
        };
        let left = initiated.credits.saturating_minus(*refunded);
        if left.is_zero() {
            return Err(self.wrong("refunded"));
        }
        let credits = credits.unwrap_or(left);
        if !credits.is_positive() {
            return Err(Refusal::NotPositive);
        }
        if credits > left {
            return Err(Refusal::TooMuch { left, wanted: credits });
        }
        let amount = money_for(initiated, *refunded, refunded.saturating_plus(credits));
        let purchase_id = initiated.purchase_id;
        Ok(vec![PurchaseRefunded { purchase_id, refund_id, credits, amount, reason }.into()])
    }
}

/// The money for the credits between two marks: what the upper mark is worth less what the lower
/// is, each rounded half-even to a minor unit.
fn money_for(initiated: &PurchaseInitiated, before: Credits, after: Credits) -> Money {
    let up_to = |mark: Credits| {
        let product = initiated.price.minor().saturating_mul(i128::from(mark.micro()));
        let whole = i128::from(initiated.credits.micro());
        let (quotient, rest) = (product / whole, product % whole);
        let twice = rest.saturating_mul(2);
        let up = twice > whole || (twice == whole && quotient % 2 != 0);
        quotient + i128::from(up)
    };
    Money::new(up_to(after) - up_to(before), initiated.price.currency())
}

impl Aggregate for Purchase {
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    const KIND: &'static str = "purchase";

    fn decide(&self, command: Command) -> Result<Vec<Event>, Refusal> {
        let Some(initiated) = &self.initiated else {
            return match command {
                Command::Initiate(initiated) => Ok(vec![Event::PurchaseInitiated(*initiated)]),
                Command::Pay { .. }
                | Command::Fulfil { .. }
                | Command::Fail { .. }
                | Command::Refund { .. } => Err(Refusal::NotFound),
            };
        };
        let purchase_id = initiated.purchase_id;
        match (command, &self.stage) {
            (Command::Initiate(_), _) => Err(Refusal::Exists),
            (Command::Pay { amount, reference }, _) => self.pay(initiated, amount, reference),
            (Command::Fulfil { grant_id }, Stage::Paid { .. }) => {
                Ok(vec![PurchaseFulfilled { purchase_id, grant_id }.into()])
            }
            (Command::Fulfil { .. }, Stage::Fulfilled { .. })
            | (Command::Fail { .. }, Stage::Failed) => Ok(vec![]),
            (Command::Fulfil { .. }, _) => Err(self.wrong("fulfilled")),
            (Command::Fail { reason }, Stage::Initiated) => {
                Ok(vec![PurchaseFailed { purchase_id, reason }.into()])
            }
            (Command::Fail { .. }, _) => Err(self.wrong("failed")),
            (Command::Refund { refund_id, credits, reason }, _) => {
                self.refund(initiated, refund_id, credits, reason)
            }
        }
    }

    fn evolve(mut self, event: &Event) -> Self {
        match event {
            Event::PurchaseInitiated(initiated) => {
                self.initiated = Some(initiated.clone());
                self.stage = Stage::Initiated;
            }
            Event::PurchasePaid(paid) => {
                self.stage = Stage::Paid { reference: paid.reference.clone() };
            }
            Event::PurchaseFulfilled(fulfilled) => {
                if let Stage::Paid { reference } = self.stage {
                    let (grant_id, refunded) = (fulfilled.grant_id, Credits::ZERO);
                    self.stage = Stage::Fulfilled { grant_id, reference, refunded };
                }
            }
            Event::PurchaseFailed(_) => self.stage = Stage::Failed,
            Event::PurchaseRefunded(back) => {
                if let Stage::Fulfilled { refunded, .. } = &mut self.stage {
                    *refunded = refunded.saturating_plus(back.credits);
                }
            }
        }
        self
    }
}

/// What a credit costs in a pack, in dollars, rounded half-even to 9 digits, for people.
#[must_use]
pub fn price_of_one(price: Money, credits: Credits) -> Option<Amount> {
    let whole = i128::from(credits.micro()).checked_div(1_000_000)?;
    let scaled = price.minor().checked_mul(10_i128.pow(9))?.checked_div(whole)?;
    let exact = Amount::new(scaled, 9 + u32::from(price.currency().exponent())).ok()?;
    Amount::new(exact.round(9, Rounding::HalfEven).ok()?, 9).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aggregate::fold;
    use crate::aggregate::testing::given;
    use crate::values::Currency;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn text(text: &str) -> Text {
        text.parse().expect("a text")
    }

    fn dollars(text: &str) -> Money {
        Money::parse(text, Currency::USD).expect("an amount")
    }

    fn initiated(credits: i64, price: &str) -> PurchaseInitiated {
        let credits = Credits::from_whole(credits).expect("fits");
        PurchaseInitiated {
            purchase_id: PurchaseId::new(Uuid::from_u128(1)),
            organization_id: OrganizationId::new(Uuid::from_u128(2)),
            credit_pack: "credits-5000".parse().expect("a code"),
            credits,
            price: dollars(price),
            worth: credits.worth(),
        }
    }

    fn bought(credits: i64, price: &str) -> Vec<Event> {
        let begun = Event::PurchaseInitiated(initiated(credits, price));
        let pay = Command::Pay { amount: dollars(price), reference: text("ref 1") };
        let paid = given::<Purchase>(std::slice::from_ref(&begun)).when(pay).accepted();
        let history = [vec![begun], paid].concat();
        let fulfil = Command::Fulfil { grant_id: GrantId::new(Uuid::from_u128(3)) };
        let fulfilled = given::<Purchase>(&history).when(fulfil).accepted();
        [history, fulfilled].concat()
    }

    fn refund(micro: i64) -> Command {
        Command::Refund {
            refund_id: RefundId::new(Uuid::from_u128(4)),
            credits: Some(Credits::from_micro(micro)),
            reason: text("unused"),
        }
    }

    #[test]
    fn another_amount_than_asked_does_not_pay() {
        given::<Purchase>(&[Event::PurchaseInitiated(initiated(5_000, "45.00"))])
            .when(Command::Pay { amount: dollars("44.99"), reference: text("ref 1") })
            .refused(&Refusal::OtherAmount { paid: "44.99 USD".into(), price: "45.00 USD".into() });
    }

    #[test]
    fn a_repeated_notice_of_payment_changes_nothing_and_another_is_refused() {
        let pay =
            |reference: &str| Command::Pay { amount: dollars("45.00"), reference: text(reference) };
        given::<Purchase>(&bought(5_000, "45.00")).when(pay("ref 1")).happened(&[]);
        given::<Purchase>(&bought(5_000, "45.00"))
            .when(pay("ref 2"))
            .refused(&Refusal::AlreadyPaid(text("ref 1")));
    }

    #[test]
    fn a_refunded_purchase_never_returns() {
        let mut history = bought(5_000, "45.00");
        let all = Command::Refund {
            refund_id: RefundId::new(Uuid::from_u128(4)),
            credits: None,
            reason: text("unused"),
        };
        history.extend(given::<Purchase>(&history).when(all.clone()).accepted());
        assert_eq!(fold::<Purchase>(&history).state(), "refunded");
        given::<Purchase>(&history)
            .when(all)
            .refused(&Refusal::WrongState { state: "refunded", wanted: "refunded" });
        given::<Purchase>(&history)
            .when(Command::Pay { amount: dollars("45.00"), reference: text("ref 1") })
            .happened(&[]);
    }

    proptest! {
        #[test]
        fn partial_refunds_add_up_to_the_price(
            cuts in proptest::collection::vec(1_i64..999_999_999, 0..8),
        ) {
            let mut history = bought(1_000, "10.01");
            let mut marks: Vec<i64> = cuts;
            marks.push(1_000_000_000);
            marks.sort_unstable();
            marks.dedup();
            let (mut before, mut sum) = (0, 0);
            for mark in marks {
                let purchase = fold::<Purchase>(&history);
                let events = purchase.decide(refund(mark - before)).expect("a refund");
                for event in &events {
                    if let Event::PurchaseRefunded(back) = event {
                        prop_assert!(back.amount.minor() >= 0);
                        sum += back.amount.minor();
                    }
                }
                history.extend(events);
                before = mark;
            }
            prop_assert_eq!(sum, 1_001);
            prop_assert_eq!(fold::<Purchase>(&history).state(), "refunded");
        }
    }
}
