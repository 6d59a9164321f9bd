//! A provider of institutional login on this machine, which can be made to lie.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use acequia_types::Digest;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Response, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

use crate::NOW;

/// A key that signs tokens.
#[derive(Clone)]
pub(crate) struct SignKey {
    key: SigningKey,
    kid: String,
}

impl SignKey {
    pub(crate) fn new(number: u8) -> Self {
        Self { key: SigningKey::from_slice(&[number; 32]).unwrap(), kid: format!("key-{number}") }
    }

    pub(crate) fn jwk(&self) -> Value {
        let point = self.key.verifying_key().to_sec1_point(false);
        let bytes = point.as_bytes();
        json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid,
            "x": URL_SAFE_NO_PAD.encode(&bytes[1..33]), "y": URL_SAFE_NO_PAD.encode(&bytes[33..]),
        })
    }

    /// Signed with ES256, whatever the header says.
    pub(crate) fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(header), part(claims));
        let signature: Signature = self.key.sign(input.as_bytes());
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": "ES256", "kid": self.kid })
    }
}

/// How a token is signed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    Well,
    WithAnotherKey,
    WithAnotherKeyOfTheSameName,
    NotAtAll,
    /// HS256, with the public key as the secret.
    WithThePublicKey,
    /// Good, but the header asks for something unknown.
    Critical,
}

/// How the provider answers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    Well,
    WithoutEnd,
    Never,
    Elsewhere,
    Nonsense,
}

type Change = Box<dyn Fn(&mut Value) + Send>;

struct Code {
    subject: String,
    nonce: String,
    challenge: String,
}

pub(crate) struct Lies {
    pub(crate) claims: Change,
    pub(crate) metadata: Change,
    pub(crate) userinfo: Change,
    pub(crate) sign: Sign,
    pub(crate) manner: Manner,
    pub(crate) key: SignKey,
    codes: BTreeMap<String, Code>,
    subjects: BTreeMap<String, String>,
}

pub(crate) struct Provider {
    pub(crate) issuer: String,
    pub(crate) state: Arc<Mutex<Lies>>,
}

fn answer(status: StatusCode, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = status;
    response
}

impl Provider {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(Lies {
            claims: Box::new(|_| {}),
            metadata: Box::new(|_| {}),
            userinfo: Box::new(|_| {}),
            sign: Sign::Well,
            manner: Manner::Well,
            key: SignKey::new(1),
            codes: BTreeMap::new(),
            subjects: BTreeMap::new(),
        }));
        let app = Router::new().fallback(serve).with_state((issuer.clone(), Arc::clone(&state)));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { issuer, state }
    }

    /// What the browser comes back with after the person signed in.
    pub(crate) fn authorise(&self, location: &str, subject: &str) -> String {
        let url = url::Url::parse(location).unwrap();
        let fields: BTreeMap<String, String> = url.query_pairs().into_owned().collect();
        assert_eq!((fields["response_type"].as_str(), fields["code_challenge_method"].as_str()), ("code", "S256"));
        assert_eq!(fields["redirect_uri"], "http://localhost:8080/login/callback");
        assert!(fields["scope"].split(' ').any(|scope| scope == "openid"));
        let code = Digest::of(fields["state"].as_bytes()).short(20);
        let known = Code {
            subject: subject.to_owned(),
            nonce: fields["nonce"].clone(),
            challenge: fields["code_challenge"].clone(),
        };
        self.state.lock().unwrap().codes.insert(code.clone(), known);
        format!(
            "/login/callback?code={code}&state={}&iss={}",
            fields["state"],
            url::form_urlencoded::byte_serialize(self.issuer.as_bytes()).collect::<String>()
        )
    }
}

