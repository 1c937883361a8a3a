//! socketioxide on axum.

use serde_json::Value;
use socketioxide::{
    SocketIo,
    extract::{Data, SocketRef},
};

async fn on_connect(socket: SocketRef, io: SocketIo) {
    socket.on("echo", async |s: SocketRef, Data::<Value>(arg)| {
        s.emit("echo", &arg).ok();
    });
    socket.on("bcast", async move |Data::<Value>(arg)| {
        io.emit("bcast", &arg).await.ok();
    });
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port = std::env::args().nth(1).ok_or("usage: peer PORT")?;
    let (layer, io) = SocketIo::new_layer();
    io.ns("/", on_connect);
    let app = axum::Router::new().layer(layer);
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app).await?;
    Ok(())
}
