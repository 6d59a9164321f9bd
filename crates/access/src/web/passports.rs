//! Interfaces for programs: passports that come in, and those that go out.

use std::sync::{Arc, PoisonError};

use acequia_hub::wire::{self, Reply};
use acequia_types::{Digest, Timestamp};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, Response, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{LONGEST_PASSPORTS_BYTES, LONGEST_SENDING, MOST_PASSES, PASS, PASS_S, Pass, Site, Stop, Visit};
use crate::readers::ReaderId;
use crate::session::random;
use acequia_hub::Reader;

/// Most passports of one request.
const MOST_PASSPORTS: usize = 8;
/// What is exchanged (RFC 8693; AAI OIDC Profile 1.2, §6).
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const PASSPORT: &str = "urn:ga4gh:params:oauth:token-type:passport";

impl Site {
    /// What others must know to check visas of this node. Nobody signs in elsewhere by it.
    pub(super) fn described(&self) -> Value {
        let at = |path: &str| format!("{}{path}", self.address);
        json!({
            "issuer": self.address,
            "jwks_uri": at("/ga4gh/jwks.json"),
            "userinfo_endpoint": at("/ga4gh/userinfo"),
            "token_endpoint": at("/ga4gh/token"),
            "token_endpoint_auth_methods_supported": ["none"],
            "grant_types_supported": [EXCHANGE],
            "response_types_supported": [],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [crate::jose::ES256],
            "scopes_supported": ["ga4gh_passport_v1"],
            "claims_supported": ["sub", "ga4gh_passport_v1"],
        })
    }

    /// Visas about what a reader promised and was granted here, as far as her token goes.
    async fn issued(&self, visit: &Visit) -> Result<(ReaderId, Vec<String>), Stop> {
        // A page of another site cannot ask with a cookie.
        let (Some(reader), Some(token)) = (&visit.reader, &visit.token) else { return Err(Stop::Unknown) };
        let (record, now) = (self.readers.record(reader).await?, self.clock.now());
        let names = record.names();
        let covered = names.iter().filter(|(_, name)| token.covers(name));
        let newest: Vec<_> = covered.filter_map(|(artefact, name)| self.versions(*artefact, name).pop()).collect();
        Ok((reader.clone(), self.issuer.visas((reader, &record), &newest, now)?))
    }

    /// `GET /ga4gh/userinfo`.
    pub(super) async fn userinfo(&self, visit: &Visit) -> Result<Reply, Stop> {
        let (reader, visas) = self.issued(visit).await?;
        Ok(Reply::json(StatusCode::OK, &json!({ "sub": reader.as_str(), "ga4gh_passport_v1": visas })))
    }

    /// `POST /ga4gh/token`: a passport for a token.
    pub(super) async fn exchange(&self, fields: &wire::Fields) -> Result<Reply, Stop> {
        let refused = |error: &str| Ok(Reply::json(StatusCode::BAD_REQUEST, &json!({ "error": error })));
        if fields.get("grant_type") != Some(EXCHANGE) {
            return refused("unsupported_grant_type");
        }
        let kinds = (fields.get("requested_token_type"), fields.get("subject_token_type"));
        if kinds != (Some(PASSPORT), Some(ACCESS_TOKEN)) {
            return refused("invalid_request");
        }
        let token = self.tokens.of_secret(fields.get("subject_token").unwrap_or_default()).await?;
        let reader = token.as_ref().and_then(|token| ReaderId::parse(token.reader.as_deref()?));
        if reader.is_none() {
            return refused("invalid_grant");
        }
        let (reader, visas) = self.issued(&Visit { token, reader, ..Visit::default() }).await?;
        let passport = self.issuer.passport(&reader, &visas, self.clock.now())?;
        let told = json!({
            "access_token": passport, "issued_token_type": PASSPORT, "token_type": "N_A", "expires_in": PASS_S,
        });
        Ok(Reply::json(StatusCode::OK, &told))
    }

    /// A question of DRS with passports in its body: the same question, of somebody who has these visas.
    pub(super) async fn passported(
        self: &Arc<Self>,
        request: Request,
        hands_out: bool,
    ) -> Result<Response<Body>, Stop> {
        let (mut head, body) = request.into_parts();
        let read = tokio::time::timeout(LONGEST_SENDING, axum::body::to_bytes(body, LONGEST_PASSPORTS_BYTES)).await;
        let Ok(Ok(body)) = read else { return Err(Stop::Long) };
        let told: Value = match body.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&body).map_err(|_| Stop::Long)?,
        };
        let mut visit = self.visit(&head.headers).await?;
        let now = self.clock.now();
        let brought = told["passports"].is_array();
        if let Some(passports) = told["passports"].as_array() {
            let mut visas = Vec::new();
            for text in passports.iter().take(MOST_PASSPORTS).filter_map(Value::as_str) {
                match self.trust.passport(&self.fetcher, text, now).await {
                    Ok(own) => visas.push(Arc::new(own)),
                    Err(error) => tracing::debug!("a passport does not count: {error}"),
                }
            }
            visit = Visit { visas, passed: true, ..Visit::default() };
        }
        let reading = self.reading(&visit).await?;
        head.method = Method::GET;
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.remove(header::CONTENT_TYPE);
        head.headers.remove(header::TRANSFER_ENCODING);
        let mut question = Request::from_parts(head, Body::empty());
        question.extensions_mut().insert(Reader(Arc::new(reading)));
        let response = self.behind.clone().oneshot(question).await.unwrap_or_else(|never| match never {});
        // A pass is for the passports that came with this question, so it does not make the next one.
        if !hands_out || !brought || response.status() != StatusCode::OK {
            return Ok(response);
        }
        // Who has passports only needs something to show where the bytes are.
        let (parts, body) = response.into_parts();
        let body = axum::body::to_bytes(body, LONGEST_PASSPORTS_BYTES).await.map_err(|_| Stop::Long)?;
        let mut told: Value = serde_json::from_slice(&body).map_err(|_| Stop::Long)?;
        let pass = self.pass(&visit.visas, now)?;
        told["headers"] = json!([format!("Authorization: Bearer {pass}")]);
        let mut response = wire::content(StatusCode::OK, "application/json", wire::json_bytes(&told));
        let length = response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.headers_mut() = parts.headers;
        response.headers_mut().remove(header::ETAG);
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        Ok(response)
    }

    fn pass(&self, visas: &super::People, now: Timestamp) -> Result<String, Stop> {
        let pass = format!("{PASS}{}", random()?);
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        if passes.len() >= MOST_PASSES {
            passes.retain(|_, pass| now <= pass.until);
        }
        if passes.len() >= MOST_PASSES {
            return Err(Stop::Full);
        }
        let until = Timestamp::from_unix_s(now.unix_s() + PASS_S);
        passes.insert(Digest::of(pass.as_bytes()), Pass { visas: visas.clone(), until });
        Ok(pass)
    }
}
