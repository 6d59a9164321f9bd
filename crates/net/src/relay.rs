//! A relay of the network's own: members who cannot reach one another directly meet there. It serves members of the roster and nobody
//! else, and knows no content: what goes through it is encrypted between the members' keys. It sees who meets whom, from which
//! addresses, when and how much.
//!
//! The protocol is iroh's. Connections are taken in here, since the server that comes with it lets strangers hold any number of them
//! open before they prove a key, and wants a port without TLS besides.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use acequia_types::Clock;
use bytes::Bytes;
use http_body_util::Empty;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use iroh::{Endpoint, EndpointId, RelayUrl, Watcher as _};
use iroh_relay::KeyCache;
use iroh_relay::http::RELAY_PROBE_PATH;
use iroh_relay::server::http_server::{BytesBody, RelayServiceWithNotify};
use iroh_relay::server::streams::MaybeTlsStream;
use iroh_relay::server::{
    Access, AccessControl, ClientRateLimit, ClientRequest, ConnectionId, Handlers, Metrics, QuicConfig, RelayService,
    Server, ServerConfig,
};
use iroh_relay::tls::{CaTlsConfig, default_provider};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;

use crate::error::NetError;
use crate::identity::MemberKey;
use crate::roster::{Members, Roster};

/// UDP port at which members ask a relay what their own address looks like from outside.
pub const DISCOVERY_PORT: u16 = iroh_relay::defaults::DEFAULT_RELAY_QUIC_PORT;

/// How long somebody may take to prove a key, from the first byte on.
const PROVES_WITHIN: Duration = Duration::from_secs(10);
/// Connections, at most, over which no key is proven yet. The others wait in the operating system.
const UNPROVEN_MAX: usize = 256;
/// Such connections of one address at most, or of one network of IPv6 (/64), so that nobody keeps others out from one place.
const UNPROVEN_OF_ONE: usize = 32;
/// Connections of one member at most. It needs one, and after a broken line a second one until the first is given up.
const CONNECTIONS_MAX: usize = 8;
/// What is taken in over one connection, in bytes a second and at once: half of a line of a gigabit.
const RATE: (NonZeroU32, NonZeroU32) = (NonZeroU32::new(64 << 20).unwrap(), NonZeroU32::new(16 << 20).unwrap());
/// Keys that are kept decoded, more than a network has members.
const KEYS_MAX: usize = 1 << 10;
/// Who asks for its address proves no key; more of them than this at once are all sent away.
const ASKING_MAX: u64 = 4096;
/// Between two looks at what strangers do.
const TICK: Duration = Duration::from_secs(1);
/// Between two lines about strangers in the log.
const STRANGERS_EVERY: Duration = Duration::from_secs(60);
/// Length of a file of certificates or of a key at most.
const PEM_BYTES_MAX: u64 = 1 << 20;
/// How long those who asked for their address have to say goodbye.
const LEAVE_WITHIN: Duration = Duration::from_secs(3);
/// How long a look at a relay's certificate may take.
const LOOK_WITHIN: Duration = Duration::from_secs(3);

/// Where and how a relay runs.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// Where members connect (TCP).
    pub address: SocketAddr,
    /// Where they ask what their own address looks like from outside (UDP), usually at [`DISCOVERY_PORT`]; without it two members
    /// who are both behind a router find no direct way to one another.
    pub discovery: Option<SocketAddr>,
    /// The certificate, and those between it and its authority (PEM).
    pub certificate: PathBuf,
    /// The certificate's key (PEM).
    pub key: PathBuf,
    /// How often files and roster are looked at again.
    pub look_every: Duration,
}

/// What went through a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relayed {
    /// Bytes that came from members.
    pub received_bytes: u64,
    /// Bytes that went on to members.
    pub sent_bytes: u64,
    /// Members that are connected.
    pub members: usize,
    /// How often a key that is not in the roster was turned away.
    pub turned_away: u64,
    /// How often somebody asked for its own address.
    pub asked: u64,
}

/// A relay that runs.
pub struct Relay {
    settings: RelaySettings,
    listener: TcpListener,
    address: SocketAddr,
    service: RelayService,
    metrics: Arc<Metrics>,
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
    door: Arc<Door>,
    discovery: tokio::sync::Mutex<Option<Server>>,
    discovery_address: Option<SocketAddr>,
    discovery_tls: rustls::ServerConfig,
    pub(crate) asking_max: u64,
    url: Mutex<String>,
}

