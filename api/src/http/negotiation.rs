//! Which media type an answer has, and whether a body has one that is read.

use axum::http::{HeaderMap, header};

/// The media types of a GraphQL answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MediaType {
    /// `application/graphql-response+json`: the status says what happened.
    GraphqlResponse,
    /// `application/json`: 200 for whatever is GraphQL.
    Json,
}

impl MediaType {
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::Json => "application/json; charset=utf-8",
        }
    }
}

/// The type to answer with; `None` when neither of ours is acceptable.
pub(crate) fn accepted(headers: &HeaderMap) -> Option<MediaType> {
    let mut given = headers.get_all(header::ACCEPT).iter().peekable();
    if given.peek().is_none() {
        return Some(MediaType::Json);
    }
    let mut best: Option<(u16, MediaType)> = None;
    for range in given.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')) {
        let Some((weight, media)) = range_of(range) else { continue };
        // The first of the heaviest wins.
        if weight > 0 && best.is_none_or(|(heaviest, _)| weight > heaviest) {
            best = Some((weight, media));
        }
    }
    best.map(|(_, media)| media)
}

/// A media range of ours with its weight in thousandths.
fn range_of(range: &str) -> Option<(u16, MediaType)> {
    let mut parts = range.split(';').map(str::trim);
    let media = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/graphql-response+json" => MediaType::GraphqlResponse,
        "application/json" | "application/*" | "*/*" => MediaType::Json,
        _ => return None,
    };
    let mut weight = 1_000;
    for parameter in parts {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => weight = thousandths(value.trim())?,
            "charset" if !is_utf8(value) => return None,
            _ => {}
        }
    }
    Some((weight, media))
}

/// `0.85` as 850.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    if part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part: u16 = format!("{part:0<3}").parse().ok()?;
    let whole: u16 = whole.parse().ok()?;
    whole.checked_mul(1_000)?.checked_add(part).filter(|weight| *weight <= 1_000)
}

fn is_utf8(value: &str) -> bool {
    matches!(value.trim().trim_matches('"').to_ascii_lowercase().as_str(), "utf-8" | "utf8")
}

/// Whether a body is JSON in UTF-8. Nothing else is ever read: a form that another site sends
/// cannot be JSON, so that this also keeps foreign pages out.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Some(given) = given else { return false };
    let mut parts = given.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default();
    media.eq_ignore_ascii_case("application/json")
        && parts.all(|parameter| match parameter.split_once('=') {
            Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => is_utf8(value),
            Some(_) | None => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn accepts(text: &'static str) -> Option<MediaType> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(text));
        accepted(&headers)
    }

    #[test]
    fn the_heaviest_range_of_ours_wins_and_the_first_of_equals() {
        use MediaType::{GraphqlResponse, Json};
        assert_eq!(accepted(&HeaderMap::new()), Some(Json));
        assert_eq!(accepts("*/*"), Some(Json));
        assert_eq!(
            accepts("application/graphql-response+json, application/json;q=0.9"),
            Some(GraphqlResponse)
        );
        assert_eq!(
            accepts("application/graphql-response+json;q=0.1, application/json"),
            Some(Json)
        );
        assert_eq!(accepts("text/html, */*;q=0.8"), Some(Json));
        assert_eq!(accepts("text/html"), None);
        assert_eq!(accepts("application/json;q=0"), None);
        assert_eq!(accepts("application/json; charset=utf-16"), None);
    }

    #[test]
    fn only_json_in_utf_8_is_read() {
        let is = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
            is_json(&headers)
        };
        assert!(is("application/json") && is("application/json; charset=UTF-8"));
        assert!(!is_json(&HeaderMap::new()));
        for bad in ["text/plain", "multipart/form-data", "application/json; charset=latin1"] {
            assert!(!is(bad), "{bad}");
        }
    }
}
