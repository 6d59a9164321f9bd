//! Large files, as Git LFS clients send them: whole or in parts, to addresses that are good for some hours.

use std::sync::Arc;

use acequia_hub::wire::{self, Refusal};
use acequia_types::Digest;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use bytes::BytesMut;
use futures_util::StreamExt;
use serde_json::{Map, Value, json};

use super::{Asked, Front, json, refused};
use crate::capability::{Capability, Signer, What};
use crate::stow::{CHUNK_BYTES, Writer, Written};
use crate::{DepositError, DepositName, Deposits, Draft};
use acequia_access::Token;

/// Length of a part: a multiple of the chunks that bytes are sealed in.
const PART_BYTES: u64 = 4 * CHUNK_BYTES;
/// Objects that one question names.
const MOST_OBJECTS: usize = 1_000;

impl Asked<'_> {
    /// Where each object is to be sent (git-lfs, `docs/api/batch.md`; parts as the Hub has them).
    pub(super) async fn batch(&self, token: &Token, draft: &Arc<Draft>, body: Body) -> Result<Response<Body>, Refusal> {
        let body = json(body).await?;
        let malformed = |message: &str| Refusal::Malformed { message: message.to_owned() };
        if body.get("operation").and_then(Value::as_str) != Some("upload") {
            return Err(malformed("Objects are uploaded here; files are read by their addresses."));
        }
        let algorithm = body.get("hash_algo").and_then(Value::as_str).unwrap_or("sha256");
        if !matches!(algorithm, "sha256" | "sha_256") {
            return Err(malformed("Objects are known by their SHA-256."));
        }
        let objects =
            body.get("objects").and_then(Value::as_array).ok_or_else(|| malformed("The body must have `objects`."))?;
        if objects.len() > MOST_OBJECTS {
            return Err(Refusal::TooLong);
        }
        let transfers = body.get("transfers").and_then(Value::as_array);
        let offers = |wanted: &str| transfers.is_some_and(|all| all.iter().any(|transfer| transfer == wanted));
        // Some clients upload by Xet and in no other way; who offers it can.
        let (by_xet, in_parts) = (offers("xet"), offers("multipart"));
        let revision = body.get("ref").and_then(|to| to.get("name")).and_then(Value::as_str).unwrap_or("main");
        let key = draft.name().key();
        let until = Signer::until(self.deposits().now());
        let (mut told, mut some_in_parts, mut announced) = (Vec::new(), false, 0u64);
        for object in objects {
            let oid = object.get("oid").and_then(Value::as_str).and_then(|oid| Digest::parse(oid).ok());
            let (Some(oid), Some(bytes)) = (oid, object.get("size").and_then(Value::as_u64)) else {
                return Err(malformed("Every object has an oid of 64 hex digits and a size."));
            };
            let mut own = json!({ "oid": oid.to_string(), "size": bytes });
            let there = self.deposits().object(&key, &oid.to_string(), 0).await.map_err(refused)?;
            if there.is_some_and(|there| there.bytes == bytes) {
                told.push(own);
                continue;
            }
            announced = announced.saturating_add(bytes);
            match self.deposits().room(&key, bytes, announced).await {
                Ok(()) => {
                    let at = |what| {
                        let capability =
                            Capability { deposit: key.clone(), oid, bytes, what, token: token.id.clone(), until };
                        format!("{}{}", self.address, self.deposits().signer.path(&capability))
                    };
                    let parts = bytes.div_ceil(PART_BYTES);
                    own["actions"] = if by_xet {
                        self.by_xet(token, draft, revision)
                    } else if in_parts && parts > 1 {
                        some_in_parts = true;
                        let mut header = Map::new();
                        header.insert("chunk_size".to_owned(), PART_BYTES.to_string().into());
                        header.extend((1..=parts).map(|part| (part.to_string(), at(What::Part(part)).into())));
                        json!({ "upload": { "href": at(What::Complete), "header": header } })
                    } else {
                        json!({ "upload": { "href": at(What::Whole) } })
                    };
                }
                Err(error @ DepositError::Limit { .. }) => {
                    own["error"] = json!({ "code": 413, "message": error.to_string() });
                }
                Err(error) => return Err(refused(error)),
            }
            told.push(own);
        }
        let transfer = match () {
            () if by_xet => "xet",
            () if some_in_parts => "multipart",
            () => "basic",
        };
        let told = json!({ "transfer": transfer, "objects": told, "hash_algo": algorithm });
        Ok(wire::answer_at(&HeaderMap::new(), &told, None))
    }
}