/// The certificate that is shown, until another takes its place.
#[derive(Debug)]
struct Certificate(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

fn unusable(reason: impl Into<String>) -> NetError {
    NetError::Certificate { reason: reason.into() }
}

fn pem(path: &Path, what: &str) -> Result<Vec<u8>, NetError> {
    let kind = |error: std::io::Error| unusable(format!("the file of {what} cannot be read: {}", error.kind()));
    if std::fs::metadata(path).map_err(kind)?.len() > PEM_BYTES_MAX {
        return Err(unusable(format!("the file of {what} is longer than {PEM_BYTES_MAX} bytes")));
    }
    std::fs::read(path).map_err(kind)
}

fn read_certificate(chain: &Path, key: &Path) -> Result<CertifiedKey, NetError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&pem(chain, "the certificate")?)
        .collect::<Result<_, _>>()
        .map_err(|_| unusable("the certificate is not one in PEM"))?;
    if chain.is_empty() {
        return Err(unusable("there is none in its file, in PEM"));
    }
    let bytes = zeroize::Zeroizing::new(pem(key, "its key")?);
    let key = PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|_| unusable("there is no key in the file of its key, in PEM"))?;
    CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => unusable("the key is not that of the certificate"),
        error => unusable(error.to_string()),
    })
}

/// Whose certificates are believed about relays: those whom browsers believe, as Mozilla lists them, and those of the roster.
pub(crate) fn believed_authorities(roster: &Members) -> CaTlsConfig {
    CaTlsConfig::embedded().with_extra_roots(roster.authorities())
}

fn name_of(url: &RelayUrl) -> Option<ServerName<'static>> {
    let host = url.host_str()?;
    ServerName::try_from(host.trim_matches(['[', ']']).to_owned()).ok()
}

/// The relay of the roster whose certificate this is to its members.
fn believed_as(roster: &Members, certificate: &CertifiedKey) -> Result<String, NetError> {
    let verifier = believed_authorities(roster)
        .server_cert_verifier(default_provider())
        .map_err(|error| unusable(error.to_string()))?;
    let (own, between) = certificate.cert.split_first().ok_or_else(|| unusable("there is none"))?;
    let mut refused = None;
    for url in roster.relay_urls() {
        let Some(name) = name_of(&url) else { continue };
        match verifier.verify_server_cert(own, between, &name, &[], UnixTime::now()) {
            Ok(_) => return Ok(url.to_string()),
            Err(error) if refused.is_none() => {
                refused = Some(NetError::Unbelieved { relay: url.to_string(), reason: error.to_string() });
            }
            Err(_) => {}
        }
    }
    let message = "it names no relay, so that no member would use this one";
    Err(refused.unwrap_or_else(|| NetError::Roster { message: message.to_owned() }))
}

/// Who comes in.
struct Door {
    roster: RwLock<Arc<Roster>>,
    clock: Arc<dyn Clock>,
    /// Connections of each member.
    inside: Mutex<BTreeMap<MemberKey, usize>>,
    turned_away: AtomicU64,
    /// When strangers were last spoken of, and how many came since.
    spoken: Mutex<(Option<Instant>, u64)>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door")
    }
}

impl Door {
    fn roster(&self) -> Arc<Roster> {
        Arc::clone(&self.roster.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn inside(&self) -> MutexGuard<'_, BTreeMap<MemberKey, usize>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a key does not come in.
    fn enter(&self, key: MemberKey) -> Result<(), &'static str> {
        let roster = self.roster();
        let Some(member) = roster.of_key(&key) else {
            self.stranger();
            return Err("this key is not in the roster");
        };
        if roster.valid_on(self.clock.now().day()).is_err() {
            return Err("the last day of the roster has passed");
        }
        let mut inside = self.inside();
        let connections = inside.entry(key).or_default();
        if *connections >= CONNECTIONS_MAX {
            tracing::warn!("{} has {CONNECTIONS_MAX} connections to this relay; one more was turned away", member.name);
            return Err("this member has too many connections");
        }
        *connections += 1;
        Ok(())
    }

    /// Anybody can knock as often as he likes, and must not fill the log by it.
    fn stranger(&self) {
        self.turned_away.fetch_add(1, Ordering::Relaxed);
        let mut spoken = self.spoken.lock().unwrap_or_else(PoisonError::into_inner);
        if spoken.0.is_some_and(|at| at.elapsed() < STRANGERS_EVERY) {
            spoken.1 += 1;
            return;
        }
        let more = std::mem::take(&mut spoken.1);
        spoken.0 = Some(Instant::now());
        let before = if more > 0 { format!(" ({more} times more since it was last said)") } else { String::new() };
        tracing::warn!("a key that is not in the roster was turned away{before}");
    }
}

impl AccessControl for Door {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        match self.enter(MemberKey(request.endpoint_id())) {
            Ok(()) => Access::Allow,
            Err(reason) => Access::Deny { reason: Some(reason.to_owned()) },
        }
    }

