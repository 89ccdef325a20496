//! Talks to a node over its admin socket.

use crate::connect;
use axum::body::{Body, Bytes};
use http_body_util::BodyExt as _;
use hyper::{HeaderMap, Request, Response, StatusCode, body::Incoming, client::conn::http1, header::HeaderValue};
use hyper_util::rt::TokioIo;
use std::path::PathBuf;
use tally_protocol::{
    ids::{Division, NODE_HEADER},
    note::Note,
    tame::tame,
};
use tally_topology::charter::Charter;

/// A node's admin socket. What another node says there is taken for no answer.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    node: Division,
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
    /// It is not the node that the configuration names.
    #[error("{}: {answered} answers there, and node.division is {wanted}: correct listen.admin, or stop the other node and \
             start this one", socket.display())]
    OtherNode {
        /// Where.
        socket: PathBuf,
        /// Who is asked.
        wanted: Division,
        /// Who answers, in its own words.
        answered: String,
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
    /// Of the socket at this path, where this node is to answer.
    pub fn new(socket: PathBuf, node: Division) -> Self {
        Self { socket, node }
    }

    /// Refuses an answer that is not this node's. A node that is told whom it is asked for refuses by itself, and does nothing.
    fn is_its(&self, heads: &HeaderMap) -> Result<(), ClientError> {
        let who = heads.get(NODE_HEADER).map(|d| String::from_utf8_lossy(d.as_bytes()).into_owned());
        if who.as_deref() == Some(&*self.node.to_string()) {
            return Ok(());
        }
        Err(ClientError::OtherNode {
            socket: self.socket.clone(),
            wanted: self.node,
            answered: who
                .map(|who| tame(&who).into_owned())
                .unwrap_or_else(|| "somebody who does not say which node it is".to_owned()),
        })
    }

    async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, ClientError> {
        request.headers_mut().insert("host", HeaderValue::from_static("node"));
        request.headers_mut().insert(NODE_HEADER, self.node.code().into());
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
        self.is_its(response.headers())?;
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
        let detail = tame(&detail).into_owned();
        let code = problem.as_ref().and_then(|p| p["code"].as_str()).unwrap_or_default().to_owned();
        Err(ClientError::Refused { status, code, detail })
    }

    /// Asks for a small document.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&self, path: &str) -> Result<Bytes, ClientError> {
        let request = Request::get(path).body(Body::empty());
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
        let request = Request::get(path).body(Body::empty());
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
        let request = Request::post(path).header("content-type", kind).body(body);
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
