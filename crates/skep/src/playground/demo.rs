//! `skep demo-web`: a page that says which task on which node answered whom.

use std::net::{Ipv6Addr, SocketAddr};
use std::process::ExitCode;

use axum::Router;
use axum::extract::ConnectInfo;
use tokio::signal::unix::{SignalKind, signal};

/// The port within the container.
pub(super) const PORT: u16 = 80;

/// Serves until it is told to end.
pub fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime.and_then(|runtime| runtime.block_on(serve())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skep demo-web: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> std::io::Result<()> {
    let listener = match tokio::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).await {
        Ok(listener) => listener,
        // A kernel without IPv6.
        Err(_) => tokio::net::TcpListener::bind(("0.0.0.0", PORT)).await?,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let pages = Router::new()
        .fallback(page)
        .into_make_service_with_connect_info::<SocketAddr>();
    // What is being answered is answered to the end.
    axum::serve(listener, pages)
        .with_graceful_shutdown(async move {
            terminate.recv().await;
        })
        .await
}

async fn page(ConnectInfo(client): ConnectInfo<SocketAddr>) -> String {
    let said = |name: &str| std::env::var(name).unwrap_or_else(|_| "unknown".to_owned());
    format!(
        "task {} on {} answers {}\n",
        said("TASK"),
        said("NODE"),
        client.ip().to_canonical()
    )
}
