//! How values of the domain are kept in columns: whole millionths, never a floating-point number.

/// Credits as whole micro-credits.
pub(crate) mod micro_credits {
    use domain::values::Credits;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(crate) fn serialize<S: Serializer>(value: &Credits, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(value.micro())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Credits, D::Error> {
        i64::deserialize(from).map(Credits::from_micro)
    }
}

/// Dollars as whole micro-dollars.
pub(crate) mod micro_dollars {
    use domain::values::MicroDollars;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(crate) fn serialize<S: Serializer>(value: &MicroDollars, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_i64(value.micro())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<MicroDollars, D::Error> {
        i64::deserialize(from).map(MicroDollars::from_micro)
    }
}
