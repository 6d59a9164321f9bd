//! `serve`: the hub on a port.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::failure::{Failure, io};
use crate::home::Node;

/// How often a serving node looks for versions published by other commands.
const LOOK_EVERY: Duration = Duration::from_secs(2);

impl Node {
    /// Serves until `stop` is ready; `ready` is told the address, which matters when the port was 0.
    ///
    /// # Errors
    /// [`crate::NodeError::Io`] when the port cannot be taken; a published version that does not verify.
    pub async fn serve(
        self,
        address: SocketAddr,
        ready: impl FnOnce(SocketAddr),
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), Failure> {
        let shelves = self.catalogue().await?;
        let listener =
            tokio::net::TcpListener::bind(address).await.map_err(io(format!("the address {address}"), "opened"))?;
        let bound = listener.local_addr().map_err(io("the address", "read"))?;
        let router = acequia_hub::router(Arc::clone(&shelves) as Arc<dyn acequia_hub::Catalogue>);
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
        let served = axum::serve(listener, router).with_graceful_shutdown(stop).await;
        watch.abort();
        Ok(served.map_err(io("the connection", "served"))?)
    }
}
