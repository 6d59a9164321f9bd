//! `settings.toml` in the node's folder: which back ends it uses. Without the file everything is embedded.
//!
//! ```toml
//! [store]
//! url = "postgres://acequia@records.example.org/acequia"   # default: records.sqlite in the node's folder
//!
//! [blobs]
//! url = "s3://bucket/prefix"                               # default: blobs/ in the node's folder; keys: AWS_ACCESS_KEY_ID …
//!
//! [engine]                                                 # default: SQL runs in this process
//! cluster = "10.0.0.5:50050"                               # a scheduler
//! exchange = "s3://exchange/acequia"                       # folder or bucket that node, scheduler and executors share
//! patience_s = 600                                         # asks again after so long without an answer
//!
//! [trustee]                                                # as papers name it
//! name = "Trustee"
//! address = "Street 1, 10115 Berlin"
//! contact = "data@trustee.example"
//! country = "DE"
//! authority = "the supervisory authority of the country"
//!
//! [governance]
//! needs_assessment = true    # default false: a run opens nothing without an approved impact assessment of its recipe
//!
//! [network]                                                # default: nobody is told, nobody is asked
//! catalogue = true                                         # `serve` tells members what is published, and hands it out
//! listen = "0.0.0.0:7720"                                  # default: the port of the catalogue's address in the roster
//! sync_minutes = 15                                        # `serve` asks the neighbours so often
//! mirror = ["acequia/breast-cancer-survival"]              # names, or NAME@VERSION, that are mirrored when neighbours are asked
//! mirror_quota_mb = 10240                                  # at most so much of theirs is kept
//! [deposits]                                               # what outside authors may send; nobody may without a token
//! file_mb = 51200            # most MiB of one file
//! deposit_mb = 512000        # most MiB of one deposit, with all its commits
//! commit_files = 25000       # most files that one commit changes
//! keep_days = 30             # uploads that no commit took go after so many days
//!
//! [access]                                                 # default: nobody signs in, so only what is open is read
//! issuer = "https://login.example.org"                     # OpenID Connect
//! client_id = "acequia"
//! client_secret_file = "/run/secrets/acequia-login"        # or client_secret_env = "VARIABLE"; the secret itself is not written here
//! scopes = ["profile"]                                     # what is asked for beside openid
//! name = "the login of your university"                    # what the page calls it
//! [[access.visas]]                                         # whose GA4GH visas are believed
//! issuer = "https://visas.example.org"
//! keys = "https://visas.example.org/jwks.json"             # its keys: `jku` of its visas
//! ```

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acequia_access::{AccessError, Login, TrustedIssuer};
use acequia_blobs::{BlobError, BlobStore};
use acequia_custody::receipt::Controller;
use acequia_deposit::Limits;
use acequia_engine::DataFusionEngine;
use acequia_frame::Engine;
use acequia_hub::Operator;
use acequia_store::Store;
use acequia_types::{Coded, Exit};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::failure::Failure;

const LONGEST_SECRET_BYTES: u64 = 4096;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    store: StoreSettings,
    blobs: BlobSettings,
    engine: EngineSettings,
    trustee: Option<Controller>,
    governance: GovernanceSettings,
    network: NetworkSettings,
    deposits: Limits,
    access: AccessSettings,
}

/// What is told to members of the network, and taken from them.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct NetworkSettings {
    /// Whether `serve` answers members who ask for the catalogue.
    pub(crate) catalogue: bool,
    /// Where it listens; the port of the address in the roster without it.
    pub(crate) listen: Option<SocketAddr>,
    /// How often `serve` asks the neighbours; never without it.
    pub(crate) sync_minutes: Option<NonZeroU32>,
    /// Names, or names with versions, to be mirrored.
    pub(crate) mirror: Vec<String>,
    /// How much is kept of what neighbours published: manifests, and files of mirrored versions.
    pub(crate) mirror_quota_mb: u64,
}

impl Default for NetworkSettings {
    fn default() -> Self {
        Self { catalogue: false, listen: None, sync_minutes: None, mirror: Vec::new(), mirror_quota_mb: 10 << 10 }
    }
}

