//! One contract, kept by every database.

mod contract;
mod old;
mod postgres;

use std::path::Path;

use acequia_store::Store;
use sqlx::AnyPool;

/// A store and a connection beside it, as somebody with the database's password has one.
pub(crate) struct Both {
    pub(crate) store: Store,
    pub(crate) raw: AnyPool,
}

pub(crate) async fn both(url: &str) -> Both {
    let store = Store::connect(url).await.expect("a store");
    Both { store, raw: AnyPool::connect(url).await.expect("a connection") }
}

pub(crate) fn sqlite_url(path: &Path) -> String {
    format!("sqlite://{}?mode=rwc", path.display())
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    for (name, part) in contract::parts() {
        eprintln!("sqlite: {name}");
        part(both(&sqlite_url(&folder.path().join(format!("{name}.sqlite")))).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_keeps_the_contract() {
    let Some(server) = postgres::Server::start() else { return };
    for (name, part) in contract::parts() {
        eprintln!("postgres: {name}");
        part(both(&server.database(name)).await).await;
    }
}
