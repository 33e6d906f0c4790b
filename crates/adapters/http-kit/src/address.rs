//! Where a request really comes from. Forwarded addresses count only when a configured proxy tells them.

use std::net::IpAddr;

use actix_web::HttpRequest;
use ipnet::IpNet;

/// Networks of proxies whose `X-Forwarded-For` counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// The text is neither an address nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IP address or network")]
pub struct InvalidNetwork(String);

impl TrustedProxies {
    /// Reads addresses (`10.0.0.7`) and networks (`10.0.0.0/8`, `fd00::/8`).
    pub fn parse<'a>(networks: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidNetwork> {
        let parse = |text: &str| {
            let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            network.map_err(|_| InvalidNetwork(text.to_owned()))
        };
        networks.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The nearest address that is not a trusted proxy's: the peer, or the last untrusted entry of `X-Forwarded-For` if the peer is
    /// trusted. An unreadable entry ends the search, so that nothing behind it counts.
    pub fn client(&self, req: &HttpRequest) -> Option<IpAddr> {
        let mut client = canonical(req.peer_addr()?.ip());
        if !self.contains(client) {
            return Some(client);
        }
        let hops = req.headers().get_all("x-forwarded-for").filter_map(|line| line.to_str().ok()).collect::<Vec<_>>();
        for hop in hops.iter().rev().flat_map(|line| line.rsplit(',')) {
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            client = canonical(address);
            if !self.contains(client) {
                break;
            }
        }
        Some(client)
    }
}

/// An IPv4 address that travels as IPv6 is the IPv4 address.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

/// Whom a limit counts: the address, or for IPv6 the /64, all of which one customer of a network provider has.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into()),
    }
}

/// The network that is kept for the record: /24 of IPv4, /48 of IPv6.
pub(crate) fn prefix(address: IpAddr) -> String {
    let length = if address.is_ipv4() { 24 } else { 48 };
    IpNet::new(address, length).map(|network| network.trunc().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn client(peer: &str, forwarded: &[&str]) -> String {
        let proxies = TrustedProxies::parse(["10.0.0.0/8", "fd00::1"]).unwrap();
        let mut request = TestRequest::default().peer_addr(peer.parse().unwrap());
        for line in forwarded {
            request = request.append_header(("x-forwarded-for", *line));
        }
        proxies.client(&request.to_http_request()).unwrap().to_string()
    }

    #[test]
    fn only_a_trusted_peer_can_say_who_is_behind_it() {
        assert_eq!(client("203.0.113.9:1", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(client("10.0.0.1:1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("[::ffff:10.0.0.1]:1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("[fd00::1]:1", &["2001:db8::5"]), "2001:db8::5");
    }

    #[test]
    fn an_entry_that_the_client_wrote_itself_never_counts() {
        assert_eq!(client("10.0.0.1:1", &["1.1.1.1, 198.51.100.1, 10.0.0.2"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1:1", &["1.1.1.1", "198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1:1", &["1.1.1.1, nonsense, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(client("10.0.0.1:1", &[""]), "10.0.0.1");
    }

    #[test]
    fn a_limit_counts_an_address_or_the_64_bits_of_its_network() {
        let counted = |text: &str| network(canonical(text.parse().unwrap())).to_string();
        assert_eq!(counted("198.51.100.77"), "198.51.100.77");
        assert_eq!(counted("::ffff:198.51.100.77"), "198.51.100.77");
        assert_eq!(counted("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(counted("2001:db8:1:2:ffff:ffff:ffff:ffff"), "2001:db8:1:2::");
        assert_eq!(counted("2001:db8:1:3::1"), "2001:db8:1:3::");
    }

    #[test]
    fn records_keep_networks_and_not_addresses() {
        assert_eq!(prefix("198.51.100.77".parse().unwrap()), "198.51.100.0/24");
        assert_eq!(prefix("2001:db8:1:2::3".parse().unwrap()), "2001:db8:1::/48");
    }
}