/// Who signs readers in, and whose visas are believed.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct AccessSettings {
    issuer: Option<String>,
    client_id: Option<String>,
    client_secret_file: Option<PathBuf>,
    client_secret_env: Option<String>,
    scopes: Option<Vec<String>>,
    name: Option<String>,
    visas: Vec<TrustedIssuer>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct GovernanceSettings {
    needs_assessment: bool,
}

/// Not `Debug`: the URL may hold a password.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct StoreSettings {
    url: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct BlobSettings {
    url: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct EngineSettings {
    cluster: Option<String>,
    exchange: Option<String>,
    patience_s: Option<u64>,
}

/// The settings cannot be used. The message gives a position, never the text.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// No TOML, or a key that is not known.
    #[error("settings.toml of the node cannot be used: row {row}")]
    Row {
        /// From 1.
        row: usize,
    },
    /// `cluster` and `exchange` belong together.
    #[error("settings.toml of the node cannot be used: [engine] has no key `{missing}`")]
    HalfACluster {
        /// Key.
        missing: &'static str,
    },
    /// The program has no cluster engine.
    #[error("settings.toml names a cluster, but this program was built without the feature `cluster`")]
    NoCluster,
}

impl Coded for SettingsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Row { .. } => "SE001",
            Self::HalfACluster { .. } => "SE002",
            Self::NoCluster => "SE003",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Row { .. } => {
                "known are [store] url, [blobs] url, [engine] cluster, exchange and patience_s, [trustee] name, address, contact, country and authority, [governance] needs_assessment, [network] catalogue, listen, sync_minutes, mirror and mirror_quota_mb, [deposits] file_mb, deposit_mb, commit_files and keep_days, [access] issuer, client_id, client_secret_file, client_secret_env, scopes, name and visas"
            }
            Self::HalfACluster { .. } => "state both keys, or neither; see docs/cluster.md",
            Self::NoCluster => "build with --features cluster, or take [engine] out; see docs/cluster.md",
        }
    }
    fn exit(&self) -> Exit {
        Exit::Usage
    }
}

