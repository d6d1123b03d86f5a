//! Texts with rules: codes, model names and free text of bounded length.

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

/// Reads a value that is written as a JSON string; a JSON number is refused. The text is parsed
/// where it stands: usage is decoded by the million, and a copy of each text would cost as much as
/// the rest.
pub(super) fn from_text<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr,
    T::Err: fmt::Display,
{
    struct Parsed<T>(PhantomData<T>);

    impl<T> Visitor<'_> for Parsed<T>
    where
        T: FromStr,
        T::Err: fmt::Display,
    {
        type Value = T;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a string")
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_str(Parsed(PhantomData))
}

/// A short name that people type: `professional`, `llm_tokens_input`, `tts_enabled`.
///
/// 1 to 64 characters of `a-z`, `0-9`, `_` and `-`, beginning with a letter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(Arc<str>);

/// Why a text is no [`Code`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a code; use 1 to 64 of a-z, 0-9, _ and -, beginning with a letter")]
pub struct CodeError {
    text: String,
}

impl FromStr for Code {
    type Err = CodeError;

    fn from_str(text: &str) -> Result<Self, CodeError> {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
        };
        let begins = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        if begins && text.len() <= 64 && text.bytes().all(allowed) {
            Ok(Self(text.into()))
        } else {
            Err(CodeError { text: text.chars().take(80).collect() })
        }
    }
}

/// The name of a model as its price list writes it: `gpt-4o`, `mistral/mistral-small-latest`.
///
/// 1 to 200 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(Arc<str>);

impl FromStr for ModelName {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        if text.is_empty() || text.len() > 200 || !text.bytes().all(|byte| byte.is_ascii_graphic())
        {
            return Err(TextError { what: "a model name", least: 1, most: 200 });
        }
        Ok(Self(text.into()))
    }
}

/// Free text of a person: a reason, a reference, a name. 1 to 500 characters, none of control.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Text(Arc<str>);

/// Why a text is too short, too long, or has characters that cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has {least} to {most} characters, none of them a control character")]
pub struct TextError {
    what: &'static str,
    least: usize,
    most: usize,
}

impl FromStr for Text {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let count = text.chars().count();
        if count == 0 || count > 500 || text.chars().any(char::is_control) {
            return Err(TextError { what: "a text", least: 1, most: 500 });
        }
        Ok(Self(text.into()))
    }
}

macro_rules! textual {
    ($($name:ident),*) => {$(
        impl $name {
            /// As text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                from_text(deserializer)
            }
        }
    )*};
}

textual!(Code, ModelName, Text);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_short_and_plain() {
        assert!("llm_tokens_input".parse::<Code>().is_ok());
        for text in ["", "Pro", "1st", "a b", "a/b", &"a".repeat(65)] {
            assert!(text.parse::<Code>().is_err(), "{text:?} was taken for a code");
        }
    }

    #[test]
    fn text_of_a_person_has_no_control_characters() {
        assert!("paid by transfer, ref. 4711".parse::<Text>().is_ok());
        assert!("line\nbreak".parse::<Text>().is_err());
        assert!("".parse::<Text>().is_err());
    }
}
