//! Which device a config means: by name, MAC, path below /sys/devices, PCI or
//! auxiliary bus.

use picocni_core::backend::Backend;
use picocni_core::error::{Error, Result};
use picocni_core::json::Str;
use picocni_core::limits;
use picocni_core::name::{IfName, Mac};
use picocni_core::observe::{Link, Ns};
use picocni_core::plugin::Call;
use picocni_core::text::{Put, fits};
use picocni_core::{err, fields};

const PCI: &str = "/sys/bus/pci/devices";
const AUXILIARY: &str = "/sys/bus/auxiliary/devices";

/// Drivers of devices that a program in the container drives itself: there is no link.
const USER_SPACE: [&str; 3] = ["vfio-pci", "uio_pci_generic", "igb_uio"];

type Path = heapless::String<{ limits::PATH }>;

#[derive(Debug, Default)]
struct RuntimeConfig<'a> {
    device_id: Str<'a>,
}

fields!(RuntimeConfig<'a> { "deviceID" => device_id });

#[derive(Debug, Default)]
pub(super) struct Wire<'a> {
    device: Str<'a>,
    hwaddr: Str<'a>,
    kernelpath: Str<'a>,
    pci_bus_id: Str<'a>,
    runtime_config: RuntimeConfig<'a>,
}

fields!(Wire<'a> {
    "device" => device,
    "hwaddr" => hwaddr,
    "kernelpath" => kernelpath,
    "pciBusID" => pci_bus_id,
    "runtimeConfig" => runtime_config,
});

