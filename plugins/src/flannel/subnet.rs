//! What flanneld writes for this node: `subnet.env`.

use picocni_core::err;
use picocni_core::error::{Error, Phrase, Result};
use picocni_core::net::Cidr;
use picocni_core::put;
use picocni_core::session::Session;
use picocni_core::text::{Put, parse_u32};

const FAILED: Phrase = &"failed to load flannel 'subnet.env' file";
const LOOK: &str = ". Check the flannel pod log for this node.";

const NETWORKS: [&str; 2] = ["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"];
const SUBNETS: [&str; 2] = ["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"];
const MTU: &str = "FLANNEL_MTU";
const IP_MASQ: &str = "FLANNEL_IPMASQ";

/// One of each must be there.
const REQUIRED: [&[&str]; 4] = [&NETWORKS, &SUBNETS, &[MTU], &[IP_MASQ]];

/// The file's text. An empty one is that of a node without flannel.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Subnet<'t> {
    path: &'t str,
    text: &'t str,
}

impl<'t> Subnet<'t> {
    /// Reads the file; `out` is room for it.
    ///
    /// # Errors
    /// Code 11: flanneld has not written it yet. Code 7: variables are missing. Code 5.
    #[inline(never)]
    pub(super) fn load(session: &mut Session<'_>, path: &'t str, out: &'t mut [u8]) -> Result<Self> {
        let Some(length) = session.backend.read_file(path, out)? else {
            let what = " does not exist: flanneld has not written it yet; wait until flannel runs on this node";
            return Err(err!(TRY_AGAIN, FAILED, path, what, LOOK));
        };
        let text = out.get(..length).and_then(|text| core::str::from_utf8(text).ok());
        let subnet = Subnet { path, text: text.unwrap_or_default() };
        let error = err!(CONFIG, FAILED, path, " is missing");
        let mut before = " ";
        // All that is missing is named at once.
        for names in &REQUIRED {
            if names.iter().all(|name| subnet.value(name).is_none()) {
                for name in *names {
                    put!(&mut error.more(), before, *name);
                    before = ", ";
                }
            }
        }
        if before == " " { Ok(subnet) } else { Err(error.with(&LOOK)) }
    }

    /// The value of a variable, the last if it stands there twice.
    #[inline(never)]
    fn value(&self, name: &str) -> Option<&'t str> {
        let mut last = None;
        for line in self.text.lines() {
            if let Some(value) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
                last = Some(value.trim());
            }
        }
        last
    }

    /// Hands out the networks of the cluster, none twice.
    ///
    /// # Errors
    /// Code 7.
    pub(super) fn networks(&self, each: &mut dyn FnMut(Cidr)) -> Result<()> {
        self.cidrs(&NETWORKS, each)
    }

    /// Hands out the subnets of the node.
    ///
    /// # Errors
    /// Code 7.
    pub(super) fn subnets(&self, each: &mut dyn FnMut(Cidr)) -> Result<()> {
        self.cidrs(&SUBNETS, each)
    }

    /// Lists with commas between; host bits are cleared, as in the peer.
    #[inline(never)]
    fn cidrs(&self, names: &[&'static str; 2], each: &mut dyn FnMut(Cidr)) -> Result<()> {
        for name in names {
            let Some(list) = self.value(name) else { continue };
            let parse = |item: &str| Cidr::parse(item.trim()).map(Cidr::network);
            for (at, item) in list.split(is_comma).enumerate() {
                let Some(network) = parse(item) else {
                    return Err(self.wrong(name, &item, "a network like 10.42.0.0/16 or fd42::/56"));
                };
                if !list.split(is_comma).take(at).any(|earlier| parse(earlier) == Some(network)) {
                    each(network);
                }
            }
        }
        Ok(())
    }

    /// The MTU of pods, 0 if nobody says.
    ///
    /// # Errors
    /// Code 7: not a number.
    pub(super) fn mtu(&self) -> Result<u32> {
        let text = self.value(MTU).unwrap_or("0");
        parse_u32(text).ok_or_else(|| self.wrong(MTU, &text, "a number of bytes"))
    }

    /// Whether flannel translates what leaves the cluster.
    pub(super) fn ip_masq(&self) -> bool {
        self.value(IP_MASQ) == Some("true")
    }

    #[cold]
    fn wrong(&self, name: &'static str, value: &dyn Put, expected: &'static str) -> Error {
        err!(CONFIG, FAILED, self.path, ": ", name, " is \"", *value, "\", expected ", expected, LOOK)
    }
}

fn is_comma(c: char) -> bool {
    c == ','
}
