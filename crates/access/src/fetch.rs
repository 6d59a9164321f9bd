//! Asks providers and visa issuers: short answers within a short time, from no address but the ones that the settings lead to.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use reqwest::{Client, Response, redirect};
use serde_json::Value;
use url::{Host, Url};

use crate::AccessError;
use crate::jose::{Keys, Rejected, Signed, UNKNOWN_KEY};

/// How long a whole question may take.
const LONGEST: Duration = Duration::from_secs(10);
const LONGEST_CONNECTING: Duration = Duration::from_secs(5);
/// Longest answer that is read.
const LONGEST_ANSWER_BYTES: usize = 1 << 20;
/// How long keys are kept before they are asked for again.
const KEYS_FOR: Duration = Duration::from_secs(3600);
/// How often keys are asked for at most, however many tokens name one that is not known.
const KEYS_EVERY: Duration = Duration::from_secs(3);

/// Whether something is told to this address: over HTTPS, or on this very machine.
pub(crate) fn is_safe(url: &Url) -> bool {
    match url.scheme() {
        "https" => url.host().is_some(),
        "http" => is_loopback(url),
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// An address that may be asked.
pub(crate) fn safe_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (is_safe(&url) && url.username().is_empty() && url.password().is_none()).then_some(url)
}

pub(crate) struct Fetcher {
    /// By way of a proxy where the environment names one.
    out: Client,
    /// On this very machine.
    here: Client,
}

const SILENT: AccessError = AccessError::Provider { what: "it cannot be reached, or answers too late" };
const TOO_LONG: AccessError = AccessError::Provider { what: "its answer is too long" };
const NO_JSON: AccessError = AccessError::Provider { what: "its answer is no JSON" };

impl Fetcher {
    /// # Errors
    /// [`AccessError::Provider`] when the system's certificates cannot be read.
    pub(crate) fn new() -> Result<Self, AccessError> {
        let builder = || {
            Client::builder()
                .timeout(LONGEST)
                .connect_timeout(LONGEST_CONNECTING)
                // Who sends elsewhere could send into the house.
                .redirect(redirect::Policy::none())
                .user_agent(concat!("acequia/", env!("CARGO_PKG_VERSION")))
        };
        let failed = |_| AccessError::Provider { what: "the system's certificates cannot be read" };
        Ok(Self { out: builder().build().map_err(failed)?, here: builder().no_proxy().build().map_err(failed)? })
    }

    fn client(&self, url: &Url) -> &Client {
        if is_loopback(url) { &self.here } else { &self.out }
    }

    /// The document at an address.
    pub(crate) async fn get(&self, url: &Url, bearer: Option<&str>) -> Result<Value, AccessError> {
        let request = self.client(url).get(url.clone()).header("accept", "application/json");
        let request = match bearer {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.send().await.map_err(|_| SILENT)?;
        if !response.status().is_success() {
            return Err(AccessError::Provider { what: "it refused the question" });
        }
        read(response).await
    }

    /// The answer to a form, whatever its status.
    pub(crate) async fn post(
        &self,
        url: &Url,
        basic: Option<(&str, &str)>,
        form: &str,
    ) -> Result<(bool, Value), AccessError> {
        let request = self.client(url).post(url.clone()).header("accept", "application/json");
        let request = match basic {
            Some((name, secret)) => request.basic_auth(name, Some(secret)),
            None => request,
        };
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.to_owned());
        let response = request.send().await.map_err(|_| SILENT)?;
        let good = response.status().is_success();
        Ok((good, read(response).await?))
    }
}

async fn read(mut response: Response) -> Result<Value, AccessError> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|_| SILENT)? {
        if bytes.len() + piece.len() > LONGEST_ANSWER_BYTES {
            return Err(TOO_LONG);
        }
        bytes.extend_from_slice(&piece);
    }
    serde_json::from_slice(&bytes).map_err(|_| NO_JSON)
}

#[derive(Default)]
struct Held {
    keys: Option<(Instant, std::sync::Arc<Keys>)>,
    asked: Option<Instant>,
}

/// The keys at an address, kept for an hour, and asked for again when a token names one that is not among them.
#[derive(Default)]
pub(crate) struct KeyRing(Mutex<Held>);

impl KeyRing {
    fn kept(&self) -> Option<std::sync::Arc<Keys>> {
        let held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.keys.as_ref().filter(|(at, _)| at.elapsed() < KEYS_FOR).map(|(_, keys)| std::sync::Arc::clone(keys))
    }

    async fn fetched(&self, fetcher: &Fetcher, url: &Url) -> Result<std::sync::Arc<Keys>, AccessError> {
        {
            let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if held.asked.is_some_and(|at| at.elapsed() < KEYS_EVERY) {
                return Err(AccessError::Provider { what: "no known key signed what it said" });
            }
            held.asked = Some(Instant::now());
        }
        let set = fetcher.get(url, None).await?;
        let keys = Keys::parse(&set).map_err(|Rejected(what)| AccessError::Provider { what })?;
        let keys = std::sync::Arc::new(keys);
        let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        held.keys = Some((Instant::now(), std::sync::Arc::clone(&keys)));
        Ok(keys)
    }

    /// The claims of a token that one of the keys signed.
    pub(crate) async fn verified(&self, fetcher: &Fetcher, url: &Url, text: &str) -> Result<Value, AccessError> {
        let refused = |Rejected(what)| AccessError::Provider { what };
        let parsed = || Signed::parse(text).map_err(refused);
        let first = parsed()?;
        let again = match self.kept() {
            Some(keys) => match first.verified(&keys) {
                Err(UNKNOWN_KEY) => parsed()?,
                other => return other.map_err(refused),
            },
            None => first,
        };
        let keys = self.fetched(fetcher, url).await?;
        again.verified(&keys).map_err(refused)
    }
}
