//! Whose address a request has when it came through proxies: `Forwarded` (RFC 7239) or `X-Forwarded-For`, read from the
//! right and only as far as each hop is a trusted proxy.
//!
//! Each proxy appends the address that it received the request from; what stands further left was there before and may be
//! anyone's invention. A list that can't be read ends at the last proxy that can be relied on, and so do two headers that
//! disagree: a proxy sets one of them, and the other came from the client.

use std::{fmt, net::IpAddr, net::SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, header::FORWARDED};
use ipnet::IpNet;
use serde::Deserialize;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The networks whose proxies are trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct TrustedProxies(Vec<IpNet>);

impl TryFrom<Vec<String>> for TrustedProxies {
    type Error = String;

    fn try_from(texts: Vec<String>) -> Result<Self, String> {
        let network = |text: &String| {
            let parsed = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
            parsed.map(|network| network.trunc()).map_err(|_| {
                format!(
                    "`{text}` in `trusted_proxies` is neither an address nor a network, such as \"127.0.0.1\" or \"10.0.0.0/8\""
                )
            })
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        let texts: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(", "))
    }
}

impl TrustedProxies {
    /// True when the address is that of a trusted proxy.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The client's address, for a request that arrived from `peer`.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let forwarded = headers.contains_key(FORWARDED).then(|| self.follow(peer, forwarded(headers)));
        let x_forwarded_for = headers.contains_key(X_FORWARDED_FOR).then(|| self.follow(peer, x_forwarded_for(headers)));
        match (forwarded, x_forwarded_for) {
            (Some(one), Some(other)) if one != other => peer,
            (one, other) => one.or(other).unwrap_or(peer),
        }
    }

    /// Goes from the peer through the hops, the nearest first, as long as the last one is a trusted proxy.
    fn follow(&self, peer: IpAddr, hops: Vec<Option<IpAddr>>) -> IpAddr {
        let mut at = peer;
        for hop in hops {
            match hop {
                Some(hop) if self.trusts(at) => at = hop,
                _ => break,
            }
        }
        at
    }
}

/// The hops of `X-Forwarded-For`, the nearest first; none for what is no address.
fn x_forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let values: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    let hops = values.into_iter().rev().flat_map(|value| match value.to_str() {
        Ok(text) => text.rsplit(',').map(|hop| address(hop.trim())).collect(),
        Err(_) => vec![None],
    });
    hops.collect()
}

/// The hops of `Forwarded`, the nearest first; none for an element that names no address.
fn forwarded(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let values: Vec<_> = headers.get_all(FORWARDED).iter().collect();
    values.into_iter().rev().flat_map(elements).collect()
}

/// The elements of one header, the last first. A header that ends within quotation marks can't be read at all.
fn elements(value: &HeaderValue) -> Vec<Option<IpAddr>> {
    let Some(elements) = value.to_str().ok().and_then(|text| split(text, ',')) else { return vec![None] };
    elements.iter().rev().map(|element| forwarded_for(element)).collect()
}

/// The address in `for=` of one element.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in split(element, ';')? {
        let Some((name, value)) = pair.split_once('=') else { continue };
        if name.trim().eq_ignore_ascii_case("for") {
            let value = value.trim();
            let text = match value.strip_prefix('"') {
                Some(quoted) => quoted.strip_suffix('"')?.replace('\\', ""),
                None => value.to_owned(),
            };
            if found.replace(address(&text)?).is_some() {
                return None;
            }
        }
    }
    found
}

/// The parts between separators that stand outside quotation marks; none when a quotation mark is not closed.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut from, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if char == separator && !quoted => {
                parts.push(text[from..at].trim());
                from = at + char.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    (!quoted).then_some(parts)
}

