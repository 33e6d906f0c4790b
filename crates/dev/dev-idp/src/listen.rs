//! The provider on a listener of its own, for tests whose program must know the address before it starts.

use std::net::SocketAddr;

use actix_web::dev::Server;
use actix_web::{App, HttpServer};

use crate::{DevIdp, configure};

/// Listens on a free loopback port with one worker. Answers once the returned server is awaited, for example by a task.
pub fn listen(idp: &DevIdp) -> std::io::Result<(SocketAddr, Server)> {
    let idp = idp.clone();
    let server = HttpServer::new(move || App::new().configure(configure(&idp))).workers(1).disable_signals();
    let server = server.bind(("127.0.0.1", 0))?;
    let address = server.addrs().first().copied().ok_or_else(|| std::io::Error::other("no address was bound"))?;
    Ok((address, server.run()))
}
