//! Which paths there are, and who may call which.
//!
//! Over TCP each path stands in one of four lists, and the list says who may: whoever adds a path has to decide. On the admin
//! socket are all of them and the operator's own: whoever may open the socket is the operator.

use super::{
    ApiContext, addressed, answers,
    auth::{self, Caller, Need, require},
    bundle, charter, compare, deadlines, evidence, export, gate, health, held, history, metrics, openapi,
    problem::{Problem, as_problem, without_parameters},
    questions, record, records, requests,
    serve::engage,
    tasks, tlog,
};
use axum::{
    Extension, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{Method, StatusCode},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use tally_protocol::limits::CHARTER_BYTES_MAX;

/// Paths, and what they do.
type Paths = Vec<(Method, &'static str, MethodRouter<ApiContext>)>;

/// For whoever reaches the port. Nothing here says anything of a record.
fn for_all() -> Paths {
    vec![
        (Method::GET, "/healthz", get(health::healthz)),
        (Method::GET, "/readyz", get(health::readyz)),
        (Method::GET, "/version", get(health::version)),
        (Method::GET, "/v1/openapi.json", get(openapi::document)),
        (Method::GET, "/metrics", get(metrics::metrics)),
    ]
}

/// For every token that may hand in: its handler shows each caller what is theirs.
fn of_own_rows() -> Paths {
    vec![
        (Method::POST, "/v1/records", post(records::post).layer(DefaultBodyLimit::disable())),
        (Method::GET, "/v1/answers", get(answers::list).layer(middleware::from_fn(without_parameters))),
        (Method::GET, "/v1/answers/{name}", get(answers::show)),
        (Method::GET, "/v1/questions", get(questions::list)),
        (Method::GET, "/v1/receipts", get(held::find)),
        (Method::GET, "/v1/deadlines", get(deadlines::report)),
    ]
}

/// For tokens without limits: here is told what all units hand in.
fn of_all_rows() -> Paths {
    vec![
        (Method::GET, "/v1/status", get(health::status)),
        (Method::GET, "/v1/export", get(export::export)),
        (Method::GET, "/v1/charter", get(charter::show).layer(middleware::from_fn(without_parameters))),
    ]
}

/// For tokens that may read logs.
fn of_logs() -> Paths {
    vec![(Method::GET, "/tlog/{*path}", get(tlog::serve).layer(middleware::from_fn(without_parameters)))]
}

fn router(paths: Paths) -> Router<ApiContext> {
    paths.into_iter().fold(Router::new(), |router, (_, path, handler)| router.route(path, handler))
}

/// Routes of the admin socket.
pub fn admin(api: ApiContext) -> Router {
    let operator = Router::new()
        .route("/v1/charter", post(charter::load).layer(DefaultBodyLimit::max(CHARTER_BYTES_MAX)))
        .route("/v1/authority", get(charter::authority))
        .route("/v1/answers/{name}/remove", post(answers::remove))
        .route("/v1/epoch", post(requests::ask))
        .route("/v1/lost", get(requests::lost).post(requests::acknowledge))
        .route(
            "/v1/requests",
            get(requests::list).post(requests::bring).layer(DefaultBodyLimit::max(requests::REQUEST_BYTES_MAX)),
        )
        .route("/v1/requests/{division}", post(requests::reject))
        .route("/v1/evidence", get(evidence::evidence))
        .route("/v1/history", get(history::list))
        .route("/v1/record", get(record::show))
        .route("/v1/record/list", get(record::list))
        .route("/v1/gate/open", post(gate::open))
        .route("/v1/receipts", post(held::receipts).layer(DefaultBodyLimit::max(held::IDS_BYTES_MAX)))
        .route("/v1/bundle", get(bundle::export).post(bundle::import).layer(DefaultBodyLimit::disable()))
        .route("/v1/compare", get(compare::last).post(compare::post).layer(DefaultBodyLimit::disable()))
        .route("/v1/tasks", get(tasks::list).post(tasks::add))
        .route("/v1/tasks/{id}", get(tasks::show).post(tasks::steer));
    let shared = [of_own_rows(), of_all_rows(), of_logs()].into_iter().map(router);
    let all = shared.fold(operator, Router::merge).layer(Extension(Caller::default()));
    // Whoever opens the socket is the operator, whose requests are all served to their end.
    let all = all.layer(middleware::from_fn(|request, next| engage(request, next, ())));
    let all = finished(all.layer(middleware::map_response(as_problem)), api.clone());
    all.layer(middleware::from_fn_with_state(api, addressed::addressed))
}

/// Routes over TCP. Health is open to all; everything else needs a token.
pub fn public(api: ApiContext) -> Router {
    let with = |paths, need| router(paths).layer(middleware::from_fn_with_state(need, require));
    let protected = with(of_own_rows(), Need::OwnRows)
        .merge(with(of_all_rows(), Need::AllRows))
        .merge(with(of_logs(), Need::Logs))
        .layer(middleware::from_fn_with_state(api.clone(), require_token))
        .layer(middleware::map_response(as_problem));
    finished(protected, api)
}

fn finished(routes: Router<ApiContext>, api: ApiContext) -> Router {
    let all = routes.merge(router(for_all())).fallback(not_found).method_not_allowed_fallback(wrong_method);
    all.with_state(api)
}

async fn require_token(State(api): State<ApiContext>, mut request: Request, next: middleware::Next) -> Response {
    let tokens = api.tokens.now();
    match auth::check(&tokens, request.headers()).map(Caller::of) {
        Ok(caller) => {
            // More than its share of connections may make room for others.
            let share = api.quotas.engaged.take(&caller).ok();
            request.extensions_mut().insert(caller);
            match share {
                Some(share) => engage(request, next, share).await,
                None => next.run(request).await,
            }
        }
        Err(problem) => problem.into_response(),
    }
}

async fn not_found() -> Problem {
    let paths = "/v1/records, /v1/answers, /v1/questions, /v1/receipts, /v1/deadlines, /v1/status, /v1/export, \
                 /v1/charter, /v1/openapi.json, /tlog/, /metrics, /healthz, /readyz, /version";
    Problem::new(StatusCode::NOT_FOUND, "not_found", &format!("no such path here; there are: {paths}"))
}

async fn wrong_method(method: Method) -> Problem {
    let detail = format!("{method} is not what this path is for: see /v1/openapi.json");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "wrong_method", &detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_path_over_tcp_is_described() {
        let all = [for_all(), of_own_rows(), of_all_rows(), of_logs()].into_iter().flatten();
        let named = |method: &Method, path: &str| format!("{} {path}", method.as_str().to_lowercase());
        let served: BTreeSet<String> = all.map(|(method, path, _)| named(&method, &path.replace("{*", "{"))).collect();
        let described: BTreeSet<String> = openapi::described().into_iter().map(|(m, p)| format!("{m} {p}")).collect();
        assert_eq!(served, described);
    }
}
