//! The operator's word that opens the gate. Only on the admin socket.

use crate::{ApiContext, problem::Problem};
use axum::{Json, extract::State, http::StatusCode};
use serde::Deserialize;
use tally_core::{Gate, log::HeldLog};
use tally_driver::Mail;
use tokio::sync::oneshot;

/// Longest reason, in characters.
const REASON_MAX: usize = 300;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenGate {
    reason: String,
}

pub(super) async fn open(
    State(api): State<ApiContext>,
    Json(asked): Json<OpenGate>,
) -> Result<Json<serde_json::Value>, Problem> {
    let reason: String = asked.reason.trim().chars().filter(|c| !c.is_control()).take(REASON_MAX).collect();
    if reason.is_empty() {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "reason", "say why the gate is to be opened"));
    }
    let before = api.mailbox.view();
    let held = before.log(before.own()).map_or(0, HeldLog::size);
    let known = if let Gate::Fetching(known) = before.gate() { *known } else { held };
    let (reply, answer) = oneshot::channel();
    api.mailbox.send(Mail::OpenGate { reason, reply }).await.map_err(|_| Problem::stopping())?;
    match answer.await.map_err(|_| Problem::stopping())? {
        Ok(()) => Ok(Json(serde_json::json!({ "open": true, "held": held, "known": known }))),
        Err(why) => Err(Problem::new(StatusCode::CONFLICT, "gate", &why)),
    }
}