async fn serve(State((issuer, state)): State<(String, Arc<Mutex<Lies>>)>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let manner = state.lock().unwrap().manner;
    match (manner, path.as_str()) {
        (Manner::Well, _) | (_, "/.well-known/openid-configuration" | "/jwks") => {}
        (Manner::WithoutEnd, _) => {
            let piece =
                || std::future::ready(Some((Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 1 << 16])), ())));
            let stream = futures_util::stream::unfold((), move |()| piece());
            return Response::new(Body::from_stream(stream));
        }
        (Manner::Never, _) => std::future::pending::<()>().await,
        (Manner::Elsewhere, _) => {
            let mut response = answer(StatusCode::TEMPORARY_REDIRECT, &Value::Null);
            response.headers_mut().insert("location", "http://127.0.0.1:9/".parse().unwrap());
            return response;
        }
        (Manner::Nonsense, _) => return Response::new(Body::from("no JSON")),
    }
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let mut state = state.lock().unwrap();
    match path.as_str() {
        "/.well-known/openid-configuration" => {
            let mut told = json!({
                "issuer": issuer, "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"), "jwks_uri": format!("{issuer}/jwks"),
                "userinfo_endpoint": format!("{issuer}/userinfo"), "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": true,
            });
            (state.metadata)(&mut told);
            answer(StatusCode::OK, &told)
        }
        "/jwks" => answer(StatusCode::OK, &json!({ "keys": [state.key.jwk()] })),
        "/token" => {
            let fields: BTreeMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
            let refused = || answer(StatusCode::BAD_REQUEST, &json!({ "error": "invalid_grant" }));
            let expected = format!("Basic {}", STANDARD.encode("acequia:a+secret%3A+with+%25"));
            if authorization.as_deref() != Some(expected.as_str()) {
                return refused();
            }
            let Some(code) = state.codes.remove(&fields["code"]) else { return refused() };
            let verifier = Digest::of(fields["code_verifier"].as_bytes());
            if URL_SAFE_NO_PAD.encode(verifier.as_bytes()) != code.challenge {
                return refused();
            }
            let token = format!("at-{}", code.nonce);
            let half = Digest::of(token.as_bytes());
            let mut claims = json!({
                "iss": issuer, "sub": code.subject, "aud": "acequia", "nonce": code.nonce, "iat": NOW, "exp": NOW + 300,
                "at_hash": URL_SAFE_NO_PAD.encode(&half.as_bytes()[..16]),
            });
            (state.claims)(&mut claims);
            let key = state.key.clone();
            let mut header = key.header();
            let id_token = match state.sign {
                Sign::Well => key.sign_with(&header, &claims),
                Sign::WithAnotherKey => {
                    let other = SignKey::new(99);
                    other.sign_with(&other.header(), &claims)
                }
                Sign::WithAnotherKeyOfTheSameName => SignKey::new(99).sign_with(&header, &claims),
                Sign::NotAtAll => {
                    header["alg"] = json!("none");
                    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
                    format!("{}.{}.", part(&header), part(&claims))
                }
                Sign::WithThePublicKey => hs256(&key, &claims),
                Sign::Critical => {
                    header["crit"] = json!(["b64"]);
                    key.sign_with(&header, &claims)
                }
            };
            state.subjects.insert(token.clone(), code.subject);
            answer(StatusCode::OK, &json!({ "access_token": token, "token_type": "Bearer", "id_token": id_token }))
        }
        "/userinfo" => {
            let token = authorization.unwrap_or_default();
            let Some(subject) = state.subjects.get(token.trim_start_matches("Bearer ")) else {
                return answer(StatusCode::UNAUTHORIZED, &Value::Null);
            };
            let mut told = json!({
                "sub": subject, "name": format!("Prof. {subject}"), "eduperson_scoped_affiliation": ["faculty@uni.example"],
            });
            (state.userinfo)(&mut told);
            answer(StatusCode::OK, &told)
        }
        _ => answer(StatusCode::NOT_FOUND, &Value::Null),
    }
}

/// A token for which the public key was taken as the secret of HS256.
pub(crate) fn hs256(key: &SignKey, claims: &Value) -> String {
    let jwk = key.jwk();
    let header = json!({ "alg": "HS256", "kid": jwk["kid"] });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", part(&header), part(claims));
    let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, jwk.to_string().as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(ring::hmac::sign(&secret, input.as_bytes())))
}
