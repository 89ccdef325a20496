//! Talks to a node over its admin socket.

use crate::connect;
use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use hyper::{HeaderMap, Request, Response, StatusCode, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use std::path::PathBuf;
use tally_protocol::note::Note;
use tally_topology::charter::Charter;

/// A node's admin socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("the node does not answer at {}: {why}; is `tally run` running?", socket.display())]
    Unreachable {
        /// Where.
        socket: PathBuf,
        /// The system's word.
        why: String,
    },
    /// The node said no.
    #[error("{detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Stable name.
        code: String,
        /// For people.
        detail: String,
    },
    /// The answer broke off.
    #[error("the answer broke off: {0}")]
    Broken(String),
}

impl Client {
    /// Of the socket at this path.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    async fn send(&self, request: Request<Body>) -> Result<Response<Incoming>, ClientError> {
        let unreachable = |why: String| ClientError::Unreachable { socket: self.socket.clone(), why };
        let stream = connect(&self.socket).await.map_err(|e| match e.kind() {
            std::io::ErrorKind::PermissionDenied => {
                let detail = format!("{}: only the node's own user may open it; use sudo", self.socket.display());
                ClientError::Refused { status: 403, code: "permission".into(), detail }
            }
            _ => unreachable(e.to_string()),
        })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|e| unreachable(e.to_string()))?;
        #[expect(clippy::disallowed_methods, reason = "it ends with the connection, which this request alone uses")]
        tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|e| ClientError::Broken(chain(&e)))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let problem: Option<serde_json::Value> = serde_json::from_slice(&body).ok();
        let detail = problem.as_ref().and_then(|p| p["detail"].as_str()).map_or_else(
            || format!("the node answered {status}: {}", String::from_utf8_lossy(&body)),
            |detail| match &problem.as_ref().map_or(&serde_json::Value::Null, |p| &p["done"]) {
                serde_json::Value::Null => detail.to_owned(),
                done => format!("{detail} (before that: {done})"),
            },
        );
        let code = problem.as_ref().and_then(|p| p["code"].as_str()).unwrap_or_default().to_owned();
        Err(ClientError::Refused { status, code, detail })
    }

    /// Asks for a small document.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&self, path: &str) -> Result<Bytes, ClientError> {
        let request = Request::get(path).header("host", "node").body(Body::empty());
        let response = self.send(request.map_err(|e| ClientError::Broken(e.to_string()))?).await?;
        whole(response).await
    }

    /// Asks for a stream, and hands over its pieces.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Broken`] also when `take` fails.
    pub async fn get_pieces(
        &self,
        path: &str,
        mut take: impl FnMut(&[u8]) -> std::io::Result<()>,
    ) -> Result<HeaderMap, ClientError> {
        let request = Request::get(path).header("host", "node").body(Body::empty());
        let response = self.send(request.map_err(|e| ClientError::Broken(e.to_string()))?).await?;
        let (parts, mut body) = response.into_parts();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|e| ClientError::Broken(chain(&e)))?;
            if let Some(data) = frame.data_ref() {
                take(data).map_err(|e| ClientError::Broken(e.to_string()))?;
            }
        }
        Ok(parts.headers)
    }

    /// The charter in force at the node.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn charter(&self) -> Result<Charter, ClientError> {
        let note = self.get("/v1/charter").await?;
        let text = String::from_utf8_lossy(&note);
        let text = Note::parse(&text).map_err(|e| ClientError::Broken(e.to_string()))?.text().to_owned();
        Charter::parse(&text).map_err(|e| ClientError::Broken(e.to_string()))
    }

    /// Posts a body and returns the whole answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post(&self, path: &str, body: Body) -> Result<Bytes, ClientError> {
        self.post_as("text/plain", path, body).await
    }

    /// Posts a JSON document and returns the whole answer.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn post_json(&self, path: &str, document: String) -> Result<Bytes, ClientError> {
        self.post_as("application/json", path, document.into()).await
    }

    async fn post_as(&self, kind: &str, path: &str, body: Body) -> Result<Bytes, ClientError> {
        let request = Request::post(path).header("host", "node").header("content-type", kind).body(body);
        let response = self.send(request.map_err(|e| ClientError::Broken(e.to_string()))?).await?;
        whole(response).await
    }
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = response.into_body().collect().await.map_err(|e| ClientError::Broken(chain(&e)))?;
    Ok(body.to_bytes())
}

fn chain(e: &dyn std::error::Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(s) = source {
        text = format!("{text}: {s}");
        source = s.source();
    }
    text
}
