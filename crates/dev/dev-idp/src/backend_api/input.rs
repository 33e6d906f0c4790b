//! What callers send: queries and JSON bodies, and the errors in them.

use std::cmp::Ordering;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::error::ApiError;

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 500;

/// A query; lists are repeated names.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn of(request: &HttpRequest) -> Self {
        Self::parse(request.query_string())
    }

    fn parse(text: &str) -> Self {
        Self(form_urlencoded::parse(text.as_bytes()).into_owned().collect())
    }

    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a value is among those asked for; it is if none is asked for.
    pub(super) fn allows(&self, name: &str, value: &str) -> bool {
        let mut asked = self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value).peekable();
        asked.peek().is_none() || asked.any(|asked| asked == value)
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.one(name) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(ApiError::bad_parameter(name, format!("{name} must be true or false."))),
        }
    }

    /// One of a few words.
    pub(super) fn word(&self, name: &str, known: &[&str]) -> Result<Option<&str>, ApiError> {
        match self.one(name) {
            Some(word) if !known.contains(&word) => {
                Err(ApiError::bad_parameter(name, format!("{name} must be one of {}.", known.join(", "))))
            }
            word => Ok(word),
        }
    }

    /// The name to sort by, and whether the largest comes first.
    pub(super) fn order(&self, known: &[&'static str]) -> Result<(&'static str, bool), ApiError> {
        let asked = self.one("order_by").unwrap_or("-created_at");
        // An unescaped plus sign arrives as a space.
        let (name, descending) = match asked.strip_prefix('-') {
            Some(name) => (name, true),
            None => (asked.trim_start_matches(['+', ' ']), false),
        };
        match known.iter().find(|known| **known == name) {
            Some(name) => Ok((name, descending)),
            None => Err(ApiError::bad_parameter("order_by", format!("order_by must be one of {}.", known.join(", ")))),
        }
    }

    /// Limit and offset.
    pub(super) fn paging(&self) -> Result<(usize, usize), ApiError> {
        let limit = match self.one("limit").map(str::parse) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
            Some(_) => return Err(ApiError::bad_parameter("limit", "limit must be a number from 1 to 500.")),
        };
        let offset = match self.one("offset").map(str::parse) {
            None => 0,
            Some(Ok(offset)) => offset,
            Some(Err(_)) => return Err(ApiError::bad_parameter("offset", "offset must be a number from 0.")),
        };
        Ok((limit, offset))
    }

    /// The page of a list that is asked for, as `data` and `total_count`.
    pub(super) fn page<T>(&self, items: &[T], shape: impl FnMut(&T) -> Value) -> Result<Value, ApiError> {
        let (limit, offset) = self.paging()?;
        let page: Vec<Value> = items.iter().skip(offset).take(limit).map(shape).collect();
        Ok(json!({ "data": page, "total_count": items.len() }))
    }
}

/// Sorts by what the key says; what is equal stays in the order in which it came to be, or the reverse of it.
pub(super) fn sort<T>(items: &mut [T], descending: bool, mut order: impl FnMut(&T, &T) -> Ordering) {
    items.sort_by(&mut order);
    if descending {
        items.reverse();
    }
}

/// A JSON body with nothing in it that the endpoint does not know.
pub(super) struct Body(Map<String, Value>);

impl Body {
    pub(super) fn read(request: &HttpRequest, bytes: &[u8], known: &[&str]) -> Result<Self, ApiError> {
        if bytes.is_empty() {
            return Ok(Self(Map::new()));
        }
        let kind = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("application/json") {
            return Err(ApiError::unsupported_content_type());
        }
        let Ok(Value::Object(fields)) = serde_json::from_slice(bytes) else { return Err(ApiError::malformed_body()) };
        match fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => Err(ApiError::unknown_parameter(unknown)),
            None => Ok(Self(fields)),
        }
    }

    /// None if absent; null is an empty text.
    pub(super) fn clearable(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Null) => Ok(Some(String::new())),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(ApiError::bad_parameter(name, format!("{name} must be a text."))),
        }
    }

    /// None if absent or null.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, ApiError> {
        if self.0.get(name).is_some_and(Value::is_null) { Ok(None) } else { self.clearable(name) }
    }

    /// A text with something in it, if there is one.
    pub(super) fn filled(&self, name: &str) -> Result<Option<String>, ApiError> {
        match self.text(name)? {
            Some(text) if text.trim().is_empty() => {
                Err(ApiError::bad_parameter(name, format!("{name} must not be blank.")))
            }
            text => Ok(text),
        }
    }

    pub(super) fn required(&self, name: &str) -> Result<String, ApiError> {
        self.filled(name)?.ok_or_else(|| ApiError::missing_parameter(name))
    }

    pub(super) fn number(&self, name: &str, first: u32, last: u32) -> Result<Option<u32>, ApiError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64().and_then(|number| u32::try_from(number).ok()) {
                Some(number) if (first..=last).contains(&number) => Ok(Some(number)),
                _ => Err(ApiError::bad_parameter(name, format!("{name} must be a number from {first} to {last}."))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paging_follows_the_limits_of_the_backend_api() {
        assert_eq!(Query::parse("").paging(), Ok((10, 0)));
        assert_eq!(Query::parse("limit=500&offset=7&paginated=true").paging(), Ok((500, 7)));
        for query in ["limit=0", "limit=501", "limit=", "limit=-1", "limit=x", "offset=-1", "offset=x"] {
            assert!(Query::parse(query).paging().is_err(), "{query}");
        }
    }

    #[test]
    fn an_order_has_a_sign_and_a_known_name() {
        let order = |query: &str| Query::parse(query).order(&["created_at", "name"]);
        assert_eq!(order(""), Ok(("created_at", true)));
        assert_eq!(order("order_by=name"), Ok(("name", false)));
        assert_eq!(order("order_by=%2Bname"), Ok(("name", false)));
        assert_eq!(order("order_by=+name"), Ok(("name", false)));
        assert_eq!(order("order_by=-name"), Ok(("name", true)));
        assert!(order("order_by=size").is_err());
    }

    #[test]
    fn a_list_is_a_repeated_name() {
        let query = Query::parse("id=a&id=b");
        assert!(query.allows("id", "a") && query.allows("id", "b") && query.allows("role", "x"));
        assert!(!query.allows("id", "c"));
    }
}
