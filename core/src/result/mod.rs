//! The result of ADD: one in-memory shape, every version on the wire.

pub mod decode;
pub mod encode;
pub mod wire;

use core::net::IpAddr;

use crate::limits;
use crate::name::{IfName, Mac};
use crate::net::Cidr;
use crate::observe::Route;
use crate::put;

/// An interface of a result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Interface {
    /// Name inside its sandbox.
    pub name: heapless::String<{ limits::RESULT_NAME }>,
    /// Hardware address as text; "" if there is none.
    pub mac: heapless::String<{ limits::MAC_TEXT }>,
    /// MTU in bytes, 0 if not reported.
    pub mtu: u32,
    /// Path of the sandbox, "" on the host.
    pub sandbox: heapless::String<{ limits::SANDBOX }>,
    /// Socket of a vhost-user device.
    pub socket_path: heapless::String<{ limits::SOCKET_PATH }>,
    /// PCI device.
    pub pci_id: heapless::String<{ limits::PCI_ID }>,
}

impl Interface {
    /// A Linux interface; `sandbox` is "" on the host.
    #[must_use]
    pub fn new(name: &IfName, mac: Mac, mtu: u32, sandbox: &str) -> Self {
        let mut interface = Interface { mtu, ..Interface::default() };
        put!(&mut interface.name, *name);
        put!(&mut interface.mac, mac);
        // The environment's check keeps CNI_NETNS within this capacity.
        put!(&mut interface.sandbox, sandbox);
        interface
    }
}

/// An address of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct IpConfig {
    /// Index into `interfaces`; absent and out of range are allowed by the spec's history.
    pub interface: Option<i32>,
    /// Address and prefix.
    pub address: Cidr,
    /// Default gateway of the address's network.
    pub gateway: Option<IpAddr>,
}

/// Name resolution of a result or config.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Dns {
    /// Server addresses.
    pub nameservers: heapless::Vec<heapless::String<64>, { limits::DNS_ENTRIES }>,
    /// Local domain.
    pub domain: heapless::String<{ limits::DNS_NAME }>,
    /// Search domains.
    pub search: heapless::Vec<heapless::String<{ limits::DNS_NAME }>, { limits::DNS_ENTRIES }>,
    /// Resolver options.
    pub options: heapless::Vec<heapless::String<64>, { limits::DNS_ENTRIES }>,
    /// A key of the block was there, even if its list was empty.
    pub present: bool,
}

impl Dns {
    /// Makes it empty again.
    pub fn clear(&mut self) {
        self.nameservers.clear();
        self.domain.clear();
        self.search.clear();
        self.options.clear();
        self.present = false;
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nameservers.is_empty() && self.domain.is_empty() && self.search.is_empty() && self.options.is_empty()
    }
}

/// The result of ADD, as spec 1.1.0 has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AddResult {
    /// Interfaces made, in the order they were made.
    pub interfaces: heapless::Vec<Interface, { limits::INTERFACES }>,
    /// Addresses given.
    pub ips: heapless::Vec<IpConfig, { limits::IPS }>,
    /// Routes set.
    pub routes: heapless::Vec<Route, { limits::ROUTES }>,
    /// Name resolution.
    pub dns: Dns,
}

impl AddResult {
    /// An empty result; `const`, so that it can be static.
    #[must_use]
    pub const fn new() -> Self {
        AddResult {
            interfaces: heapless::Vec::new(),
            ips: heapless::Vec::new(),
            routes: heapless::Vec::new(),
            dns: Dns {
                nameservers: heapless::Vec::new(),
                domain: heapless::String::new(),
                search: heapless::Vec::new(),
                options: heapless::Vec::new(),
                present: false,
            },
        }
    }

    /// Makes it empty again.
    pub fn clear(&mut self) {
        self.interfaces.clear();
        self.ips.clear();
        self.routes.clear();
        self.dns.clear();
    }

    /// The interface an address belongs to, if its index is good.
    #[must_use]
    pub fn interface_of(&self, ip: &IpConfig) -> Option<&Interface> {
        self.interfaces.get(usize::try_from(ip.interface?).ok()?)
    }

    /// Adds an address of the interface with this index.
    ///
    /// # Errors
    /// Code 100.
    pub fn add_ip(&mut self, interface: i32, address: Cidr, gateway: Option<IpAddr>) -> crate::error::Result<()> {
        let ip = IpConfig { interface: Some(interface), address, gateway };
        self.ips.push(ip).map_err(|_| crate::error::Error::limit("IPS", limits::IPS))
    }

    /// Adds an interface.
    ///
    /// # Errors
    /// Code 100.
    pub fn add_interface(&mut self, interface: Interface) -> crate::error::Result<()> {
        self.interfaces.push(interface).map_err(|_| crate::error::Error::limit("INTERFACES", limits::INTERFACES))
    }
}
