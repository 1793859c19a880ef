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
    vec![match error.kind() {
        ErrorKind::AddrInUse => {
            let holder = listener(&context.machine, address);
            let who = holder.as_ref().map_or("another program".to_owned(), |(name, pid)| format!("{name} (pid {pid})"));
            let end = holder.map_or(format!("sudo ss -ltnp 'sport = :{port}'"), |(name, pid)| {
                if name == "encoderd" { format!("sudo kill {pid}") } else { format!("end {name}: sudo kill {pid}") }
            });
            Finding::failed(NAME, format!("{who} has {address}, which [hub] listen names")).remedy(format!("{end}, {change}"))
        }
        ErrorKind::AddrNotAvailable => {
            Finding::failed(NAME, format!("{address}, which [hub] listen names, is no address of this PC"))
                .remedy(format!("set `listen = \"127.0.0.1:{port}\"` under [hub]: sudoedit {}", context.config_file.display()))
        }
        ErrorKind::PermissionDenied => {
            Finding::note(NAME, format!("this user may not serve at {address}: ports below 1024 are root's"))
                .remedy("set a port from 1024 on under [hub] listen, such as 8765")
        }
        _ => Finding::note(NAME, format!("{address}: {error}")),
    }]
}
