//! Connections between members: QUIC by iroh, with both keys proven in the handshake. Whoever is not in the roster is not heard.
//!
//! Nobody else's relays, name services or port mappings are used: members dial the addresses of the roster, and relays only
//! where the roster names some of the network's own. Over one connection either side asks, and the other answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use iroh::endpoint::{Connection, QuicTransportConfig, RecvStream, SendStream, presets};
use iroh::{Endpoint, EndpointAddr, RelayMode, RelayUrl};
use tokio::sync::{Notify, mpsc};

use crate::error::NetError;
use crate::identity::{Identity, MemberKey};
use crate::message::{Frame, MESSAGE_BYTES_MAX};
use crate::relay::{believed_authorities, trouble};
use crate::roster::{Member, Roster};

/// What is spoken over a connection. Members of another version are refused in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// A coordinator asks sites and aggregators.
    Run,
    /// Sites among themselves.
    Peers,
    /// A member asks another what it published, and for that.
    Catalogue,
}

impl Protocol {
    /// Its name, with its version.
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Run => b"acequia/run/3",
            Self::Peers => b"acequia/peers/2",
            Self::Catalogue => b"acequia/catalogue/1",
        }
    }
}

/// Between two times that a member is asked once more.
pub(crate) const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(if cfg!(test) { 8 } else { 20 });
/// Between two looks whether a relay is reached.
const RELAYS_EVERY: Duration = Duration::from_secs(15);

/// This node's end of the network.
#[derive(Clone)]
pub struct Network {
    endpoint: Endpoint,
    identity: Identity,
    roster: Arc<Roster>,
    own: Member,
    /// Where it meets others.
    relays: Vec<RelayUrl>,
    traffic: Arc<Traffic>,
}

/// Bytes of messages, without what QUIC adds.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    pub(crate) sent: AtomicU64,
    pub(crate) received: AtomicU64,
    /// Connections so far.
    links: AtomicU64,
}

/// A connection to a member.
#[derive(Clone)]
pub struct Link {
    connection: Connection,
    member: String,
    /// Which one it is of this process.
    number: u64,
    traffic: Arc<Traffic>,
}

/// A question that came in.
pub struct Incoming {
    /// Who asks.
    pub from: String,
    send: SendStream,
    receive: RecvStream,
    traffic: Arc<Traffic>,
}

impl Network {
    /// Opens the endpoint of the member that `identity` is in the roster. Without `listen` it only dials out.
    ///
    /// # Errors
    /// [`NetError::NotAMember`] or [`NetError::Bind`].
    pub async fn open(identity: &Identity, roster: Arc<Roster>, listen: Option<SocketAddr>) -> Result<Self, NetError> {
        let relays = roster.document().relay_urls();
        Self::bind(identity, roster, listen, relays, false).await
    }

    /// As [`Network::open`], with no way to anybody but the relays of the roster.
    #[cfg(test)]
    pub(crate) async fn open_by_relay(identity: &Identity, roster: Arc<Roster>) -> Result<Self, NetError> {
        let relays = roster.document().relay_urls();
        Self::bind(identity, roster, None, relays, true).await
    }

    /// As [`Network::open`], for catalogues, which go over no relay: a relay knows one process of a member, and that is its site.
    ///
    /// # Errors
    /// As of [`Network::open`].
    pub async fn open_for_catalogues(
        identity: &Identity,
        roster: Arc<Roster>,
        listen: Option<SocketAddr>,
    ) -> Result<Self, NetError> {
        Self::bind(identity, roster, listen, Vec::new(), false).await
    }

