//! Where a key may be used from.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// IPv4 and IPv6 networks; none means everywhere. An IPv4 address in IPv6 clothes is that IPv4 address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Networks(Vec<IpNet>);

/// Why these are not the networks of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetworks {
    /// The list is too long.
    #[error("a key names at most {} networks", Networks::MOST)]
    TooMany,
    /// Neither an address nor a network.
    #[error("a network is an IP address, or one with the length of its prefix, for example 192.0.2.0/24")]
    Network,
}

impl Networks {
    /// The longest list.
    pub const MOST: usize = 50;

    /// Clears what is behind the prefix, sorts, and drops what is said twice.
    pub fn new(networks: impl IntoIterator<Item = IpNet>) -> Result<Self, InvalidNetworks> {
        let mut networks: Vec<_> = networks.into_iter().map(canonical).collect();
        networks.sort_unstable();
        networks.dedup();
        if networks.len() > Self::MOST { Err(InvalidNetworks::TooMany) } else { Ok(Self(networks)) }
    }

    /// Reads the texts; an address is a network of its own.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, InvalidNetworks> {
        let networks: Result<Vec<_>, _> = texts.into_iter().map(|text| network(text.as_ref())).collect();
        Self::new(networks?)
    }

    /// Whether the key may be used from there.
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.is_empty() || self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether the key may be used from everywhere.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them, sorted.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.0.iter().copied()
    }
}

fn network(text: &str) -> Result<IpNet, InvalidNetworks> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(address.into()),
        Err(_) => text.parse().map_err(|_| InvalidNetworks::Network),
    }
}

/// Bits of an IPv6 address before the IPv4 address that it stands for.
const MAPPED: u8 = 96;

fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(six) = network else { return network.trunc() };
    let four = six.addr().to_ipv4_mapped().zip(six.prefix_len().checked_sub(MAPPED));
    four.and_then(|(address, length)| Ipv4Net::new(address, length).ok()).map_or(network, IpNet::V4).trunc()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn texts(networks: &Networks) -> Vec<String> {
        networks.iter().map(|network| network.to_string()).collect()
    }

    #[test]
    fn no_network_named_is_everywhere() {
        let everywhere = Networks::default();
        assert!(everywhere.is_empty());
        assert!(everywhere.allows(Ipv4Addr::LOCALHOST.into()) && everywhere.allows(Ipv6Addr::LOCALHOST.into()));
    }

    #[test]
    fn networks_are_kept_in_one_form() {
        let given =
            ["10.1.2.3/8", "::ffff:10.0.0.0/104", "10.0.0.0/8", "192.0.2.7", "2001:db8::1/32", "::ffff:192.0.2.7"];
        assert_eq!(texts(&Networks::parse(given).unwrap()), ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32"]);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "example.com", "10.0.0.0/", " 10.0.0.0/8", "10.0.0.0/-1"]
        {
            assert_eq!(Networks::parse([text]), Err(InvalidNetworks::Network), "{text:?}");
        }
    }

    #[test]
    fn a_list_has_fifty_networks_at_most_each_once() {
        let addresses = |count: u8| (0..count).map(|number| format!("192.0.2.{number}"));
        assert_eq!(Networks::parse(addresses(50)).unwrap().iter().count(), 50);
        assert_eq!(Networks::parse(addresses(51)), Err(InvalidNetworks::TooMany));
        assert!(Networks::parse(addresses(50).chain(addresses(50))).is_ok());
    }

    #[test]
    fn an_address_in_other_clothes_is_the_same_address() {
        let networks = Networks::parse(["192.0.2.0/24"]).unwrap();
        assert!(networks.allows("::ffff:192.0.2.9".parse().unwrap()));
        assert!(!networks.allows("::ffff:192.0.3.9".parse().unwrap()));
        assert!(!networks.allows("::192.0.2.9".parse().unwrap()), "that is no mapped address");
    }

    fn address() -> impl Strategy<Value = IpAddr> {
        // Few different bits, so that networks are hit.
        prop_oneof![
            (0_u32..8).prop_map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits << 29 | bits))),
            (0_u128..8).prop_map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits << 125 | bits))),
            (0_u32..8).prop_map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits << 29 | bits).to_ipv6_mapped())),
        ]
    }

    fn network() -> impl Strategy<Value = IpNet> {
        (address(), 0_u8..=128).prop_map(|(address, length)| {
            let length = if address.is_ipv4() { length % 33 } else { length };
            IpNet::new(address, length).unwrap()
        })
    }

    /// Whether the first bits are alike, counted out; IPv4 addresses as the IPv6 addresses that stand for them.
    fn naive(network: IpNet, address: IpAddr) -> bool {
        let bits = |address: IpAddr| match address {
            IpAddr::V4(four) => four.to_ipv6_mapped().to_bits(),
            IpAddr::V6(six) => six.to_bits(),
        };
        let length = u32::from(network.prefix_len()) + if network.addr().is_ipv4() { 96 } else { 0 };
        // A network of IPv6 that holds all mapped addresses and more is none of IPv4.
        let is_four = address.to_canonical().is_ipv4();
        let of_four = length >= 96 && network.addr().to_canonical().is_ipv4();
        is_four == of_four && (0..length).all(|bit| (bits(network.addr()) ^ bits(address)) << bit >> 127 == 0)
    }

    proptest! {
        #[test]
        fn an_address_is_allowed_as_counting_bits_says(
            networks in prop::collection::vec(network(), 1..6),
            address in address(),
        ) {
            let expected = networks.iter().any(|network| naive(*network, address));
            prop_assert_eq!(Networks::new(networks).unwrap().allows(address), expected);
        }
    }
}
