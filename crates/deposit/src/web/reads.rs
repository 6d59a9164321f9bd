//! Reading drafts back, with the forms that published versions are read with.

use std::sync::Arc;

use acequia_gate::Artefact;
use acequia_hub::wire::{self, Fields, Refusal, Snapshot as _};
use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::{Asked, refused};
use crate::{Draft, Snapshot};
use acequia_access::Token;

/// Longest card that is shown.
const LONGEST_CARD_BYTES: u64 = 1 << 20;
/// Longest body that names paths.
const LONGEST_PATHS_BYTES: usize = 1 << 20;

impl Asked<'_> {
    pub(super) fn whoami(&self, token: &Token) -> Response<Body> {
        let mut namespaces: Vec<&str> = token.scopes.iter().map(acequia_access::Scope::namespace).collect();
        namespaces.dedup();
        let (name, others) = namespaces.split_first().unwrap_or((&"", &[]));
        let role = if token.write { "write" } else { "read" };
        let organisations: Value =
            others.iter().map(|other| json!({ "type": "org", "name": other, "fullname": other })).collect();
        let told = json!({
            "type": "user", "id": token.id, "name": name, "fullname": token.holder, "isPro": false, "canPay": false,
            "avatarUrl": "", "orgs": organisations,
            "auth": { "type": "access_token", "accessToken": { "displayName": token.id, "role": role } },
        });
        wire::answer_at(&HeaderMap::new(), &told, None)
    }

    pub(super) async fn read(&self, draft: &Arc<Draft>, rest: &[&str], body: Body) -> Result<Response<Body>, Refusal> {
        let headers = &self.head.headers;
        let query = Fields::parse(self.head.uri.query().unwrap_or_default());
        let revision = |wanted: &str| draft.revision(wanted).ok_or(Refusal::Revision);
        match rest {
            [] => self.info(&revision("main")?, &query).await,
            ["revision", wanted] => self.info(&revision(wanted)?, &query).await,
            ["tree", wanted, folder @ ..] => {
                let at = wire::Hashed { of: &revision(wanted)?, hash: self.hashes(draft).await? };
                wire::tree(headers, &at, &folder.join("/"), &query, &self.address)
            }
            ["paths-info", wanted] if self.head.method == Method::POST => {
                let at = revision(wanted)?;
                let body = axum::body::to_bytes(body, LONGEST_PATHS_BYTES).await.map_err(|_| Refusal::TooLong)?;
                let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
                let (paths, expand) = wire::wanted_paths(kind.unwrap_or_default(), &body)?;
                let shown = wire::Hashed { of: &at, hash: self.hashes(draft).await? };
                let found = wire::paths_info(&shown, &paths, expand);
                Ok(wire::answer_at(&HeaderMap::new(), &found, Some(at.commit())))
            }
            ["refs"] => Ok(wire::answer_at(headers, &refs(draft, &query), Some(draft.head_commit()))),
            ["commits", wanted] => {
                let at = revision(wanted)?;
                Ok(wire::answer_at(headers, &commits(&at), Some(at.commit())))
            }
            ["auth-check"] => Ok(wire::content(StatusCode::OK, "text/plain; charset=utf-8", "OK")),
            ["resolve" | "raw", wanted, path @ ..] => {
                let at = revision(wanted)?;
                let path = path.join("/");
                let missing = || Refusal::Entry { commit: at.commit().to_owned() };
                let file = at.files().get(&path).ok_or_else(missing)?;
                let bytes = Arc::new(self.deposits().file(draft.name(), file).await.map_err(refused)?);
                let cache = HeaderValue::from_static("private, no-cache");
                let mut response = wire::resolve(&bytes, &at, (&path, None), cache, &self.head.method, headers).await?;
                self.tell_of_xet(&at, file, response.headers_mut()).await?;
                Ok(response)
            }
            _ => Err(Refusal::Page),
        }
    }

    async fn info(&self, at: &Snapshot, query: &Fields) -> Result<Response<Body>, Refusal> {
        let draft = at.draft();
        let card = match at.files().get("README.md").filter(|file| file.bytes <= LONGEST_CARD_BYTES) {
            Some(file) => {
                let bytes = self.deposits().file(draft.name(), file).await.map_err(refused)?;
                let read = tokio::task::spawn_blocking(move || bytes.read(0..LONGEST_CARD_BYTES)).await;
                let read = read.map_err(|_| Refusal::Store)?.map_err(refused)?;
                String::from_utf8_lossy(&read).into_owned()
            }
            None => String::new(),
        };
        let front = wire::front_matter(&card);
        let name = at.name();
        let description = "A private draft, handed in by its tags. It is no release.";
        let about = wire::About {
            name: &name,
            commit: at.commit(),
            created_at: draft.begun_at(),
            modified_at: at.made_at(),
            private: true,
            gated: Value::Bool(false),
            tags: &wire::tags(&front),
            description,
            card: Value::Object(front.clone()),
            artefact: at.artefact(),
            parameters: None,
        };
        let told = wire::info_of(&about, at, query);
        Ok(wire::answer_at(&self.head.headers, &told, Some(at.commit())))
    }
}

fn refs(draft: &Draft, query: &Fields) -> Value {
    let tags: Value = draft
        .tags()
        .iter()
        .map(|tag| json!({ "name": tag.tag, "ref": format!("refs/tags/{}", tag.tag), "targetCommit": tag.commit }))
        .collect();
    let main = json!({ "name": "main", "ref": "refs/heads/main", "targetCommit": draft.head_commit() });
    let named = |(name, commit): (&String, &String)| json!({ "name": name, "ref": format!("refs/heads/{name}"), "targetCommit": commit });
    let branches: Vec<Value> = std::iter::once(main).chain(draft.branches().iter().map(named)).collect();
    let mut refs = json!({ "branches": branches, "converts": [], "tags": tags });
    if query.is_true("include_prs") {
        refs["pullRequests"] = json!([]);
    }
    refs
}

/// Newest first. What the trustee did with a commit stands beside it.
fn commits(at: &Snapshot) -> Value {
    let told = |(made_at, commit): (acequia_types::Timestamp, &crate::Committed)| {
        let mut told = json!({
            "id": commit.commit, "title": commit.title, "message": commit.message, "date": wire::iso_ms(made_at),
            "authors": [{ "user": commit.by }],
        });
        let handed: Vec<Value> =
            at.draft().tags().iter().filter(|tag| tag.commit == commit.commit).map(|tag| json!(tag)).collect();
        if !handed.is_empty() {
            told["handedIn"] = Value::Array(handed);
        }
        told
    };
    at.until().map(told).collect()
}

/// The path of a deposit's address, as clients know repositories.
pub(super) fn page(name: &crate::DepositName) -> String {
    match name.artefact {
        Artefact::Dataset => format!("/datasets/{}", name.name),
        Artefact::Model => format!("/{}", name.name),
    }
}
