//! The parameters of a list: those that are known, each at most once.

use actix_web::{HttpRequest, web};
use domain::fields::FieldErrors;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::cursor;
use crate::http::error::ApiError;

/// How many items a page has unless the client says otherwise, and how many at most.
const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;

/// A part of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListBody<T> {
    /// What the list has here.
    pub items: Vec<T>,
    /// A cursor, if the list goes on.
    pub next: Option<String>,
}

/// The query of a request, and what is wrong with it.
#[derive(Debug)]
pub struct Query {
    pairs: Vec<(String, String)>,
    errors: FieldErrors,
}

impl Query {
    /// Decodes the query of a request. Parameters that nobody asks for are ignored.
    ///
    /// # Errors
    /// 400 if the query can't be decoded.
    pub fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(request.query_string());
        let pairs = pairs.map_err(|_| ApiError::MalformedBody("The query can't be decoded.".to_owned()))?;
        Ok(Self { pairs: pairs.into_inner(), errors: FieldErrors::default() })
    }

    /// Returns a parameter, `None` where it is missing or wrong.
    pub fn parse<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let mut values = self.pairs.iter().filter(|(other, _)| other == name).map(|(_, value)| value);
        let outcome = match (values.next()?, values.next()) {
            (value, None) => parse(value),
            _ => Err("This parameter may be given only once.".to_owned()),
        };
        outcome.map_err(|sentence| self.errors.push(name, sentence)).ok()
    }

    /// Returns `limit`: how many items of a list are wanted.
    pub fn limit(&mut self) -> i64 {
        self.limit_up_to(DEFAULT_LIMIT, MAX_LIMIT)
    }

    /// Returns `limit` where there is another default, and another bound.
    pub fn limit_up_to(&mut self, default: i64, max: i64) -> i64 {
        let parse = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            let limit = text.parse().ok().filter(|limit| digits && (1..=max).contains(limit));
            limit.ok_or_else(|| format!("A whole number from 1 to {max} is required."))
        };
        self.parse("limit", parse).unwrap_or(default)
    }

    /// Returns `after`: where the page before ended, in a list of this name.
    pub fn after<const N: usize>(&mut self, list: &str) -> Option<[i64; N]> {
        self.parse("after", |text| cursor::decode(text, list))
    }

    /// Tells whether every parameter that was asked for until now is right.
    pub fn is_good(&self) -> bool {
        self.errors.is_empty()
    }

    /// Fails if any parameter is wrong.
    ///
    /// # Errors
    /// 400 with every parameter that was asked for and is wrong.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.is_good() { Ok(()) } else { Err(self.errors.into()) }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&TestRequest::with_uri(&format!("/?{text}")).to_http_request()).expect("a query")
    }

    #[test]
    fn a_limit_is_a_number_from_1_to_200_or_an_error() {
        for (text, limit) in [
            ("", Some(50)),
            ("limit=1", Some(1)),
            ("limit=200", Some(200)),
            ("limit=%35", Some(5)),
            ("Limit=x&limits=x", Some(50)),
            ("limit=", None),
            ("limit", None),
            ("limit=0", None),
            ("limit=201", None),
            ("limit=-1", None),
            ("limit=+1", None),
            ("limit=%2B1", None),
            ("limit=1.0", None),
            ("limit=abc", None),
            ("limit=1000000000", None),
            ("limit=99999999999999999999999", None),
            ("limit=%D9%A1", None),
            ("limit=1%00", None),
            ("limit=%FF", None),
            ("limit=1&limit=1", None),
            ("limit=1;DROP TABLE stamps", None),
        ] {
            let mut query = query(&text.replace(' ', "%20"));
            let found = query.limit();
            match query.finish() {
                Ok(()) => assert_eq!(Some(found), limit, "{text}"),
                Err(ApiError::InvalidFields(errors)) => {
                    assert_eq!(limit, None, "{text}: {errors}");
                    assert!(errors.iter().map(|(field, _)| field).eq(["limit"]), "{text}: {errors}");
                }
                Err(other) => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn every_parameter_that_is_wrong_is_named() {
        let mut query = query("a=1&limit=x&b=2&a=3");
        assert_eq!(query.parse("a", |text| Ok(text.to_owned())), None);
        assert_eq!(query.parse("b", |text| Ok(text.to_owned())).as_deref(), Some("2"));
        assert_eq!(query.parse("c", |text| Ok(text.to_owned())), None);
        assert_eq!(query.limit(), 50);
        let Err(ApiError::InvalidFields(errors)) = query.finish() else { panic!("two are wrong") };
        assert!(errors.iter().map(|(field, _)| field).eq(["a", "limit"]), "{errors}");
    }
}
