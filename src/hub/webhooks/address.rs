//! Which addresses a webhook may be delivered to.
//!
//! Whoever may make a webhook has the hub send requests to an address of their choice. Unless `webhook_allow_private`
//! is on, that is an address of the public internet: never the hub's own machine, its network, or a cloud's metadata
//! service. What counts is the address that is connected to: a name is looked up here, and only addresses that passed
//! are handed to the connection, so that a name which points elsewhere a moment later gains nothing.
//!
//! Sources: IANA's registries of special-purpose addresses, IPv4 (RFC 6890 and later) and IPv6.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Where deliveries may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Addresses of the public internet only.
    Public,
    /// Everywhere.
    Anywhere,
}

/// An address that deliveries do not go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {why}; deliveries go there only with `webhook_allow_private = true` under [hub]")]
pub(super) struct Refused {
    address: IpAddr,
    why: &'static str,
}

impl Reach {
    /// Refuses an address outside of the reach.
    pub(super) fn check(self, address: IpAddr) -> Result<(), Refused> {
        match self {
            Self::Anywhere => Ok(()),
            Self::Public => why_not(address).map_or(Ok(()), |why| Err(Refused { address, why })),
        }
    }

    /// The addresses within the reach; an error when there are addresses, and none of them is.
    fn filter(self, found: impl Iterator<Item = SocketAddr>) -> Result<Vec<SocketAddr>, Refused> {
        let mut within = Vec::new();
        let mut refused = None;
        for address in found {
            match self.check(address.ip()) {
                Ok(()) => within.push(address),
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(refused) if within.is_empty() => Err(refused),
            Some(_) | None => Ok(within),
        }
    }
}

/// Looks names up with the system's resolver and passes on what is within the reach.
///
/// An address written in the URL itself does not come by here; it has to be checked before the request is made.
impl Resolve for Reach {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = *self;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let within: Addrs = Box::new(reach.filter(found)?.into_iter());
            Ok(within)
        })
    }
}

/// The first bits of addresses, and what they are for.
type Ranges<A> = &'static [(A, u32, &'static str)];

const LOOPBACK: &str = "a loopback address";
const PRIVATE: &str = "a private address";
const LINK_LOCAL: &str = "a link-local address";
const SHARED: &str = "an address shared between providers";
const UNSPECIFIED: &str = "no host's address";
const MULTICAST: &str = "a multicast address";
const DOCUMENTATION: &str = "an address for documentation";
const BENCHMARK: &str = "an address for benchmarks";
const RESERVED: &str = "a reserved address";
const CLOUD: &str = "the address of a cloud's own service";

const V4: Ranges<Ipv4Addr> = &[
    (Ipv4Addr::UNSPECIFIED, 8, UNSPECIFIED),
    (Ipv4Addr::new(10, 0, 0, 0), 8, PRIVATE),
    (Ipv4Addr::new(100, 64, 0, 0), 10, SHARED),
    (Ipv4Addr::new(127, 0, 0, 0), 8, LOOPBACK),
    // Azure's wire server answers every virtual machine at a public address.
    (Ipv4Addr::new(168, 63, 129, 16), 32, CLOUD),
    (Ipv4Addr::new(169, 254, 0, 0), 16, LINK_LOCAL),
    (Ipv4Addr::new(172, 16, 0, 0), 12, PRIVATE),
    (Ipv4Addr::new(192, 0, 0, 0), 24, RESERVED),
    (Ipv4Addr::new(192, 0, 2, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(192, 88, 99, 0), 24, RESERVED),
    (Ipv4Addr::new(192, 168, 0, 0), 16, PRIVATE),
    (Ipv4Addr::new(198, 18, 0, 0), 15, BENCHMARK),
    (Ipv4Addr::new(198, 51, 100, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(203, 0, 113, 0), 24, DOCUMENTATION),
    (Ipv4Addr::new(224, 0, 0, 0), 4, MULTICAST),
    (Ipv4Addr::BROADCAST, 32, "the broadcast address"),
    (Ipv4Addr::new(240, 0, 0, 0), 4, RESERVED),
];

/// Outside of [`V6_PUBLIC`] the first two lines say more than "reserved"; inside of it they are holes.
const V6: Ranges<Ipv6Addr> = &[
    (Ipv6Addr::UNSPECIFIED, 128, UNSPECIFIED),
    (Ipv6Addr::LOCALHOST, 128, LOOPBACK),
    (Ipv6Addr::new(0x0064, 0xff9b, 1, 0, 0, 0, 0, 0), 48, PRIVATE),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48, BENCHMARK),
    // Teredo, ORCHID, anycast for protocols: nothing that receives webhooks.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, RESERVED),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, DOCUMENTATION),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, DOCUMENTATION),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, PRIVATE),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, LINK_LOCAL),
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, PRIVATE),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, MULTICAST),
];