    /// The key that this end proves.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    async fn bind(
        identity: &Identity,
        roster: Arc<Roster>,
        listen: Option<SocketAddr>,
        relays: Vec<RelayUrl>,
        only_relays: bool,
    ) -> Result<Self, NetError> {
        let key = identity.key();
        let own = roster
            .of_key(&key)
            .ok_or_else(|| NetError::NotAMember { who: format!("the key {key}"), role: "a member" })?
            .clone();
        let address = listen.map_or_else(|| "any port".to_owned(), |address| address.to_string());
        let failed = |reason: String| NetError::Bind { address: address.clone(), reason };
        let relay_mode =
            if relays.is_empty() { RelayMode::Disabled } else { RelayMode::custom(relays.iter().cloned()) };
        let transport = QuicTransportConfig::builder().keep_alive_interval(Duration::from_secs(5)).build();
        let mut builder = Endpoint::builder(presets::Minimal)
            .secret_key(identity.secret())
            .transport_config(transport)
            .ca_tls_config(believed_authorities(roster.document()))
            .relay_mode(relay_mode);
        if only_relays {
            builder = builder.clear_ip_transports();
        }
        if let Some(listen) = listen {
            builder = builder.clear_ip_transports().bind_addr(listen).map_err(|error| failed(error.to_string()))?;
        }
        let endpoint = builder.bind().await.map_err(|error| failed(format!("{error:#}")))?;
        if !relays.is_empty() {
            tokio::spawn(watch_relays(endpoint.clone(), relays.clone()));
        }
        let identity = identity.clone();
        Ok(Self { endpoint, identity, roster, own, relays, traffic: Arc::default() })
    }

    /// This member.
    pub fn own(&self) -> &Member {
        &self.own
    }

    /// The roster.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.endpoint.bound_sockets()
    }

    /// Bytes of all messages that were sent and received.
    pub fn traffic_bytes(&self) -> (u64, u64) {
        (self.traffic.sent.load(Ordering::Relaxed), self.traffic.received.load(Ordering::Relaxed))
    }

    fn link(&self, connection: Connection, member: &str) -> Link {
        let number = self.traffic.links.fetch_add(1, Ordering::Relaxed);
        Link { connection, member: member.to_owned(), number, traffic: Arc::clone(&self.traffic) }
    }

    /// Dials a member.
    ///
    /// # Errors
    /// [`NetError::Unreachable`].
    pub async fn dial(&self, member: &Member, protocol: Protocol) -> Result<Link, NetError> {
        let unreachable = |reason: String| NetError::Unreachable { member: member.name.clone(), reason };
        let mut address = EndpointAddr::new(member.key.0);
        let (addresses, relays) = match protocol {
            Protocol::Run | Protocol::Peers => (member.addresses.as_slice(), self.relays.as_slice()),
            Protocol::Catalogue => (member.catalogue.as_slice(), [].as_slice()),
        };
        for text in addresses {
            // A name that is not known today may be known again when it is dialled next.
            if let Ok(found) = tokio::net::lookup_host(text.as_str()).await {
                found.for_each(|found| address.addrs.extend([iroh::TransportAddr::Ip(found)]));
            }
        }
        for relay in relays {
            address = address.with_relay_url(relay.clone());
        }
        if address.is_empty() {
            return Err(unreachable("none of its addresses is known".to_owned()));
        }
        let dialled = tokio::time::timeout(HANDSHAKE, self.endpoint.connect(address, protocol.name())).await;
        let reason = match dialled {
            Ok(Ok(connection)) => return Ok(self.link(connection, &member.name)),
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "it does not answer".to_owned(),
        };
        // Where the way to it goes over a relay, the trouble may be this end's.
        let trouble = trouble(&self.endpoint, relays).await;
        Err(unreachable([Some(reason), trouble].into_iter().flatten().collect::<Vec<_>>().join("; ")))
    }

    /// Members that dial in to speak this, until the endpoint is closed. Strangers are turned away; a slow handshake keeps nobody
    /// else out.
    pub fn listen(&self, protocol: Protocol) -> mpsc::Receiver<Link> {
        self.endpoint.set_alpns(vec![protocol.name().to_vec()]);
        let (give, take) = mpsc::channel(64);
        let network = self.clone();
        tokio::spawn(async move {
            while let Some(incoming) = network.endpoint.accept().await {
                let Ok(accepting) = incoming.accept() else { continue };
                let (network, give) = (network.clone(), give.clone());
                tokio::spawn(async move {
                    let Ok(Ok(connection)) = tokio::time::timeout(HANDSHAKE, accepting).await else { return };
                    let Some(member) = network.roster.of_key(&MemberKey(connection.remote_id())) else {
                        tracing::warn!("a key that is not in the roster was turned away");
                        connection.close(1u32.into(), b"not in the roster");
                        return;
                    };
                    let _ = give.send(network.link(connection, &member.name)).await;
                });
            }
        });
        take
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.endpoint.close().await;
    }
}

/// Says, once, that no relay is reached, and why, since members dial again and again without a word.
async fn watch_relays(endpoint: Endpoint, relays: Vec<RelayUrl>) {
    let mut said = None;
    loop {
        tokio::select! {
            () = endpoint.closed() => return,
            () = tokio::time::sleep(RELAYS_EVERY) => {}
        }
        let found = trouble(&endpoint, &relays).await;
        match &found {
            Some(trouble) if said != found => tracing::warn!("{trouble}"),
            None if said.is_some() => tracing::warn!("a relay is reached again"),
            _ => {}
        }
        said = found;
    }
}

impl Link {
    /// Name of the member at the other end.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// Tells it from every other connection of this process.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether the connection is closed.
    pub fn is_closed(&self) -> bool {
        self.connection.close_reason().is_some()
    }

    /// The connection itself, for tests that keep to no rules.
    #[cfg(test)]
    pub(crate) fn raw(&self) -> &Connection {
        &self.connection
    }

    /// Ends it.
    pub(crate) fn close(&self, reason: &'static str) {
        self.connection.close(1u32.into(), reason.as_bytes());
    }

    fn lost(&self, reason: impl std::fmt::Display) -> NetError {
        NetError::Unreachable { member: self.member.clone(), reason: reason.to_string() }
    }

