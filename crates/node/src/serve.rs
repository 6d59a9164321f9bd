//! `serve`: the hub on a port.

use std::future::IntoFuture;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::failure::{Failure, NodeError, io};
use crate::home::Node;

/// How often a serving node looks for versions published by other commands.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How long downloads may go on after the node was told to stop.
const LAST_DOWNLOADS: Duration = Duration::from_secs(5);

impl Node {
    /// Serves until `stop` is ready; `ready` is told the address, which matters when the port was 0. `public_address` is given
    /// out instead of the reader's `Host`, for a node behind a proxy. Downloads under way get a few seconds to finish.
    ///
    /// # Errors
    /// [`crate::NodeError::Address`] when the port cannot be taken; a published version that does not verify.
    pub async fn serve(
        self,
        address: SocketAddr,
        public_address: Option<&str>,
        ready: impl FnOnce(SocketAddr),
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Failure> {
        let shelves = self.catalogue().await?;
        let taken = |error: std::io::Error| NodeError::Address { address: address.to_string(), kind: error.kind() };
        let listener = tokio::net::TcpListener::bind(address).await.map_err(taken)?;
        let bound = listener.local_addr().map_err(io("the address", "read"))?;
        let catalogue = Arc::clone(&shelves) as Arc<dyn acequia_hub::Catalogue>;
        let router = match public_address {
            Some(public) => acequia_hub::router_at(catalogue, public)?,
            None => acequia_hub::router(catalogue),
        };
        let node = Arc::new(self);
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
        ready(bound);
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
        Ok(served.map_err(io("the connection", "served"))?)
    }
}