/// All of IPv6 that hosts of the public internet are given.
const V6_PUBLIC: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
/// IPv4 addresses behind a translator, RFC 6052; in networks without IPv4, names have such addresses.
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x0064, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
/// IPv4 addresses as networks of their own, RFC 3056.
const SIX_TO_FOUR: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);
/// IPv4 addresses in their oldest IPv6 form, RFC 4291 §2.5.5.1.
const COMPATIBLE: (Ipv6Addr, u32) = (Ipv6Addr::UNSPECIFIED, 96);

fn why_not(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => why_not_v4(address),
        IpAddr::V6(address) => why_not_v6(address),
    }
}

fn why_not_v4(address: Ipv4Addr) -> Option<&'static str> {
    V4.iter().find(|(base, bits, _)| in_v4(address, *base, *bits)).map(|(_, _, why)| *why)
}

fn why_not_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = address.to_ipv4_mapped() {
        return why_not_v4(inner);
    }
    if let Some((_, _, why)) = V6.iter().find(|(base, bits, _)| in_v6(address, *base, *bits)) {
        return Some(why);
    }
    if in_v6(address, NAT64.0, NAT64.1) {
        return why_not_v4(v4_at(address, 0));
    }
    if in_v6(address, SIX_TO_FOUR.0, SIX_TO_FOUR.1) {
        return why_not_v4(v4_at(address, 80));
    }
    if in_v6(address, COMPATIBLE.0, COMPATIBLE.1) {
        return Some(why_not_v4(v4_at(address, 0)).unwrap_or(RESERVED));
    }
    (!in_v6(address, V6_PUBLIC.0, V6_PUBLIC.1)).then_some(RESERVED)
}

/// The IPv4 address that lies so many bits from the end.
fn v4_at(address: Ipv6Addr, bits_behind: u32) -> Ipv4Addr {
    let bits = (address.to_bits() >> bits_behind) & u128::from(u32::MAX);
    Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(0))
}

fn in_v4(address: Ipv4Addr, base: Ipv4Addr, bits: u32) -> bool {
    (address.to_bits() ^ base.to_bits()).leading_zeros() >= bits
}