    /// The next question of the other end; `None` once the connection is closed.
    pub async fn next(&self) -> Option<Incoming> {
        let (send, receive) = self.connection.accept_bi().await.ok()?;
        Some(Incoming { from: self.member.clone(), send, receive, traffic: Arc::clone(&self.traffic) })
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// [`NetError::Unreachable`].
    pub async fn ask(&self, frame: &Frame) -> Result<Vec<u8>, NetError> {
        self.ask_for(frame, MESSAGE_BYTES_MAX).await
    }

    /// As [`Link::ask`], with an answer of so many bytes at most.
    pub(crate) async fn ask_for(&self, frame: &Frame, bytes_max: usize) -> Result<Vec<u8>, NetError> {
        let (send, receive) = self.connection.open_bi().await.map_err(|error| self.lost(error))?;
        self.exchange(send, receive, frame, bytes_max).await
    }

    async fn exchange(
        &self,
        mut send: SendStream,
        mut receive: RecvStream,
        frame: &Frame,
        bytes_max: usize,
    ) -> Result<Vec<u8>, NetError> {
        write_whole(&mut send, frame).await.map_err(|error| self.lost(error))?;
        self.traffic.sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
        let answer = read_whole(&mut receive, bytes_max).await.map_err(|reason| self.lost(reason))?;
        self.traffic.received.fetch_add(answer.len() as u64, Ordering::Relaxed);
        Ok(answer)
    }
}

/// Sends a message: how long it is (four bytes, the first one the highest), and the message.
async fn write_whole(send: &mut SendStream, frame: &Frame) -> std::io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(std::io::Error::other)?;
    let [head, numbers] = frame.pieces();
    send.write_all_chunks(&mut [Bytes::copy_from_slice(&length.to_be_bytes()), head, numbers]).await?;
    Ok(send.finish()?)
}

/// Receives a message. It says how long it is, so that it needs no more room than that.
async fn read_whole(receive: &mut RecvStream, bytes_max: usize) -> Result<Vec<u8>, &'static str> {
    const BROKEN: &str = "it breaks off";
    let mut length = [0; 4];
    receive.read_exact(&mut length).await.map_err(|_| BROKEN)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err("it is too long");
    }
    let mut bytes = Vec::with_capacity(length);
    while let Some(piece) = receive.read_chunk(length + 1 - bytes.len()).await.map_err(|_| BROKEN)? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > length {
            return Err("it is longer than it says");
        }
    }
    if bytes.len() == length { Ok(bytes) } else { Err(BROKEN) }
}

impl Incoming {
    /// The question, as bytes.
    ///
    /// # Errors
    /// [`NetError::Message`] when it is too long or breaks off.
    pub(crate) async fn read(&mut self) -> Result<Vec<u8>, NetError> {
        self.read_up_to(MESSAGE_BYTES_MAX).await
    }

    /// As [`Incoming::read`], of so many bytes at most.
    ///
    /// # Errors
    /// [`NetError::Message`] when it is too long or breaks off.
    pub(crate) async fn read_up_to(&mut self, bytes_max: usize) -> Result<Vec<u8>, NetError> {
        let broken = |reason| NetError::Message { from: self.from.clone(), reason };
        let bytes = read_whole(&mut self.receive, bytes_max).await.map_err(broken)?;
        self.traffic.received.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Answers. Whether it arrived shows when the other end asks again, or does not.
    pub async fn answer(mut self, frame: &Frame) {
        if write_whole(&mut self.send, frame).await.is_ok() {
            self.traffic.sent.fetch_add(frame.len() as u64, Ordering::Relaxed);
        }
    }
}

/// Connections of sites, newest last. Of two sites that dial one another at once, two may stay.
#[derive(Default)]
pub(crate) struct Switchboard {
    links: Mutex<BTreeMap<String, Vec<Link>>>,
    pub(crate) changed: Notify,
}

impl Switchboard {
    pub(crate) fn put(&self, link: Link) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let of_site = links.entry(link.member().to_owned()).or_default();
        of_site.retain(|link| !link.is_closed());
        of_site.push(link);
        drop(links);
        self.changed.notify_waiters();
    }

    pub(crate) fn get(&self, site: &str) -> Option<Link> {
        let links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        links.get(site)?.iter().rfind(|link| !link.is_closed()).cloned()
    }

    async fn wait(&self, site: &str) -> Link {
        loop {
            let changed = self.changed.notified();
            match self.get(site) {
                Some(link) => return link,
                // A connection may close without a new one; so look again now and then.
                None => drop(tokio::time::timeout(ASK_AGAIN, changed).await),
            }
        }
    }

    /// Asks until there is an answer. A connection that is lost is no answer: the site dials in again.
    pub(crate) async fn ask(&self, site: &str, frame: &Frame, within: Duration) -> Result<Vec<u8>, NetError> {
        let silent =
            || NetError::Unreachable { member: site.to_owned(), reason: "it does not answer in time".to_owned() };
        let asked = async {
            loop {
                let link = self.wait(site).await;
                match link.ask(frame).await {
                    Ok(answer) => return answer,
                    Err(_) => tokio::time::sleep(ASK_AGAIN / 5).await,
                }
            }
        };
        tokio::time::timeout(within, asked).await.map_err(|_| silent())
    }
}