/// Takes bytes in, sealing what arrived while more arrives. Holds two chunks in memory.
pub(super) async fn receive(mut writer: Writer, body: Body) -> Result<(Writer, Written), DepositError> {
    let chunk = usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX);
    let mut arriving = body.into_data_stream();
    let mut buffer = BytesMut::new();
    while let Some(piece) = arriving.next().await {
        buffer.extend_from_slice(&piece.map_err(|_| DepositError::Damaged)?);
        if buffer.len() >= chunk {
            let full = buffer.split();
            let written = tokio::task::spawn_blocking(move || writer.write(&full).map(|()| writer)).await;
            writer = written.map_err(|_| DepositError::Sealed)??;
        }
    }
    let written = tokio::task::spawn_blocking(move || {
        writer.write(&buffer)?;
        writer.finish()
    });
    written.await.map_err(|_| DepositError::Sealed)?
}

/// `PUT` of an object or a part, and `POST` that all parts are there.
pub(super) async fn upload(front: &Front, parts: &[&str], request: Request) -> Result<Response<Body>, Refusal> {
    let deposits = &front.deposits;
    let capability = deposits.signer.read(parts, deposits.now()).map_err(refused)?;
    // A token that was revoked meanwhile takes its addresses with it, and so does publishing under the name.
    let token = deposits.token_named(&capability.token).await.map_err(refused)?.filter(|token| token.write);
    let name = DepositName::parse_key(&capability.deposit).ok_or(Refusal::Repo)?;
    let seen = match &token {
        Some(token) => front.seen(token, &name).await?,
        None => None,
    };
    if seen.is_none() {
        return Err(refused(DepositError::Capability));
    }
    let expected = if capability.what == What::Complete { Method::POST } else { Method::PUT };
    if *request.method() != expected {
        return Err(Refusal::Method { allow: if capability.what == What::Complete { "POST" } else { "PUT" } });
    }
    let tag = put(deposits, &capability, request.into_body()).await.map_err(refused)?;
    let mut response = wire::content(StatusCode::OK, "application/json", "{}");
    if let Some(tag) = tag {
        wire::put(response.headers_mut(), header::ETAG, &format!("\"{tag}\""));
    }
    Ok(response)
}

async fn put(deposits: &Deposits, capability: &Capability, body: Body) -> Result<Option<String>, DepositError> {
    let Capability { deposit: key, oid, bytes, what, .. } = capability;
    let object = oid.to_string();
    let (part, first, length) = match what {
        What::Complete => {
            let _working = deposits.working().await?;
            deposits.complete(key, oid, *bytes, PART_BYTES).await?;
            return Ok(None);
        }
        What::Whole => (0, 0, *bytes),
        What::Part(part) => {
            let start = (part - 1).saturating_mul(PART_BYTES);
            let length = bytes.checked_sub(start).filter(|length| *length > 0).ok_or(DepositError::Damaged)?;
            (*part, start / CHUNK_BYTES, length.min(PART_BYTES))
        }
    };
    deposits.room(key, *bytes, length).await?;
    let _working = deposits.working().await?;
    let writer = deposits.sealed(key).await?.writer(&object, first, length);
    let writer = if part == 0 { writer.planned() } else { writer };
    let (writer, written) = receive(writer, body).await?;
    if part == 0 && written.sha256 != *oid {
        return Err(DepositError::Damaged);
    }
    let tag = written.sha256.short(32);
    deposits.keep(key, &object, part, (writer, written)).await?;
    Ok(Some(tag))
}
