//! Who may use the page without a key: somebody who sits at this PC, in a browser that shows this page.

use crate::hub::Peer;
use axum::http::{Extensions, HeaderMap, Uri, Version, header};
use std::net::IpAddr;

/// Headers that proxies leave. One of them means that the peer's address is not the browser's.
const FORWARDED: &[&str] = &["forwarded", "via", "x-real-ip"];

/// What proxies' own headers begin with.
const FORWARDED_PREFIX: &str = "x-forwarded";

/// The address that a browser at this PC has asked for: `localhost`, or a loopback address, with its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Here(String);

impl Here {
    /// Says whether a request comes from this PC, is meant for it, and came directly.
    ///
    /// The name in `Host` counts beside the peer's address, because a page of somebody else may have its own name resolved
    /// to 127.0.0.1. Proxies without forwarding headers are known by HTTP/1.0, and by the browser's `Origin`, which is not
    /// this PC's then.
    pub(super) fn of(headers: &HeaderMap, uri: &Uri, version: Version, extensions: &Extensions) -> Option<Self> {
        let Peer(peer) = extensions.get()?;
        let forwarded = headers
            .keys()
            .map(header::HeaderName::as_str)
            .any(|name| FORWARDED.contains(&name) || name.starts_with(FORWARDED_PREFIX));
        let direct = version == Version::HTTP_11 && uri.authority().is_none() && !forwarded;
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else { return None };
        let host = host.to_str().ok()?.to_ascii_lowercase();
        (direct && is_loopback(*peer) && names_this_pc(&host)).then_some(Self(host))
    }

    /// Whether a request was made by this page itself, as far as the browser says. A browser always says it of a request
    /// that changes something (`must_say`), older ones do not of others.
    pub(super) fn is_origin(&self, headers: &HeaderMap, must_say: bool) -> bool {
        let origins: Vec<_> = headers.get_all(header::ORIGIN).iter().collect();
        let origin = match origins.as_slice() {
            [] => !must_say,
            [origin] => origin.to_str().is_ok_and(|origin| origin.strip_prefix("http://") == Some(&self.0)),
            [..] => false,
        };
        let mut sites = headers.get_all("sec-fetch-site").iter();
        origin && sites.all(|site| site == "same-origin")
    }

    /// The port that was asked for; another program of this PC may have a page at another one.
    pub(super) fn port(&self) -> u16 {
        self.0.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80)
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn names_this_pc(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) => (name, port),
            None => return false,
        },
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    let port_is_right = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    port_is_right && (name == "localhost" || name.parse().is_ok_and(is_loopback))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here(peer: &str, headers: &[(&str, &str)]) -> Option<Here> {
        here_at(peer, headers, "/desk/session", Version::HTTP_11)
    }

    fn here_at(peer: &str, headers: &[(&str, &str)], uri: &str, version: Version) -> Option<Here> {
        let mut extensions = Extensions::new();
        extensions.insert(Peer(peer.parse().unwrap()));
        Here::of(&map(headers), &uri.parse().unwrap(), version, &extensions)
    }

    fn map(headers: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(header::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        map
    }

    #[test]
    fn this_pc_is_here() {
        for host in ["localhost", "localhost:8765", "LOCALHOST:8765", "127.0.0.1:8765", "127.1.2.3", "[::1]:8765"] {
            assert!(here("127.0.0.1", &[("host", host)]).is_some(), "{host}");
        }
        for peer in ["::1", "127.0.0.9", "::ffff:127.0.0.1"] {
            assert!(here(peer, &[("host", "localhost:8765")]).is_some(), "{peer}");
        }
    }

    #[test]
    fn another_pc_another_name_or_a_proxy_is_not() {
        for peer in ["192.168.1.4", "::ffff:10.0.0.1", "fe80::1"] {
            assert_eq!(here(peer, &[("host", "localhost:8765")]), None, "{peer}");
        }
        for host in [
            "desk.example.com",
            "localhost.example.com",
            "evil.localhost",
            "10.0.0.1:8765",
            "127.0.0.1.nip.io",
            "",
            "localhost:",
            "localhost:99999",
            "127.0.0.1:80:80",
            "[::1",
            "[::2]:80",
            "2130706433",
            "user@localhost",
        ] {
            assert_eq!(here("127.0.0.1", &[("host", host)]), None, "{host}");
        }
        for name in ["Forwarded", "Via", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"] {
            assert_eq!(here("127.0.0.1", &[("host", "localhost"), (name, "")]), None, "{name}");
        }
        assert_eq!(here("127.0.0.1", &[]), None);
        assert_eq!(here("127.0.0.1", &[("host", "localhost"), ("host", "localhost")]), None);
        let direct = [("host", "localhost")];
        assert_eq!(here_at("127.0.0.1", &direct, "http://desk.example.com/", Version::HTTP_11), None);
        assert_eq!(here_at("127.0.0.1", &direct, "/", Version::HTTP_10), None);
    }

    #[test]
    fn the_page_itself_asks() {
        let here = here("127.0.0.1", &[("host", "localhost:8765")]).unwrap();
        let own = ("origin", "http://localhost:8765");
        assert!(here.is_origin(&map(&[own]), true));
        assert!(here.is_origin(&map(&[own, ("sec-fetch-site", "same-origin")]), true));
        assert!(here.is_origin(&map(&[]), false) && !here.is_origin(&map(&[]), true));
        for others in [
            ("origin", "http://localhost:3000"),
            ("origin", "https://localhost:8765"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:8765"),
            ("origin", "http://example.com"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
        ] {
            assert!(!here.is_origin(&map(&[others]), false), "{others:?}");
        }
        assert!(!here.is_origin(&map(&[own, own]), true));
        assert!(!here.is_origin(&map(&[own, ("sec-fetch-site", "same-site")]), true));
        assert_eq!(here.port(), 8765);
    }
}