fn in_v6(address: Ipv6Addr, base: Ipv6Addr, bits: u32) -> bool {
    (address.to_bits() ^ base.to_bits()).leading_zeros() >= bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_public_are_refused_and_their_neighbours_are_not() {
        // First and last of each range, and what lies just outside.
        let table = [
            (UNSPECIFIED, ["0.0.0.0", "0.255.255.255"], ["1.0.0.0", "1.1.1.1"]),
            (PRIVATE, ["10.0.0.0", "10.255.255.255"], ["9.255.255.255", "11.0.0.0"]),
            (SHARED, ["100.64.0.0", "100.127.255.255"], ["100.63.255.255", "100.128.0.0"]),
            (LOOPBACK, ["127.0.0.1", "127.255.255.255"], ["126.255.255.255", "128.0.0.0"]),
            (CLOUD, ["168.63.129.16", "168.63.129.16"], ["168.63.129.15", "168.63.129.17"]),
            (LINK_LOCAL, ["169.254.169.254", "169.254.0.0"], ["169.253.255.255", "169.255.0.0"]),
            (PRIVATE, ["172.16.0.0", "172.31.255.255"], ["172.15.255.255", "172.32.0.0"]),
            (RESERVED, ["192.0.0.0", "192.0.0.255"], ["191.255.255.255", "192.0.1.0"]),
            (DOCUMENTATION, ["192.0.2.0", "192.0.2.255"], ["192.0.1.255", "192.0.3.0"]),
            (RESERVED, ["192.88.99.0", "192.88.99.255"], ["192.88.98.255", "192.88.100.0"]),
            (PRIVATE, ["192.168.0.0", "192.168.255.255"], ["192.167.255.255", "192.169.0.0"]),
            (BENCHMARK, ["198.18.0.0", "198.19.255.255"], ["198.17.255.255", "198.20.0.0"]),
            (DOCUMENTATION, ["198.51.100.0", "198.51.100.255"], ["198.51.99.255", "198.51.101.0"]),
            (DOCUMENTATION, ["203.0.113.0", "203.0.113.255"], ["203.0.112.255", "203.0.114.0"]),
            (MULTICAST, ["224.0.0.0", "239.255.255.255"], ["223.255.255.255", "8.8.8.8"]),
            (RESERVED, ["240.0.0.0", "255.255.255.254"], ["223.255.255.255", "8.8.8.8"]),
            ("the broadcast address", ["255.255.255.255", "255.255.255.255"], ["8.8.8.8", "8.8.4.4"]),
            (UNSPECIFIED, ["::", "0:0::0"], ["2000::", "2606:4700::1111"]),
            (LOOPBACK, ["::1", "::ffff:127.0.0.1"], ["2000::1", "::ffff:8.8.8.8"]),
            (PRIVATE, ["fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], ["2a00::", "2c0f::"]),
            (LINK_LOCAL, ["fe80::1", "febf:ffff::"], ["2a00::", "2c0f::"]),
            (PRIVATE, ["fec0::", "feff:ffff::"], ["2a00::", "2c0f::"]),
            (MULTICAST, ["ff00::", "ff02::1"], ["2a00::", "2c0f::"]),
            (DOCUMENTATION, ["2001:db8::", "2001:db8:ffff::"], ["2001:db7:ffff::", "2001:db9::"]),
            (DOCUMENTATION, ["3fff::", "3fff:fff::1"], ["3ffe:ffff::", "3fff:1000::"]),
            (BENCHMARK, ["2001:2::", "2001:2:0:ffff::"], ["2001:200::", "2001:4860::"]),
            (RESERVED, ["2001::1", "2001:1ff:ffff::"], ["2000:ffff::", "2001:200::"]),
            (RESERVED, ["1fff:ffff::", "4000::"], ["2000::", "3fff:ffff::"]),
            (RESERVED, ["5f00::1", "100::1"], ["2000::", "3fff:ffff::"]),
            // IPv4 in IPv6's clothes: mapped, compatible, NAT64, 6to4.
            (PRIVATE, ["::ffff:10.0.0.1", "::ffff:192.168.1.1"], ["::ffff:9.9.9.9", "::ffff:1.1.1.1"]),
            (LINK_LOCAL, ["::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"], ["64:ff9b::808:808", "::ffff:1.1.1.1"]),
            (LOOPBACK, ["::127.0.0.1", "64:ff9b::127.0.0.1"], ["64:ff9b::8.8.8.8", "2002:808:808::1"]),
            (PRIVATE, ["2002:a00:1::1", "2002:c0a8:101::"], ["2002:808:808::1", "2002:101:101::"]),
            (PRIVATE, ["64:ff9b:1::1", "64:ff9b:1:ffff::1"], ["64:ff9b::1.1.1.1", "2a00::"]),
            (RESERVED, ["::8.8.8.8", "64:ff9a::1"], ["2a00::", "2c0f::"]),
        ];
        for (why, refused, allowed) in table {
            for text in refused {
                let address: IpAddr = text.parse().unwrap();
                assert_eq!(Reach::Public.check(address), Err(Refused { address, why }), "{text}");
                assert_eq!(Reach::Anywhere.check(address), Ok(()), "{text}");
            }
            for text in allowed {
                assert_eq!(Reach::Public.check(text.parse().unwrap()), Ok(()), "{text}");
            }
        }
    }

    #[test]
    fn of_a_names_addresses_those_within_reach_are_left() {
        let [public, private] = ["8.8.8.8:0", "10.0.0.1:0"].map(|text| text.parse::<SocketAddr>().unwrap());
        let filter = |reach: Reach, found: &[SocketAddr]| reach.filter(found.iter().copied());
        assert_eq!(filter(Reach::Public, &[private, public, private]), Ok(vec![public]));
        assert_eq!(filter(Reach::Public, &[private]), Err(Refused { address: private.ip(), why: PRIVATE }));
        assert_eq!(filter(Reach::Anywhere, &[private, public]), Ok(vec![private, public]));
        assert_eq!(filter(Reach::Public, &[]), Ok(vec![]));
    }

    #[tokio::test]
    async fn a_name_for_this_machine_is_refused_when_it_is_looked_up() {
        let name = || "localhost".parse::<Name>().unwrap();
        let Err(error) = Reach::Public.resolve(name()).await else { panic!("localhost was let through") };
        assert!(error.to_string().contains(LOOPBACK), "{error}");
        let found: Vec<_> = Reach::Anywhere.resolve(name()).await.unwrap().collect();
        assert!(found.iter().all(|address| address.ip().is_loopback()) && !found.is_empty());
    }
}
