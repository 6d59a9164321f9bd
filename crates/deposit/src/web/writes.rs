//! Beginning deposits, commits, tags.

use std::sync::Arc;

use acequia_gate::Artefact;
use acequia_hub::wire::{self, Fields, Refusal};
use acequia_types::Digest;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::reads::page;
use super::{Asked, forbidden, json, refused, sentence};
use crate::checks::{Finding, check_card};
use crate::commit::CommitReader;
use crate::draft::Once;
use crate::limits::is_large;
use crate::{DepositError, DepositName, Draft};
use acequia_access::Token;

/// Findings that stand in the sentence; the answer has all.
const SAID: usize = 5;
/// Files that one question before an upload names.
const MOST_FILES: usize = 10_000;

/// Longest body with which a branch is made.
const LONGEST_BRANCH_BYTES: usize = 64 << 10;

fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn malformed(message: &str) -> Refusal {
    Refusal::Malformed { message: message.to_owned() }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Characters of an idempotency key.
const LONGEST_KEY: usize = 255;

impl Asked<'_> {
    /// What the client is known by if it asks the same again.
    fn key(&self, token: &Token) -> Result<Option<Digest>, Refusal> {
        let Some(given) = self.head.headers.get("idempotency-key") else { return Ok(None) };
        let key = given.to_str().unwrap_or_default().trim();
        // The draft has it as a structured string, most clients as it is.
        let key = key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(key);
        if key.is_empty() || key.len() > LONGEST_KEY {
            return Err(malformed("An Idempotency-Key is 1 to 255 visible ASCII characters."));
        }
        Ok(Some(Once::key(&token.id, key)))
    }

    fn page(&self, name: &DepositName) -> String {
        format!("{}{}", self.address, page(name))
    }

    pub(super) async fn create(&self, token: &Token, body: Body) -> Result<Response<Body>, Refusal> {
        let body = json(body).await?;
        let artefact = match text(&body, "type") {
            "" | "model" => Artefact::Model,
            "dataset" => Artefact::Dataset,
            _ => return Err(forbidden("Data sets and models can be deposited, nothing else.")),
        };
        let stated = text(&body, "organization");
        let own = token.scopes.first().map_or("", acequia_access::Scope::namespace);
        let namespace = if stated.is_empty() { own } else { stated };
        let (namespace, name) = text(&body, "name").split_once('/').unwrap_or((namespace, text(&body, "name")));
        let name = DepositName::of(artefact, namespace, name)
            .ok_or_else(|| malformed("Names are namespace/name, of a-z, 0-9, '-', '_' and '.'."))?;
        if !token.covers(&name.name) {
            return Err(forbidden("The token does not count for this name."));
        }
        if !token.write {
            return Err(forbidden("This token reads only. Ask the trustee for one that may write."));
        }
        let url = self.page(&name);
        if (self.front.published)(artefact, &name.name) {
            return Err(Refusal::Exists(Some(url)));
        }
        match self.deposits().begin(&name, &token.id, self.key(token)?).await {
            Ok(()) => {
                let told =
                    json!({ "url": url, "name": name.name.to_string(), "id": name.name.to_string(), "private": true });
                Ok(wire::answer_at(&HeaderMap::new(), &told, None))
            }
            Err(DepositError::Exists) => Err(Refusal::Exists(Some(url))),
            Err(error) => Err(refused(error)),
        }
    }

    /// Removes a deposit for good.
    pub(super) async fn delete(&self, token: &Token, body: Body) -> Result<Response<Body>, Refusal> {
        if self.head.method != Method::DELETE {
            return Err(Refusal::Method { allow: "DELETE" });
        }
        let body = json(body).await?;
        let artefact = match text(&body, "type") {
            "" | "model" => Artefact::Model,
            "dataset" => Artefact::Dataset,
            _ => return Err(Refusal::Repo),
        };
        let stated = text(&body, "organization");
        let (namespace, name) = text(&body, "name").split_once('/').unwrap_or((stated, text(&body, "name")));
        // Who has no token for a name does not learn whether there is something of it.
        let name = DepositName::of(artefact, namespace, name).filter(|name| token.covers(&name.name));
        let name = name.ok_or(Refusal::Repo)?;
        if (self.front.published)(artefact, &name.name) {
            return Err(forbidden(
                "What is published under this name stays, and what was deposited for it. Ask the trustee.",
            ));
        }
        if !token.write {
            return Err(forbidden("This token reads only. Ask the trustee for one that may write."));
        }
        let gone = self.deposits().remove(&name, &token.id).await.map_err(refused)?;
        tracing::info!(deposit = %name, objects = gone.objects, "a deposit was removed by its holder");
        Ok(wire::answer_at(&HeaderMap::new(), &json!({ "deleted": true }), None))
    }

    /// Says what a card lacks while it is written: errors keep it from being committed, the rest from being handed in.
    pub(super) async fn validate(&self, body: Body) -> Result<Response<Body>, Refusal> {
        if self.head.method != Method::POST {
            return Err(Refusal::Method { allow: "POST" });
        }
        let body = json(body).await?;
        let artefact = if text(&body, "repoType") == "dataset" { Artefact::Dataset } else { Artefact::Model };
        let checked = check_card(artefact, text(&body, "content"));
        let say = |all: Vec<String>, end: &str| -> Value {
            all.into_iter().map(|what| json!({ "message": format!("The card {what}{end}") })).collect()
        };
        let mut warnings = say(checked.missing, ": needed before it is handed in");
        if let (Value::Array(all), Value::Array(better)) = (&mut warnings, say(checked.better, "")) {
            all.extend(better);
        }
        let told = json!({ "errors": say(checked.errors, ""), "warnings": warnings });
        Ok(wire::answer_at(&HeaderMap::new(), &told, None))
    }

    pub(super) async fn write(
        &self,
        token: &Token,
        draft: &Arc<Draft>,
        rest: &[&str],
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        let post = self.head.method == Method::POST;
        match rest {
            ["preupload", revision] if post => self.preupload(draft, revision, body).await,
            ["info", "lfs", "objects", "batch"] if post => self.batch(token, draft, body).await,
            ["commit", revision] if post => self.commit(token, draft, revision, body).await,
            ["tag", revision] if post => self.tag(token, draft, revision, body).await,
            ["branch", name @ ..] if post && !name.is_empty() => self.branch(token, draft, &name.join("/"), body).await,
            ["branch", name @ ..] if !name.is_empty() && self.head.method == Method::DELETE => {
                self.deposits().give_up(draft.name(), &name.join("/"), &token.id).await.map_err(refused)?;
                Ok(wire::content(StatusCode::OK, "application/json", "{}"))
            }
            ["branch", ..] => Err(Refusal::Method { allow: "POST, DELETE" }),
            ["discussions", ..] => {
                Err(forbidden("A deposit has no discussions and no pull requests: commit to main, or to a branch."))
            }
            ["tag", ..] => Err(forbidden("A tag stays where it is. Make the next one.")),
            ["super-squash" | "settings" | "lfs-files", ..] => {
                Err(forbidden("The history of a deposit only grows, and it stays private."))
            }
            ["preupload" | "commit" | "info", ..] => Err(Refusal::Method { allow: "POST" }),
            _ => Err(Refusal::Page),
        }
    }

    /// How each file is to be sent, and by what it is known if it is there already.
    async fn preupload(&self, draft: &Arc<Draft>, revision: &str, body: Body) -> Result<Response<Body>, Refusal> {
        use acequia_hub::wire::Snapshot as _;
        let at = draft.revision(revision).ok_or(Refusal::Revision)?;
        let body = json(body).await?;
        let files =
            body.get("files").and_then(Value::as_array).ok_or_else(|| malformed("The body must have `files`."))?;
        if files.len() > MOST_FILES {
            return Err(Refusal::TooLong);
        }
        let told: Value = files
            .iter()
            .map(|file| {
                let (path, bytes) = (text(file, "path"), file.get("size").and_then(Value::as_u64).unwrap_or(0));
                let large = is_large(path, bytes);
                let mode = if large { "lfs" } else { "regular" };
                let mut told = json!({ "path": path, "uploadMode": mode, "shouldIgnore": false });
                if let Some(there) = at.files().get(path) {
                    let oid = if at.is_large(there) { there.sha256.to_string() } else { there.git_oid.clone() };
                    told["oid"] = Value::from(oid);
                }
                told
            })
            .collect();
        Ok(wire::answer_at(&HeaderMap::new(), &json!({ "files": told, "commitOid": at.commit() }), None))
    }

    async fn commit(
        &self,
        token: &Token,
        draft: &Arc<Draft>,
        revision: &str,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        let query = Fields::parse(self.head.uri.query().unwrap_or_default());
        if query.is_true("create_pr") {
            return Err(forbidden(
                "A deposit has no pull requests: commit to main, or to a branch that you make first.",
            ));
        }
        // A commit goes on top of a branch, never of a tag or of another commit.
        if draft.tag(revision).is_some() || (is_commit(revision) && draft.revision(revision).is_some()) {
            return Err(forbidden("A commit goes on top of a branch: main, or one that you make first."));
        }
        let name = draft.name();
        let mut committing =
            self.deposits().commit(name, revision, &token.id, self.key(token)?).await.map_err(refused)?;
        let mut reader = CommitReader::default();
        let mut arriving = body.into_data_stream();
        while let Some(piece) = arriving.next().await {
            let piece = piece.map_err(|_| malformed("The commit broke off."))?;
            for (number, line) in reader.push(&piece).map_err(refused)? {
                committing.line(number, line).await.map_err(refused)?;
            }
        }
        if let Some((number, line)) = reader.finish().map_err(refused)? {
            committing.line(number, line).await.map_err(refused)?;
        }
        let commit = committing.finish().await.map_err(refused)?;
        let told = json!({
            "success": true, "commitOid": commit, "commitUrl": format!("{}/commit/{commit}", self.page(name)),
            "hookOutput": "",
        });
        Ok(wire::answer_at(&HeaderMap::new(), &told, Some(&commit)))
    }

    /// Makes a branch, at the newest commit of `main` where the client names no other.
    async fn branch(
        &self,
        token: &Token,
        draft: &Arc<Draft>,
        name: &str,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        // Clients send no body where they have nothing to say.
        let bytes = axum::body::to_bytes(body, LONGEST_BRANCH_BYTES).await.map_err(|_| Refusal::TooLong)?;
        let body: Value = match bytes.trim_ascii() {
            [] => Value::Null,
            bytes => serde_json::from_slice(bytes).map_err(|_| malformed("The body must be JSON."))?,
        };
        let starting = match text(&body, "startingPoint") {
            "" => "main",
            revision => revision,
        };
        let overwrites = body.get("overwrite").and_then(Value::as_bool).unwrap_or(false);
        if overwrites && draft.head_of(name).is_some() {
            return Err(forbidden("A branch only grows. Make another one."));
        }
        match self.deposits().branch(draft.name(), name, starting, &token.id).await {
            Ok(()) => Ok(wire::content(StatusCode::OK, "application/json", "{}")),
            Err(DepositError::Exists) => Err(Refusal::Exists(None)),
            Err(error) => Err(refused(error)),
        }
    }

    /// Hands in.
    async fn tag(
        &self,
        token: &Token,
        draft: &Arc<Draft>,
        revision: &str,
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        let body = json(body).await?;
        let (tag, message) = (text(&body, "tag"), text(&body, "message"));
        // A client that loses patience meanwhile does not undo it: who asks again gets what was found, or hears that the tag is there.
        let (deposits, name) = (Arc::clone(self.deposits()), draft.name().clone());
        let words = [revision, tag, message, &token.id].map(str::to_owned);
        let key = self.key(token)?;
        let handed = tokio::spawn(async move {
            let [revision, tag, message, by] = &words;
            deposits.hand_in(&name, revision, tag, message, (by, key)).await
        });
        match handed.await.map_err(|_| Refusal::Store)?.map_err(refused)? {
            Ok(()) => Ok(wire::content(StatusCode::OK, "application/json", "{}")),
            Err(findings) => Err(unfit(tag, &findings)),
        }
    }
}

fn unfit(tag: &str, findings: &[Finding]) -> Refusal {
    let said: Vec<String> = findings.iter().take(SAID).map(Finding::to_string).collect();
    let more = match findings.len().saturating_sub(SAID) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let message = sentence(&format!("The tag {tag} was not made: {}{more}.", said.join("; ")));
    Refusal::Unfit { message, findings: json!(findings) }
}