    fn on_disconnect(&self, endpoint: EndpointId, _: ConnectionId) {
        let mut inside = self.inside();
        if let Some(connections) = inside.get_mut(&MemberKey(endpoint)) {
            *connections -= 1;
            if *connections == 0 {
                inside.remove(&MemberKey(endpoint));
            }
        }
    }
}

/// Answers to members who look which relay is the nearest.
fn handlers() -> Handlers {
    let mut handlers = Handlers::default();
    let answer = |_, response: http::response::Builder| {
        let nothing: BytesBody = Box::new(Empty::<Bytes>::new());
        Ok(response.status(http::StatusCode::OK).body(nothing)?)
    };
    handlers.insert((http::Method::GET, RELAY_PROBE_PATH), Box::new(answer));
    handlers
}

async fn discover(at: SocketAddr, tls: &rustls::ServerConfig) -> Result<Server, NetError> {
    let mut quic = QuicConfig::new(at);
    quic.server_config = Some(tls.clone());
    let mut config = ServerConfig::default();
    config.quic = Some(quic);
    let failed = |error| NetError::Bind { address: format!("{at} (UDP)"), reason: format!("{error:#}") };
    Server::spawn(config).await.map_err(failed)
}

impl Relay {
    /// Opens a relay for the members of this roster.
    ///
    /// # Errors
    /// [`NetError::Untrusted`] after the roster's last day; [`NetError::Roster`] when it names no relay; [`NetError::Certificate`] when there is
    /// no certificate with its key; [`NetError::Unbelieved`] when members would not believe it; [`NetError::Bind`] when a port is taken.
    pub async fn open(roster: Arc<Roster>, settings: RelaySettings, clock: Arc<dyn Clock>) -> Result<Self, NetError> {
        roster.valid_on(clock.now().day())?;
        let certificate = read_certificate(&settings.certificate, &settings.key)?;
        let url = believed_as(roster.document(), &certificate)?;
        let certificate = Arc::new(Certificate(RwLock::new(Arc::new(certificate))));
        let tls = rustls::ServerConfig::builder_with_provider(default_provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
        let failed = |error: std::io::Error| NetError::Bind {
            address: settings.address.to_string(),
            reason: error.kind().to_string(),
        };
        let listener = TcpListener::bind(settings.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let discovery = match settings.discovery {
            Some(at) => Some(discover(at, &tls).await?),
            None => None,
        };
        let discovery_address = discovery.as_ref().and_then(Server::quic_addr);
        let door = Arc::new(Door {
            roster: RwLock::new(roster),
            clock,
            inside: Mutex::default(),
            turned_away: AtomicU64::new(0),
            spoken: Mutex::default(),
        });
        let mut rate = ClientRateLimit::new(RATE.0);
        rate.max_burst_bytes = Some(RATE.1);
        let (cache, metrics) = (KeyCache::new(KEYS_MAX), Arc::new(Metrics::default()));
        let headers = http::HeaderMap::new();
        let service = RelayService::new(handlers(), headers, Some(rate), cache, door.clone(), Arc::clone(&metrics));
        Ok(Self {
            settings,
            listener,
            address,
            service,
            metrics,
            acceptor: TlsAcceptor::from(Arc::new(tls.clone())),
            certificate,
            door,
            discovery: tokio::sync::Mutex::new(discovery),
            discovery_address,
            discovery_tls: tls,
            asking_max: ASKING_MAX,
            url: Mutex::new(url),
        })
    }

    /// Where members connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where they ask for their own address.
    pub fn discovery_address(&self) -> Option<SocketAddr> {
        self.discovery_address
    }

    /// Which relay of the roster this is, by its certificate.
    pub fn url(&self) -> String {
        self.url.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What went through it so far.
    pub async fn relayed(&self) -> Relayed {
        let asked = self.discovery.lock().await.as_ref().map_or(0, |server| server.metrics().server.qad_incoming.get());
        Relayed {
            received_bytes: self.metrics.bytes_recv.get(),
            sent_bytes: self.metrics.bytes_sent.get(),
            members: self.door.inside().len(),
            turned_away: self.door.turned_away.load(Ordering::Relaxed),
            asked,
        }
    }

    /// Serves until it is dropped. Certificate and roster are looked at again and again: one that changed takes the place of the one
    /// before, unless members would not believe it; who left the roster is sent away.
    pub async fn serve(&self, roster: impl Fn() -> Result<Arc<Roster>, NetError>) {
        let mut look = tokio::time::interval(self.settings.look_every.max(Duration::from_millis(1)));
        let mut tick = tokio::time::interval(TICK);
        let mut accepts = pin!(self.accept());
        // A trouble is said once, not at every look.
        let mut said = None;
        loop {
            tokio::select! {
                () = &mut accepts => return,
                _ = tick.tick() => self.bound_discovery().await,
                _ = look.tick() => {
                    // The last day of the roster comes also where a newer one cannot be read.
                    let (newest, read) = match roster() {
                        Ok(newest) => (newest, Ok(())),
                        Err(error) => (self.door.roster(), Err(error)),
                    };
                    let (admitted, renewed) = (self.admit(newest), self.renew());
                    let looked = read.and(admitted).and(renewed);
                    let trouble = looked.err().map(|error| error.to_string());
                    if let Some(trouble) = trouble.as_ref().filter(|trouble| said.as_ref() != Some(*trouble)) {
                        tracing::warn!("this relay goes on as before: {trouble}");
                    }
                    said = trouble;
                }
            }
        }
    }

    /// Takes in a newer roster.
    fn admit(&self, roster: Arc<Roster>) -> Result<(), NetError> {
        let expired = roster.valid_on(self.door.clock.now().day());
        let keys: Vec<MemberKey> = self.door.inside().keys().copied().collect();
        *self.door.roster.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&roster);
        for key in keys {
            if expired.is_err() || roster.of_key(&key).is_none() {
                self.service.clients().disconnect(key.0, None);
            }
        }
        expired
    }

    /// Reads the certificate and its key again.
    fn renew(&self) -> Result<(), NetError> {
        let read = read_certificate(&self.settings.certificate, &self.settings.key)?;
        let url = believed_as(self.door.roster().document(), &read)?;
        *self.url.lock().unwrap_or_else(PoisonError::into_inner) = url;
        let mut shown = self.certificate.0.write().unwrap_or_else(PoisonError::into_inner);
        if shown.cert != read.cert {
            *shown = Arc::new(read);
            tracing::info!("the certificate of this relay was renewed");
        }
        Ok(())
    }

    async fn accept(&self) {
        let unproven = Arc::new(Semaphore::new(UNPROVEN_MAX));
        let knocking = Arc::new(Mutex::default());
        let mut tasks = tokio::task::JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            let Ok(permit) = Arc::clone(&unproven).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    if let Some(knock) = Knock::from(from.ip(), &knocking) {
                        tasks.spawn(self.prove(stream, (permit, knock)));
                    }
                }
                // No file is left to open, as a rule.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Speaks with somebody until a key is proven and let in, and no longer than [`PROVES_WITHIN`].
    fn prove(&self, stream: TcpStream, held: (OwnedSemaphorePermit, Knock)) -> impl Future<Output = ()> + Send + use<> {
        let (acceptor, service) = (self.acceptor.clone(), self.service.clone());
        async move {
            let _held = held;
            let until = tokio::time::Instant::now() + PROVES_WITHIN;
            let Ok((stream, cut)) = with_scissors(stream) else { return };
            let proven = Arc::new(Notify::new());
            let service = RelayServiceWithNotify::new(service, Arc::clone(&proven));
            let spoken = tokio::time::timeout_at(until, async {
                let stream = MaybeTlsStream::Tls(acceptor.accept(stream).await?);
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                connection.with_upgrades().await.map_err(std::io::Error::other)
            });
            if !matches!(spoken.await, Ok(Ok(()))) {
                return;
            }
            // The proof of a key goes on in a task of the service, which has no end of its own and holds this as long as it waits.
            while Arc::strong_count(&proven) > 1 {
                if tokio::time::Instant::now() >= until {
                    let _ = cut.shutdown(Shutdown::Both);
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Sends everybody away who asks for its address, when they are too many: whoever means it asks again.
    async fn bound_discovery(&self) {
        let Some(at) = self.discovery_address else { return };
        let mut discovery = self.discovery.lock().await;
        let crowded = discovery.as_ref().is_some_and(|server| {
            let metrics = &server.metrics().server;
            let gone = metrics.qad_incoming_error.get() + metrics.qad_connections_closed.get();
            metrics.qad_incoming.get().saturating_sub(gone) > self.asking_max
        });
        if crowded {
            tracing::warn!("more than {} ask this relay for their address at once; all are sent away", self.asking_max);
            // Not asked to say goodbye: that would wait for all of them.
            *discovery = None;
        }
        if discovery.is_none() {
            // The port may be free only after the tasks before are gone; the next tick tries again.
            *discovery = discover(at, &self.discovery_tls).await.ok();
        }
    }

    /// Ends it: members lose their connections to it at once, and meet at another relay if there is one.
    pub async fn close(self) {
        drop(self.listener);
        self.service.shutdown().await;
        if let Some(server) = self.discovery.into_inner() {
            let _ = tokio::time::timeout(LEAVE_WITHIN, server.shutdown()).await;
        }
    }
}

/// A connection from somewhere over which no key is proven yet.
struct Knock {
    from: IpAddr,
    all: Arc<Mutex<BTreeMap<IpAddr, usize>>>,
}

impl Knock {
    /// `None` when too many are from there already.
    fn from(address: IpAddr, all: &Arc<Mutex<BTreeMap<IpAddr, usize>>>) -> Option<Self> {
        let from = match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
            v4 => v4,
        };
        let mut counts = all.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(from).or_default();
        if *count >= UNPROVEN_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Self { from, all: Arc::clone(all) })
    }
}

impl Drop for Knock {
    fn drop(&mut self) {
        let mut counts = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.from) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.from);
            }
        }
    }
}

