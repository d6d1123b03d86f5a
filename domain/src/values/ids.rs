//! Ids: each kind has its own type and its own printed prefix.
//!
//! Printed as `<prefix>_<26 characters of Crockford base32>` of a 128-bit UUID (version 7, so that
//! ids of one kind sort by age). The domain never makes one: an id comes in with the command.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Why a text is not the id that is wanted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the id of {what}; it looks like {prefix}_ and 26 letters and digits")]
pub struct IdError {
    text: String,
    what: &'static str,
    prefix: &'static str,
}

fn encode(uuid: Uuid) -> String {
    let bits = uuid.as_u128();
    (0..26_u32)
        .rev()
        .map(|place| {
            // Five bits at a time; the first character holds the upper three.
            let index = usize::try_from((bits >> (5 * place)) & 31).unwrap_or(0);
            char::from(ALPHABET[index])
        })
        .collect()
}

fn decode(text: &str) -> Option<Uuid> {
    if text.len() != 26 {
        return None;
    }
    let mut bits: u128 = 0;
    for (place, byte) in text.bytes().enumerate() {
        let value = ALPHABET.iter().position(|letter| *letter == byte.to_ascii_lowercase())?;
        if place == 0 && value > 7 {
            return None;
        }
        bits = (bits << 5) | u128::try_from(value).ok()?;
    }
    Some(Uuid::from_u128(bits))
}

macro_rules! ids {
    ($($name:ident $prefix:literal $what:literal;)*) => {$(
        #[doc = concat!("The id of ", $what, ": `", $prefix, "_…`.")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What every id of this kind begins with, before the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// From its 128 bits.
            #[must_use]
            pub const fn new(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Its 128 bits.
            #[must_use]
            pub const fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($prefix, "_{}"), encode(self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                text.strip_prefix(concat!($prefix, "_")).and_then(decode).map(Self).ok_or_else(
                    || IdError {
                        text: text.chars().take(60).collect(),
                        what: $what,
                        prefix: $prefix,
                    },
                )
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                super::names::from_text(deserializer)
            }
        }
    )*};
}

ids! {
    UserId "usr" "a user";
    OrganizationId "org" "an organization";
    ApiKeyId "key" "an API key";
    GrantId "grt" "a credit grant";
    HoldId "hld" "a credit hold";
    SpendId "spd" "a credit spend";
    ChargeId "chg" "a charge";
    PurchaseId "pur" "a purchase";
    RefundId "rfd" "a refund";
    ServiceId "svc" "a service";
    ServiceActionId "act" "a service action";
    LegalHoldId "lgh" "a legal hold";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let user = UserId::new(Uuid::from_u128(7));
        assert_eq!(user.to_string().parse(), Ok(user));
        assert!(user.to_string().parse::<OrganizationId>().is_err());
    }

    #[test]
    fn ids_sort_as_their_bits_do() {
        let texts = [0_u128, 1, 31, 32, u128::MAX / 2, u128::MAX]
            .map(|bits| UserId::new(Uuid::from_u128(bits)).to_string());
        assert!(texts.is_sorted());
        assert_eq!(texts[5], "usr_7zzzzzzzzzzzzzzzzzzzzzzzzz");
        assert!("usr_8zzzzzzzzzzzzzzzzzzzzzzzzz".parse::<UserId>().is_err());
    }
}