impl Settings {
    pub(crate) fn read(home: &Path) -> Result<Self, Failure> {
        let path = home.join("settings.toml");
        if !path.exists() {
            return Ok(Self::default());
        }
        let bytes = acequia_blobs::read_file(&path, "settings.toml of the node", 64 * 1024)?;
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| SettingsError::Row { row: 1 })?;
        let parsed = toml::from_str(&text).map_err(|error| {
            let before = error.span().map_or(0, |span| span.start.min(text.len()));
            SettingsError::Row { row: text.as_bytes()[..before].iter().filter(|byte| **byte == b'\n').count() + 1 }
        });
        Ok(parsed?)
    }

    /// The trustee, as papers name it; where nothing is stated, they say so.
    pub(crate) fn trustee(&self) -> Controller {
        let unstated = || "not stated in settings.toml".to_owned();
        self.trustee.clone().unwrap_or_else(|| Controller {
            name: unstated(),
            address: unstated(),
            contact: unstated(),
            country: unstated(),
            authority: unstated(),
        })
    }

    /// Whether a run needs an approved impact assessment.
    pub(crate) fn needs_assessment(&self) -> bool {
        self.governance.needs_assessment
    }

    /// How much outside authors may send.
    pub(crate) fn deposits(&self) -> Limits {
        self.deposits
    }

    /// Who signs readers in; `None` where nobody does.
    ///
    /// # Errors
    /// [`AccessError::Settings`], [`AccessError::Secret`].
    pub(crate) fn login(&self, home: &Path) -> Result<Option<Login>, Failure> {
        let own = &self.access;
        let (issuer, client_id) = match (&own.issuer, &own.client_id) {
            (Some(issuer), Some(client_id)) => (issuer.clone(), client_id.clone()),
            (None, None) if own.client_secret_file.is_none() && own.client_secret_env.is_none() => return Ok(None),
            _ => return Err(AccessError::Settings { what: "issuer and client_id belong together" }.into()),
        };
        let client_secret = match (&own.client_secret_file, &own.client_secret_env) {
            (None, None) => None,
            (Some(_), Some(_)) => {
                return Err(AccessError::Settings {
                    what: "client_secret_file and client_secret_env exclude each other",
                }
                .into());
            }
            (Some(path), None) => {
                let read = acequia_blobs::read_file(&home.join(path), "the client secret", LONGEST_SECRET_BYTES);
                let text = read.ok().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok());
                Some(Zeroizing::new(text.ok_or(AccessError::Secret)?.trim().to_owned()))
            }
            (None, Some(name)) => Some(Zeroizing::new(std::env::var(name).map_err(|_| AccessError::Secret)?)),
        };
        if client_secret.as_ref().is_some_and(|secret| secret.is_empty()) {
            return Err(AccessError::Secret.into());
        }
        let passports = (!own.visas.is_empty()).then(|| "ga4gh_passport_v1".to_owned());
        let scopes =
            own.scopes.clone().unwrap_or_else(|| vec!["profile".to_owned()]).into_iter().chain(passports).collect();
        Ok(Some(Login { issuer, client_id, client_secret, scopes, name: own.name.clone() }))
    }

    /// Whose visas are believed.
    pub(crate) fn visas(&self) -> Vec<TrustedIssuer> {
        self.access.visas.clone()
    }

    /// The trustee, as the catalogue names its publisher; `None` when nothing is stated.
    pub(crate) fn operator(&self) -> Option<Operator> {
        self.trustee.as_ref().map(|own| Operator { name: own.name.clone(), contact: own.contact.clone() })
    }

    /// What is told to members of the network, and taken from them.
    pub(crate) fn network(&self) -> &NetworkSettings {
        &self.network
    }

    /// Opens the records they name.
    pub(crate) async fn store(&self, home: &Path) -> Result<Store, Failure> {
        Ok(match &self.store.url {
            Some(url) => Store::connect(url).await?,
            None => Store::open(&home.join("records.sqlite")).await?,
        })
    }

    /// Where the blobs they name lie: sealed originals, sealed work tables, published files. `owner` names the node.
    pub(crate) fn blobs(&self, home: &Path, owner: &str) -> Result<BlobStore, Failure> {
        Ok(match &self.blobs.url {
            Some(url) => connect(url, owner)?,
            None => BlobStore::open(&home.join("blobs"))?,
        })
    }

    /// The engine they name; SQL of this process runs on `threads` threads.
    pub(crate) fn engine(&self, threads: usize) -> Result<Arc<dyn Engine>, Failure> {
        match (&self.engine.cluster, &self.engine.exchange) {
            (None, None) => Ok(Arc::new(DataFusionEngine::new(threads))),
            (Some(scheduler), Some(exchange)) => cluster(scheduler, exchange, self.engine.patience_s, threads),
            (Some(_), None) => Err(SettingsError::HalfACluster { missing: "exchange" }.into()),
            (None, Some(_)) => Err(SettingsError::HalfACluster { missing: "cluster" }.into()),
        }
    }
}

/// Blobs of a bucket. Its keys are in the environment, never in a file of the node.
pub(crate) fn connect(url: &str, owner: &str) -> Result<BlobStore, BlobError> {
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    BlobStore::connect(url, owner, environment)
}

#[cfg(feature = "cluster")]
fn cluster(
    scheduler: &str,
    exchange: &str,
    patience_s: Option<u64>,
    threads: usize,
) -> Result<Arc<dyn Engine>, Failure> {
    use acequia_engine::{ClusterEngine, Exchange};
    // More parts than this machine has threads: the executors have some, too.
    let parts = threads.max(16);
    let engine = ClusterEngine::new(scheduler, Exchange::open(exchange)?, parts)?;
    Ok(Arc::new(match patience_s {
        Some(patience_s) => engine.with_patience(std::time::Duration::from_secs(patience_s.max(1))),
        None => engine,
    }))
}

