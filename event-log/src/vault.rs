//! The vault: what is known of a person and stands in no event.
//!
//! An event names an item of the vault by an id that says nothing. The value lies beside the log,
//! sealed with the person's key, and the same value of the same person is one item however often
//! it comes. Erasing the person empties their vault with their key, in one transaction; then an
//! item that an event names opens as erased.

use crate::personal::{CACHE_KEYS_MAX, KeyError, KeyRing, Opened, binding, decrypt, encrypt};
use std::fmt;
use std::str::FromStr;
use std::sync::PoisonError;
use uuid::Uuid;

/// What stands before the id of an item where it is written down.
const PREFIX: &str = "vault/";

/// An item of somebody's vault, as events name it: `vault/` and an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VaultItem(Uuid);

/// It names no item of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no item of a vault; it is written vault/ and an id")]
pub struct NoVaultItem;

impl fmt::Display for VaultItem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{PREFIX}{}", self.0)
    }
}

impl FromStr for VaultItem {
    type Err = NoVaultItem;

    fn from_str(text: &str) -> Result<Self, NoVaultItem> {
        let id = text.strip_prefix(PREFIX).ok_or(NoVaultItem)?;
        id.parse().map(Self).map_err(|_| NoVaultItem)
    }
}

impl KeyRing {
    /// Keeps a value in a person's vault. It is on disk before this returns.
    ///
    /// # Errors
    /// [`KeyError::Erased`] for whoever was erased: nothing can be kept for them any more.
    pub async fn keep(
        &self,
        tenant: Uuid,
        subject: Uuid,
        value: &[u8],
    ) -> Result<VaultItem, KeyError> {
        let marked = [tenant.as_bytes(), subject.as_bytes(), value].concat();
        let mark = self.blind("vault", &marked);
        // A value that is known costs no call. After an erasure elsewhere the id leads nowhere.
        let known = self.vaulted.lock().unwrap_or_else(PoisonError::into_inner).get(&mark).copied();
        if let Some(item) = known {
            return Ok(VaultItem(item));
        }
        let key = self.key_for_sealing(tenant, subject).await?;
        let proposed = Uuid::now_v7();
        let sealed = encrypt(&key, &bound(tenant, subject, &mark), value)?;
        let kept: Option<Uuid> =
            sqlx::query_scalar("select event_log.keep_in_vault($1, $2, $3, $4, $5)")
                .bind(tenant)
                .bind(subject)
                .bind(proposed)
                .bind(mark.as_slice())
                .bind(sealed)
                .fetch_one(self.pool())
                .await?;
        let item = kept.ok_or(KeyError::Erased { subject })?;
        let mut vaulted = self.vaulted.lock().unwrap_or_else(PoisonError::into_inner);
        if vaulted.len() >= CACHE_KEYS_MAX {
            vaulted.clear();
        }
        vaulted.insert(mark, item);
        Ok(VaultItem(item))
    }

    /// Opens an item of a person's vault; erased when it is not there any more.
    ///
    /// # Errors
    /// [`KeyError::Damaged`] when what is there was changed.
    pub async fn look_up(
        &self,
        tenant: Uuid,
        subject: Uuid,
        item: VaultItem,
    ) -> Result<Opened, KeyError> {
        let row: Option<Kept> = sqlx::query_as(
            "select v.mark, v.sealed, k.wrapped
               from event_log.subject_vault v join event_log.subject_key k using (tenant, subject)
              where v.tenant = $1 and v.subject = $2 and v.item = $3",
        )
        .bind(tenant)
        .bind(subject)
        .bind(item.0)
        .fetch_optional(self.pool())
        .await?;
        let Some((mark, sealed, Some(wrapped))) = row else {
            return Ok(Opened::Erased);
        };
        let key = self.unwrap(tenant, subject, &wrapped)?;
        decrypt(&key, &bound(tenant, subject, &mark), &sealed)
            .map(Opened::Clear)
            .ok_or(KeyError::Damaged { subject })
    }
}

/// An item's mark, what is sealed, and its person's key as it is wrapped.
type Kept = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

/// What a sealed item is bound to: its person and its mark, so that it cannot be moved.
fn bound(tenant: Uuid, subject: Uuid, mark: &[u8]) -> Vec<u8> {
    [&binding("vault", tenant, subject), mark].concat()
}

#[cfg(test)]
mod tests {
    use super::VaultItem;

    #[test]
    fn an_item_is_read_as_it_is_written_and_an_address_is_none() {
        let text = "vault/01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(text.parse::<VaultItem>().map(|item| item.to_string()).as_deref(), Ok(text));
        for other in ["127.0.0.1", "vault/", "vault/1", "01890a5d-ac96-774b-bcce-b302099a8057"] {
            assert!(other.parse::<VaultItem>().is_err(), "{other}");
        }
    }
}