/// An address with or without a port; one of IPv6 may stand in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trusted(networks: &[&str]) -> TrustedProxies {
        networks.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().try_into().expect("networks")
    }

    /// The client of a request that 127.0.0.1 has passed on, with these headers.
    fn client(headers: &[(&'static str, &str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a header"));
        }
        trusted(&["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"]).client("127.0.0.1".parse().expect("an address"), &map).to_string()
    }

    #[test]
    fn the_list_is_read_from_the_right_and_only_through_trusted_proxies() {
        let x = |value| client(&[("x-forwarded-for", value)]);
        for (value, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("203.0.113.9, 192.0.2.7", "192.0.2.7"),
            ("203.0.113.9, 192.0.2.7, 10.1.2.3", "192.0.2.7"),
            ("203.0.113.9,192.0.2.7,10.1.2.3,2001:db8::1", "192.0.2.7"),
            ("10.1.2.3, 10.1.2.4", "10.1.2.3"),
            ("192.0.2.7:51234", "192.0.2.7"),
            ("[2001:db9::7]:51234", "2001:db9::7"),
            ("[2001:db9::7]", "2001:db9::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            // What can't be read ends at the last proxy that can be relied on.
            ("", "127.0.0.1"),
            ("unknown", "127.0.0.1"),
            ("192.0.2.7, unknown", "127.0.0.1"),
            ("192.0.2.7,", "127.0.0.1"),
            ("192.0.2.7, nonsense, 10.1.2.3", "10.1.2.3"),
            ("192.0.2.7 203.0.113.9", "127.0.0.1"),
            ("192.0.2.256", "127.0.0.1"),
            ("10.0.0.0/8", "127.0.0.1"),
            ("\u{e9}, 192.0.2.7", "127.0.0.1"),
        ] {
            assert_eq!(x(value), expected, "{value}");
        }
        assert_eq!(client(&[]), "127.0.0.1");
        let two = client(&[("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.7, 10.1.2.3")]);
        assert_eq!(two, "192.0.2.7", "several headers are one list");
    }

    #[test]
    fn forwarded_is_read_as_its_standard_writes_it() {
        for (value, expected) in [
            ("for=192.0.2.7", "192.0.2.7"),
            ("For=\"[2001:db9::7]:4711\";proto=https;by=203.0.113.43", "2001:db9::7"),
            ("for=203.0.113.9, for=192.0.2.7;host=\"a,b;for=203.0.113.1\"", "192.0.2.7"),
            ("for=192.0.2.7, proto=https;for=10.1.2.3", "192.0.2.7"),
            ("for=\"192.0.2.7:80\"", "192.0.2.7"),
            ("for=_hidden", "127.0.0.1"),
            ("for=unknown", "127.0.0.1"),
            ("proto=https", "127.0.0.1"),
            ("for=192.0.2.7;for=203.0.113.9", "127.0.0.1"),
            ("for=192.0.2.7, for=\"10.1.2.3", "127.0.0.1"),
            ("for=192.0.2.7, for=_hidden, for=10.1.2.3", "10.1.2.3"),
        ] {
            assert_eq!(client(&[("forwarded", value)]), expected, "{value}");
        }
    }

    #[test]
    fn who_is_no_trusted_proxy_names_nobody() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", HeaderValue::from_static("203.0.113.9"));
        let peer = "192.0.2.7".parse().expect("an address");
        assert_eq!(trusted(&["127.0.0.1"]).client(peer, &headers), peer);
        assert_eq!(TrustedProxies::default().client(peer, &headers), peer);
        let mapped = "::ffff:10.1.2.3".parse().expect("an address");
        assert_eq!(trusted(&["10.0.0.0/8"]).client(mapped, &headers).to_string(), "203.0.113.9");
    }

    #[test]
    fn of_two_headers_that_disagree_one_came_from_the_client() {
        let both = |forwarded, x| client(&[("forwarded", forwarded), ("x-forwarded-for", x)]);
        assert_eq!(both("for=192.0.2.7", "192.0.2.7"), "192.0.2.7");
        assert_eq!(both("for=203.0.113.9", "192.0.2.7"), "127.0.0.1");
    }

    #[test]
    fn a_network_that_is_none_is_named() {
        let refused = |text: &str| TrustedProxies::try_from(vec!["127.0.0.1".to_owned(), text.to_owned()]).expect_err("refused");
        for text in ["proxy.example", "10.0.0.0/33", "", "10.0.0"] {
            assert!(refused(text).starts_with(&format!("`{text}` in `trusted_proxies`")), "{}", refused(text));
        }
        assert_eq!(trusted(&["10.1.2.3/8", "::1"]).to_string(), "10.0.0.0/8, ::1/128");
        assert_eq!(TrustedProxies::default().to_string(), "none");
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_reader(text in "[ -~\u{e9}]{0,80}") {
            for name in ["forwarded", "x-forwarded-for"] {
                let _ = client(&[(name, &text)]);
            }
        }

        #[test]
        fn whatever_the_client_writes_the_proxys_own_entry_counts(text in "[ -!#-~]{0,60}") {
            prop_assert_eq!(client(&[("x-forwarded-for", &format!("{text}, 192.0.2.7"))]), "192.0.2.7");
            prop_assert_eq!(client(&[("x-forwarded-for", &text), ("x-forwarded-for", "192.0.2.7")]), "192.0.2.7");
        }
    }
}
