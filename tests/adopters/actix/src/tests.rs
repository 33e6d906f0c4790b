use actix_web::body::to_bytes;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::test::{TestRequest, call_service, init_service};
use portal_clerk::testing::{always, pending_session, session, signed_in, signed_out};
use portal_clerk::{RequestState, TokenVerificationErrorReason};

use super::*;

const NO_TOKEN: AuthReason = AuthReason::SessionTokenAndUatMissing;
const KEYS_ARE_DOWN: AuthReason = AuthReason::Token(TokenVerificationErrorReason::RemoteJwkFailedToLoad);

async fn ask(verdict: RequestState) -> (StatusCode, HeaderMap, String) {
    let clerk: Arc<dyn RequestAuthenticator> = always(verdict);
    let service = init_service(App::new().app_data(Data::from(clerk)).service(me)).await;
    let answer = call_service(&service, TestRequest::get().uri("/me").to_request()).await;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let body = to_bytes(answer.into_body()).await.unwrap();
    (status, headers, String::from_utf8(body.to_vec()).unwrap())
}

#[actix_web::test]
async fn who_is_signed_in_is_told_the_own_id() {
    let (status, _, body) = ask(signed_in(session("user_1"))).await;
    assert_eq!((status, body.as_str()), (StatusCode::OK, "user_1"));
}

#[actix_web::test]
async fn who_is_signed_out_is_told_why() {
    let (status, _, body) = ask(signed_out(NO_TOKEN)).await;
    assert_eq!((status, body.as_str()), (StatusCode::UNAUTHORIZED, "session-token-and-uat-missing"));
}

#[actix_web::test]
async fn a_pending_session_is_not_signed_in() {
    let (status, _, body) = ask(signed_in(pending_session("user_1"))).await;
    assert_eq!((status, body.as_str()), (StatusCode::UNAUTHORIZED, "session-pending"));
}

#[actix_web::test]
async fn an_outage_is_not_a_sign_out() {
    let (status, headers, _) = ask(signed_out(KEYS_ARE_DOWN)).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(headers.get(RETRY_AFTER).unwrap(), "2");
}

#[actix_web::test]
async fn the_headers_of_the_verdict_reach_the_answer() {
    let RequestState::SignedIn { auth, .. } = signed_in(session("user_1")) else { unreachable!() };
    let headers = ["a=1", "b=2"].map(|cookie| ("set-cookie".to_owned(), cookie.to_owned())).to_vec();
    let (_, headers, _) = ask(RequestState::SignedIn { auth, headers }).await;
    assert_eq!(headers.get_all("set-cookie").count(), 2);
}
