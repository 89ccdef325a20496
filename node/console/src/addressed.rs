//! Whom a request over the admin socket is meant for: two nodes of one machine may be given one path by mistake.

use crate::{ApiContext, problem::Problem};
use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tally_protocol::ids::NODE_HEADER;

/// Refuses what is meant for another node before anything is done, and says in every answer which node this is.
pub(super) async fn addressed(State(api): State<ApiContext>, request: Request, next: Next) -> Response {
    let me = api.own.division;
    let meant = request.headers().get(NODE_HEADER).map(|d| String::from_utf8_lossy(d.as_bytes()).into_owned());
    let mut response = match meant.filter(|d| *d != me.to_string()) {
        None => next.run(request).await,
        Some(other) => {
            let detail = format!("this is {me}, and {other:?} is meant");
            Problem::new(StatusCode::MISDIRECTED_REQUEST, "other_node", &detail).into_response()
        }
    };
    response.headers_mut().insert(NODE_HEADER, me.code().into());
    response
}
