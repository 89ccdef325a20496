//! Refusals that are alike for every path: said in one place, so that no path forgets one.

use crate::schema::RefusalSent;
use utoipa::{
    Modify, ToSchema as _,
    openapi::{
        Content, Ref, RefOr, Response,
        header::Header,
        schema::{ObjectBuilder, SchemaType, Type},
    },
};

/// What whoever sends a token may be told, whatever the path. A path that says more of one of them says it itself.
const REFUSALS: [(&str, &str); 5] = [
    ("400", "A parameter is not known, or cannot be (`bad_parameter`)"),
    ("401", "No token, or one that is not known (`no_token`)"),
    ("403", "The token may not (`not_allowed`)"),
    ("500", "The node cannot read what it holds, or has a fault; its operator is needed"),
    ("503", "Not now; `Retry-After` says when"),
];
/// Statuses that tell when to come again.
const LATER: [&str; 3] = ["409", "503", "507"];

/// Adds [`REFUSALS`], and that a refusal is a [`RefusalSent`].
pub(super) struct Refusals;

impl Modify for Refusals {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        for item in api.paths.paths.values_mut() {
            for (_, operation) in super::operations(item) {
                // Only what needs no token says something of its own.
                if operation.security.is_none() {
                    for (status, text) in REFUSALS {
                        let said = RefOr::T(Response::new(text));
                        operation.responses.responses.entry(status.to_owned()).or_insert(said);
                    }
                }
                for (status, response) in &mut operation.responses.responses {
                    if let RefOr::T(response) = response
                        && status.as_str() >= "400"
                    {
                        as_refusal(status, response);
                    }
                }
            }
        }
    }
}

fn as_refusal(status: &str, response: &mut Response) {
    if response.content.is_empty() {
        let schema = Ref::from_schema_name(RefusalSent::name());
        let content = Content::new(Some(schema));
        response.content.insert("application/problem+json".to_owned(), RefOr::T(content));
    }
    if LATER.contains(&status) && !response.content.contains_key("text/plain") {
        let schema = ObjectBuilder::new().schema_type(SchemaType::new(Type::Integer)).minimum(Some(1));
        let mut header = Header::new(schema);
        header.description = Some("Seconds until it may go; where that can be told".to_owned());
        response.headers.insert("Retry-After".to_owned(), RefOr::T(header));
    }
}
