//! The address that the embedded hub serves on: whether it is there, and free while encoderd does not run.

use super::machine::listener;
use super::{Context, Finding, runs_unseen};
use std::io::ErrorKind;

const NAME: &str = "address";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    let Ok(config) = &context.config else { return Vec::new() };
    if config.cloud.is_some() {
        return Vec::new();
    }
    let address = config.hub.listen;
    let port = address.port();
    if context.status.is_some() {
        return vec![Finding::fine(NAME, format!("encoderd serves at {address}"))];
    }
    if runs_unseen(context.silence.as_ref()) {
        return Vec::new();
    }
    let change = "or set another `listen` under [hub]";
    let error = match std::net::TcpListener::bind(address) {
        Ok(_free) => return vec![Finding::fine(NAME, format!("{address} is free"))],
        Err(error) => error,
    };
    let kind = error.kind();
    vec![if kind == ErrorKind::AddrInUse {
        let holder = listener(&context.machine, address);
        let who = holder.as_ref().map_or("another program".to_owned(), |(name, pid)| format!("{name} (pid {pid})"));
        let end = holder.map_or(format!("sudo ss -ltnp 'sport = :{port}'"), |(_, pid)| format!("sudo kill {pid}"));
        Finding::failed(NAME, format!("{who} has {address}, which [hub] listen names"))
            .remedy(format!("{end}, {change}"))
    } else if kind == ErrorKind::AddrNotAvailable {
        let file = context.config_file.display();
        Finding::failed(NAME, format!("{address}, which [hub] listen names, is no address of this PC"))
            .remedy(format!("set `listen = \"127.0.0.1:{port}\"` under [hub]: sudoedit {file}"))
    } else if kind == ErrorKind::PermissionDenied {
        Finding::note(NAME, format!("this user may not serve at {address}: ports below 1024 are root's"))
            .remedy("set a port from 1024 on under [hub] listen, such as 8765")
    } else {
        Finding::note(NAME, format!("{address}: {error}"))
    }]
}