/// A stream, and what ends it from outside.
fn with_scissors(stream: TcpStream) -> std::io::Result<(TcpStream, std::net::TcpStream)> {
    let stream = stream.into_std()?;
    let cut = stream.try_clone()?;
    Ok((TcpStream::from_std(stream)?, cut))
}

/// Why this end has no connection to any of its relays; `None` when it has one.
pub(crate) async fn trouble(endpoint: &Endpoint, relays: &[RelayUrl]) -> Option<String> {
    let status = endpoint.home_relay_status().get();
    if relays.is_empty() || status.iter().any(iroh::endpoint::RelayStatus::is_connected) {
        return None;
    }
    let denied = status.iter().find_map(|relay| Some((relay.url(), relay.auth_denied_reason()?)));
    if let Some((url, reason)) = denied {
        return Some(format!("the relay {url} turns this node away: {reason}"));
    }
    for url in relays {
        let (tls, url) = (endpoint.tls_config().clone(), url.clone());
        let looked = tokio::task::spawn_blocking(move || look(&url, tls).map_err(|reason| (url, reason))).await;
        if let Ok(Err((url, reason))) = looked {
            return Some(format!("the relay {url} cannot be used: {reason}"));
        }
    }
    let error = status.iter().find_map(|relay| relay.last_error().map(|error| format!("{error:#}")));
    Some(error.unwrap_or_else(|| "no relay is reached yet".to_owned()))
}

/// Connects to a relay as far as its certificate.
fn look(url: &RelayUrl, tls: rustls::ClientConfig) -> Result<(), String> {
    use std::net::ToSocketAddrs as _;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(443);
    let address = (host, port).to_socket_addrs().ok().and_then(|mut found| found.next());
    let address = address.ok_or("its name is not known")?;
    let said = |error: std::io::Error| match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => error.to_string(),
        None => error.kind().to_string(),
    };
    let mut socket = std::net::TcpStream::connect_timeout(&address, LOOK_WITHIN).map_err(said)?;
    let bounded = socket.set_read_timeout(Some(LOOK_WITHIN)).and_then(|()| socket.set_write_timeout(Some(LOOK_WITHIN)));
    bounded.map_err(said)?;
    let name = name_of(url).ok_or("its name is none that a certificate can have")?;
    let mut connection = rustls::ClientConnection::new(Arc::new(tls), name).map_err(|error| error.to_string())?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket).map_err(said)?;
    }
    Ok(())
}