/// How a device is named; of several ways the first here.
#[derive(Debug, Clone, Copy)]
enum By<'a> {
    Name(IfName),
    Mac(Mac),
    KernelPath(&'a str),
    Pci(&'a str),
    Auxiliary(&'a str),
}

/// A device's name, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Device<'a>(By<'a>);

/// What a device is now.
#[allow(clippy::large_enum_variant, reason = "one at a time, on the stack")]
#[derive(Debug)]
pub(super) enum Found {
    /// A link of the host.
    Link(Link),
    /// Driven by a program: there is no link.
    UserSpace,
}

fn path(parts: &[&dyn Put]) -> Result<Path> {
    fits(parts).ok_or_else(|| Error::limit("PATH", limits::PATH))
}

/// A name in a directory of /sys, and not a way out of it.
fn bus_id<'a>(value: Str<'a>, key: &'static str) -> Result<&'a str> {
    let plain = value.plain().filter(|id| !id.is_empty() && !id.starts_with('.') && !id.bytes().any(|b| b == b'/'));
    plain.ok_or_else(|| err!(CONFIG, "invalid device address", "\"", key, "\" is \"", value.canonical(), "\""))
}

impl<'a> Device<'a> {
    /// Reads the config of a call; the bus of a `deviceID` is looked up.
    ///
    /// # Errors
    /// Code 7.
    pub(super) fn read(call: &Call<'a>, backend: &mut dyn Backend) -> Result<Self> {
        let wire: Wire<'a> = call.fields()?;
        let id = wire.runtime_config.device_id;
        let (mut pci, mut auxiliary) = (wire.pci_bus_id, None);
        if !id.is_empty() {
            let id = bus_id(id, "deviceID")?;
            if backend.list(&path(&[&PCI, &"/", &id])?, &mut |_| {})? {
                pci = wire.runtime_config.device_id;
            } else if backend.list(&path(&[&AUXILIARY, &"/", &id])?, &mut |_| {})? {
                (pci, auxiliary) = (Str::default(), Some(id));
            } else {
                return Err(err!(
                    CONFIG,
                    "runtime config DeviceID not found or unsupported",
                    "no ",
                    id,
                    " on the PCI or auxiliary bus"
                ));
            }
        }
        let by = if !wire.device.is_empty() {
            let seen = wire.device.canonical();
            let name = IfName::new(wire.device.plain().unwrap_or("/"))
                .map_err(|error| err!(CONFIG, "invalid device", "\"", seen, "\": ", error.msg()))?;
            By::Name(name)
        } else if !wire.hwaddr.is_empty() {
            let mac = Mac::parse(wire.hwaddr.plain().unwrap_or(""));
            let seen = wire.hwaddr.canonical();
            By::Mac(mac.ok_or_else(|| err!(CONFIG, "failed to parse MAC address", "\"", seen, "\""))?)
        } else if !wire.kernelpath.is_empty() {
            let given = wire.kernelpath.plain().unwrap_or("");
            if !given.starts_with("/sys/devices/") || given.split('/').any(|part| part == "..") {
                let seen = wire.kernelpath.canonical();
                return Err(err!(CONFIG, "invalid kernelpath", "\"", seen, "\" must be absolute and in /sys/devices/"));
            }
            By::KernelPath(given)
        } else if !pci.is_empty() {
            By::Pci(bus_id(pci, "pciBusID")?)
        } else if let Some(id) = auxiliary {
            By::Auxiliary(id)
        } else {
            return Err(err!(
                CONFIG,
                "specify either \"device\", \"hwaddr\", \"kernelpath\" or \"pciBusID\"",
                "the config names no device"
            ));
        };
        Ok(Device(by))
    }

    /// The PCI address, for the result; "" for other devices.
    pub(super) fn pci_id(&self) -> &'a str {
        if let By::Pci(id) = self.0 { id } else { "" }
    }

    /// Whether a program drives the device itself.
    ///
    /// # Errors
    /// Code 7: the driver cannot be read.
    pub(super) fn is_user_space(&self, backend: &mut dyn Backend) -> Result<bool> {
        let By::Pci(id) = self.0 else { return Ok(false) };
        let mut target = heapless::String::new();
        if !backend.read_link(&path(&[&PCI, &"/", &id])?, "driver", &mut target)? {
            return Err(err!(CONFIG, "device has no driver", PCI, "/", id, "/driver does not exist"));
        }
        let driver = target.rsplit('/').next().unwrap_or("");
        Ok(USER_SPACE.contains(&driver))
    }

    /// The device on the host.
    ///
    /// # Errors
    /// Code 7: there is no such device, or no link of it.
    pub(super) fn find(&self, backend: &mut dyn Backend) -> Result<Found> {
        if self.is_user_space(backend)? {
            return Ok(Found::UserSpace);
        }
        let name = match self.0 {
            By::Name(name) => Some(name),
            By::Mac(mac) => {
                let mut name = None;
                backend.links(Ns::Host, &mut |link| {
                    if link.mac == mac && name.is_none() {
                        name = Some(link.name);
                    }
                })?;
                name
            }
            By::KernelPath(dir) => first_link(backend, &path(&[&dir, &"/net"])?)?,
            By::Auxiliary(id) => first_link(backend, &path(&[&AUXILIARY, &"/", &id, &"/net"])?)?,
            By::Pci(id) => pci_link(backend, id)?,
        };
        let link = name.map_or(Ok(None), |name| backend.link(Ns::Host, &name))?;
        link.map(Found::Link).ok_or_else(|| err!(CONFIG, "failed to find host device", *self, " is not on this host"))
    }
}

/// The first name in a `net` directory.
fn first_link(backend: &mut dyn Backend, dir: &str) -> Result<Option<IfName>> {
    let mut first: Option<IfName> = None;
    backend.list(dir, &mut |name| {
        if let Ok(name) = IfName::new(name)
            && first.is_none_or(|first| name.as_str() < first.as_str())
        {
            first = Some(name);
        }
    })?;
    Ok(first)
}

/// A virtio device has its link one level below.
fn pci_link(backend: &mut dyn Backend, id: &str) -> Result<Option<IfName>> {
    let dir = path(&[&PCI, &"/", &id])?;
    if let Some(name) = first_link(backend, &path(&[&dir, &"/net"])?)? {
        return Ok(Some(name));
    }
    let mut below: heapless::Vec<Path, 4> = heapless::Vec::new();
    backend.list(&dir, &mut |name| {
        if name.starts_with("virtio")
            && let Some(below_path) = fits(&[&dir, &"/", &name, &"/net"])
        {
            let _ = below.push(below_path);
        }
    })?;
    for dir in &below {
        if let Some(name) = first_link(backend, dir)? {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

impl Put for Device<'_> {
    fn put(&self, out: &mut dyn picocni_core::text::Sink) {
        match self.0 {
            By::Name(name) => name.put(out),
            By::Mac(mac) => mac.put(out),
            By::KernelPath(text) | By::Pci(text) | By::Auxiliary(text) => out.text(text),
        }
    }
}
