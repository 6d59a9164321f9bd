//! `serve`: the hub on a port.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use acequia_hub::Catalogue;
use acequia_portal::House;
use acequia_vault::Texts;

use crate::failure::{Failure, NodeError, io};
use crate::home::Node;
use crate::progress::Silent;
use crate::settings::Settings;

/// How often a serving node looks for versions published by other commands.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often uploads of deposits that no commit took are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(3600);

/// How long downloads may go on after the node was told to stop.
const LAST_DOWNLOADS: Duration = Duration::from_secs(5);

/// Where a node is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Address and port.
    pub bound: SocketAddr,
    /// `https://host` or `http://localhost:port` with the pages of those who gave; `None` where they are not served.
    pub donors: Option<String>,
    /// Where members ask for the catalogue; `None` where they may not.
    pub catalogue: Option<SocketAddr>,
}

impl Node {
    /// The pages of those who gave, in front of the hub.
    fn portal(self: &Arc<Self>, origin: &str, hub: axum::Router) -> Result<axum::Router, Failure> {
        let mut languages: Vec<String> = Texts::languages().map(str::to_owned).collect();
        let own = std::fs::read_dir(self.home.join("texts")).into_iter().flatten().flatten();
        let own = own.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".ftl").map(str::to_owned));
        let mut own: Vec<String> = own.filter(|language| !languages.contains(language)).collect();
        own.sort();
        languages.extend(own);
        let node = Arc::clone(self);
        let house = House {
            desk: self.desk(),
            store: self.store.clone(),
            clock: Arc::clone(&self.clock),
            trustee: Settings::read(&self.home)?.trustee(),
            signer: Arc::new(self.signature()),
            // Texts of the node that cannot be read keep nobody from withdrawing.
            texts: Box::new(move |language| node.texts(language).unwrap_or_else(|_| Texts::of(language))),
            languages,
            origin: origin.to_owned(),
        };
        Ok(acequia_portal::router(house, hub)?)
    }

    /// Serves until `stop` is ready; `ready` is told the address, which matters when the port was 0. `public_address` is given
    /// out instead of the reader's `Host`, for a node behind a proxy. Downloads under way get a few seconds to finish.
    ///
    /// The pages of those who gave are those of the public address, or of `localhost` without one: passkeys are bound to a name. Where
    /// the public address is not HTTPS they are not served.
    ///
    /// # Errors
    /// [`crate::NodeError::Address`] when the port cannot be taken; a published version that does not verify.
    pub async fn serve(
        self,
        address: SocketAddr,
        public_address: Option<&str>,
        ready: impl FnOnce(Serving),
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Failure> {
        let donors = match public_address {
            Some(public) => public.starts_with("https://").then(|| public.trim_end_matches('/').to_owned()),
            None => Some(String::new()),
        };
        let shelves = self.catalogue(donors.is_some()).await?;
        let asked = self.open_catalogue().await?;
        let sync_minutes = Settings::read(&self.home)?.network().sync_minutes;
        let taken = |error: std::io::Error| NodeError::Address { address: address.to_string(), kind: error.kind() };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(taken)?;
        let bound = listener.local_addr().map_err(io("the address", "read"))?;
        let catalogue = Arc::clone(&shelves) as Arc<dyn Catalogue>;
        let router = match public_address {
            Some(public) => acequia_hub::router_at(catalogue, public)?,
            None => acequia_hub::router(catalogue),
        };
        let node = Arc::new(self);
        let donors =
            donors.map(|origin| if origin.is_empty() { format!("http://localhost:{}", bound.port()) } else { origin });
        let router = match &donors {
            Some(origin) => node.portal(origin, router)?,
            None => router,
        };
        let deposits = Arc::new(node.deposits()?);
        let on_shelf = Arc::clone(&shelves);
        let published: acequia_deposit::Published =
            Arc::new(move |artefact, name| on_shelf.shelf().holds(artefact, name));
        let router = acequia_deposit::router(Arc::clone(&deposits), published, public_address, router)?;
        let own = match public_address {
            Some(public) => public.trim_end_matches('/').to_owned(),
            None => format!("http://localhost:{}", bound.port()),
        };
        let router = node.access(Arc::clone(&shelves) as Arc<dyn Catalogue>, &own, router)?;
        let sweep = {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                loop {
                    if let Err(failure) = node.sweep_deposits(&deposits).await {
                        tracing::warn!(code = %failure.code, "uploads cannot be swept: {}", failure.message);
                    }
                    tokio::time::sleep(SWEEP_EVERY).await;
                }
            })
        };
        let watch = {
            let (node, shelves) = (Arc::clone(&node), Arc::clone(&shelves));
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(LOOK_EVERY).await;
                    if let Err(failure) = node.refresh(&shelves).await {
                        tracing::warn!(code = %failure.code, "published versions cannot be read anew: {}", failure.message);
                    }
                }
            })
        };
        let catalogue = asked.as_ref().and_then(|(network, _)| network.addresses().first().copied());
        let members = asked.map(|(network, identity)| {
            let desk = node.catalogue_desk(&network, &identity, &shelves);
            (
                tokio::spawn({
                    let network = network.clone();
                    async move { desk.serve(&network).await }
                }),
                network,
            )
        });
        let asks = sync_minutes.map(|minutes| {
            let node = Arc::clone(&node);
            let every = Duration::from_secs(u64::from(minutes.get()) * 60);
            tokio::spawn(async move {
                loop {
                    match node.sync_catalogues(&[], &Silent).await {
                        // Problems are in the log already, or only say that somebody is away.
                        Ok(report) => tracing::info!(
                            neighbours = report.neighbours.len(),
                            mirrors = report.mirrors.mirrored,
                            "neighbours were asked"
                        ),
                        Err(failure) => {
                            tracing::warn!(code = %failure.code, "neighbours cannot be asked: {}", failure.message)
                        }
                    }
                    tokio::time::sleep(every).await;
                }
            })
        });
        ready(Serving { bound, donors, catalogue });
        let (stopping, stopped) = tokio::sync::oneshot::channel();
        let stop = async {
            stop.await;
            // Nobody waits for the answer when serving ended by itself.
            let _ = stopping.send(());
        };
        let late = async {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::time::sleep(LAST_DOWNLOADS).await;
        };
        let served = tokio::select! {
            served = axum::serve(listener, router).with_graceful_shutdown(stop).into_future() => served,
            () = late => Ok(()),
        };
        watch.abort();
        if let Some(asks) = asks {
            asks.abort();
        }
        if let Some((desk, network)) = members {
            network.close().await;
            desk.abort();
        }
        sweep.abort();
        Ok(served.map_err(io("the connection", "served"))?)
    }
}
