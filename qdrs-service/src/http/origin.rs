//! Where a request comes from, and whether that address may ask now.

use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

use axum::extract::Request;
use http::header::{FORWARDED, VIA};
use qdrs_core::api::{Code, Kind};

use super::{App, answer, health};
use crate::{
    limits::Wait,
    network::{Activity, Closing},
    registrar::Refusal,
};

/// The other end of the connection that a request arrived on. An extension of each request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address, or the one that a PROXY header names.
    pub address: IpAddr,
    /// What the connection is doing.
    pub activity: Arc<Activity>,
}

impl Default for Peer {
    fn default() -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), activity: Arc::default() }
    }
}

/// An extension of a request whose headers give its body two ends, or one that is none.
#[derive(Debug, Clone, Copy)]
pub struct DoublyFramed;

/// Where a request comes from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The client's address, behind whatever trusted proxies.
    pub address: IpAddr,
    /// A person or program on this computer asks, and no proxy on it.
    pub is_local: bool,
    /// The address is over its rate; until when.
    pub over: Option<Wait>,
    peer: Peer,
    /// The peer is a trusted proxy, whose connection others use as well.
    is_proxied: bool,
}

impl Origin {
    /// As the service's outermost layer has found it.
    pub fn of(request: &Request) -> Self {
        let find = || Self::new(Peer::default(), Peer::default().address, false, false);
        request.extensions().get().cloned().unwrap_or_else(find)
    }

    fn new(peer: Peer, address: IpAddr, is_proxied: bool, is_local: bool) -> Self {
        Self { address, is_local, over: None, peer, is_proxied }
    }

    /// By the connection and the headers; nothing is charged yet.
    pub(super) fn find(app: &App, request: &Request) -> Self {
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        let (headers, proxies) = (request.headers(), &app.network.trusted_proxies);
        let address = proxies.client(peer.address, headers);
        let is_passed_on =
            headers.contains_key(FORWARDED) || headers.contains_key(VIA) || headers.contains_key("x-forwarded-for");
        let is_proxied = proxies.trusts(peer.address);
        Self::new(peer, address, is_proxied, address.is_loopback() && !is_passed_on)
    }

    /// Charges the request to its address.
    ///
    /// # Errors
    /// When the address has to wait: probes and whatever bears no signature do.
    pub(super) fn charge(&mut self, app: &App, request: &Request) -> Result<(), Refusal> {
        let wait = |wait| answer::wait(Code::AddressRateLimited, wait);
        if health::is_probe(request.uri().path()) {
            return app.gate.probe(self.address).map_err(wait);
        }
        let Err(over) = app.gate.arrived(self.address) else { return Ok(()) };
        self.over = Some(over);
        let is_signed = request.headers().contains_key("signature-input") && request.uri().path().starts_with("/v1/");
        if is_signed { Ok(()) } else { Err(wait(over)) }
    }

    /// The request's signature verifies: it costs its address nothing.
    pub(super) fn verified(&self, app: &App) {
        if self.over.is_none() {
            app.gate.verified(self.address);
        }
    }

    /// The access code may ask, and within its rate: the request's connection may stay.
    pub(super) fn admitted(&self, app: &App, kind: Kind) {
        if kind == Kind::Station && !self.is_proxied && !self.peer.activity.is_verified() {
            app.slots.know(self.peer.address);
        }
        self.peer.activity.verified();
    }

    /// The address has asked too much: its connection ends, if it is its own.
    pub(super) fn hang_up(&self) -> bool {
        if !self.is_proxied {
            self.peer.activity.close(Closing::Finish);
        }
        !self.is_proxied
    }
}