#[cfg(not(feature = "cluster"))]
fn cluster(_: &str, _: &str, _: Option<u64>, _: usize) -> Result<Arc<dyn Engine>, Failure> {
    Err(SettingsError::NoCluster.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_refused_without_being_repeated() {
        let home = tempfile::tempdir().unwrap();
        assert!(Settings::read(home.path()).is_ok_and(|settings| settings.store.url.is_none()));
        let write = |text: &str| std::fs::write(home.path().join("settings.toml"), text).unwrap();
        write("[store]\nurl = \"postgres://u:secret@h/d\"\n");
        assert!(Settings::read(home.path()).is_ok_and(|settings| settings.store.url.is_some()));
        write("[store]\nurll = \"postgres://u:secret@h/d\"\n");
        let refused = Settings::read(home.path()).err().unwrap();
        assert_eq!((refused.code.as_str(), refused.message.contains("row 2")), ("SE001", true));
        assert!(!refused.message.contains("secret"));
    }

    #[test]
    fn blobs_of_an_address_that_is_none_are_refused_without_repeating_it() {
        let home = tempfile::tempdir().unwrap();
        let blobs = |text: &str| toml::from_str::<Settings>(text).unwrap().blobs(home.path(), "node");
        assert_eq!(blobs("").unwrap().place(), home.path().join("blobs").display().to_string());
        assert_eq!(blobs("[blobs]\nurl = \"s3://blobs/node\"\n").unwrap().place(), "s3://blobs/node");
        let refused = blobs("[blobs]\nurl = \"s3://key:secret@blobs\"\n").unwrap_err();
        assert_eq!((refused.code.as_str(), refused.message.contains("secret")), ("BL008", false));
    }

    #[test]
    fn limits_that_are_not_stated_stay_what_they_are() {
        let settings: Settings = toml::from_str("[deposits]\nfile_mb = 1\n").unwrap();
        assert_eq!(settings.deposits(), Limits { file_mb: 1, ..Limits::default() });
        assert!(toml::from_str::<Settings>("[deposits]\nfile = 1\n").is_err());
    }

    #[test]
    fn the_secret_of_the_login_comes_from_elsewhere() {
        let home = tempfile::tempdir().unwrap();
        let login = |text: &str| toml::from_str::<Settings>(text).unwrap().login(home.path());
        let code = |text: &str| login(text).err().map(|failure| failure.code);
        let both = "[access]\nissuer = \"https://login.example\"\nclient_id = \"a\"\n";
        assert!(login("").unwrap().is_none());
        assert!(login(both).unwrap().is_some_and(|login| login.client_secret.is_none()));
        assert_eq!(code("[access]\nissuer = \"https://login.example\"\n").as_deref(), Some("AX004"));
        assert_eq!(code(&format!("{both}client_secret_file = \"secret\"\n")).as_deref(), Some("AX005"));
        assert_eq!(code(&format!("{both}client_secret_env = \"ACEQUIA_NO_SUCH\"\n")).as_deref(), Some("AX005"));
        std::fs::write(home.path().join("secret"), "hidden\n").unwrap();
        let read = login(&format!("{both}client_secret_file = \"secret\"\n")).unwrap().unwrap();
        assert_eq!(read.client_secret.unwrap().as_str(), "hidden");
        assert!(toml::from_str::<Settings>("[access]\nclient_secret = \"in the clear\"\n").is_err());
    }

    #[test]
    fn half_a_cluster_is_refused() {
        let code = |text: &str| {
            let settings: Settings = toml::from_str(text).unwrap();
            settings.engine(1).err().map(|failure| failure.code)
        };
        assert_eq!(code(""), None);
        assert_eq!(code("[engine]\n"), None);
        assert_eq!(code("[engine]\ncluster = \"127.0.0.1:50050\"\n").as_deref(), Some("SE002"));
        assert_eq!(code("[engine]\nexchange = \"x\"\n").as_deref(), Some("SE002"));
    }
}
