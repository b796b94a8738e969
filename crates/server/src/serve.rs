//! Accepting connections until told to stop.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use crate::router::router;
use crate::state::ServerState;

/// Serves until `stop` resolves, then refuses new connections and lets open requests
/// finish for at most `grace`.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    listener: TcpListener,
    state: Arc<ServerState>,
    stop: impl Future<Output = ()> + Send + 'static,
    grace: Duration,
) -> std::io::Result<()> {
    let stopping = Arc::new(tokio::sync::Notify::new());
    let told = Arc::clone(&stopping);
    let server = axum::serve(listener, router(state))
        .with_graceful_shutdown(async move {
            stop.await;
            told.notify_one();
        })
        .into_future();
    tokio::select! {
        result = server => result,
        () = async { stopping.notified().await; tokio::time::sleep(grace).await } => {
            tracing::warn!("open requests did not finish within {} s; closing them", grace.as_secs());
            Ok(())
        }
    }
}
