//! `host-device`: a device of the host moves into the sandbox, and comes back as
//! it was: name, state and addresses.

mod device;
pub(crate) mod record;
#[cfg(test)]
mod tests;

use picocni_core::check;
use picocni_core::conf::{IPAM, ValidAttachments};
use picocni_core::error::{Code, Error, Failures, Result};
use picocni_core::json::Key;
use picocni_core::limits;
use picocni_core::name::IfName;
use picocni_core::observe::{Link, Ns};
use picocni_core::op::{Change, Plan, Removal};
use picocni_core::owner::Tag;
use picocni_core::plugin::{Call, Plugin};
use picocni_core::result::{AddResult, Interface};
use picocni_core::session::Session;
use picocni_core::text::fits;
use picocni_core::version::{Command, Version};
use picocni_core::{config_keys, err};

use crate::interface::{self, Dad, Options};
use crate::{link, veth};
use device::{Device, Found};

/// Scope of addresses that other machines may use (rtnetlink(7)).
const UNIVERSE: u8 = 0;

/// The plugin.
#[derive(Debug)]
pub struct HostDevice;

impl Plugin for HostDevice {
    fn name(&self) -> &'static str {
        "host-device"
    }

    fn keys(&self) -> &'static [Key] {
        config_keys![
            IPAM,
            Key::str("device"),
            Key::str("hwaddr"),
            Key::str("kernelpath"),
            Key::str("pciBusID"),
            Key::object("runtimeConfig", &[Key::str("deviceID")]),
        ]
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        let device = Device::read(call, session.backend)?;
        let moved = match device.find(session.backend)? {
            Found::Link(link) => Some(move_in(call, session, &link)?),
            Found::UserSpace => None,
        };
        if call.conf.has_ipam() {
            link::delegate(call, session, result)?;
        }
        report(call, &device, moved.as_ref(), result)?;
        result.ips.iter_mut().for_each(|ip| ip.interface = Some(0));
        match &moved {
            Some(moved) if !result.ips.is_empty() => {
                let options = Options { dad: Dad::Kernel, announce: true, ..Options::default() };
                interface::configure(session, moved, result, options)?;
            }
            Some(moved) => interface::set_up(session, moved)?,
            None => {}
        }
        link::own_dns(call, result)
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        link::forward(call, session, Command::Check)?;
        let prev = call.required_prev()?;
        if Device::read(call, session.backend)?.is_user_space(session.backend)? {
            return Ok(());
        }
        let link = check::interface(call, session, prev)?;
        check::addresses_and_routes(session, &link, prev)
    }

    fn del(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let mut failures = Failures::new();
        failures.note(move_out(call, session));
        failures.note(link::forward(call, session, Command::Del));
        failures.into_result()
    }

    fn gc(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let mut failures = Failures::new();
        if let Some(valid) = ValidAttachments::read(call.text)? {
            // Devices whose sandbox went before them.
            let give_back = &mut |session: &mut Session<'_>, tag: &Tag| give_back(session, tag, None);
            failures.note(crate::record::take_back_stale(session, record::DIR, call.conf.name, &valid, give_back));
        }
        failures.note(link::forward(call, session, Command::Gc));
        failures.into_result()
    }

    fn status(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let device = Device::read(call, session.backend)?;
        device.find(session.backend).map_err(|error| error.as_code(Code::NOT_AVAILABLE))?;
        link::forward(call, session, Command::Status)
    }
}

/// Moves the device into the sandbox, down, under CNI_IFNAME.
fn move_in(call: &Call<'_>, session: &mut Session<'_>, link: &Link) -> Result<Link> {
    let ifname = call.env.ifname;
    if session.backend.link(Ns::Sandbox, &ifname)?.is_some() {
        return Err(veth::exists(call));
    }
    let mut was = record::Device { name: link.name, mac: link.mac, up: link.up, addresses: heapless::Vec::new() };
    let mut more = false;
    session.backend.addresses(Ns::Host, link.index, None, &mut |address| {
        if address.scope == UNIVERSE {
            more |= was.addresses.push(address.cidr).is_err();
        }
    })?;
    if more {
        return Err(Error::limit("IPS", limits::IPS).with(&" addresses on a device that moves"));
    }
    let (path, text) = (crate::record::path(record::DIR, &call.owner().tag())?, was.text());
    let mut plan = Plan::new();
    plan.change(Change::WriteFile { path: &path, content: text.as_bytes() })?;
    // Secondary addresses come after their primary one, which takes them with it.
    for cidr in was.addresses.iter().rev() {
        plan.change(Change::TakeAddress { index: link.index, name: link.name, cidr: *cidr })?;
    }
    plan.change(Change::MoveLink {
        index: link.index,
        name: link.name,
        to: ifname,
        alias: was.name.as_str(),
        was_up: link.up,
    })?;
    session.apply(&plan)?;
    link::made(session, Ns::Sandbox, &ifname)
}

/// Gives the device back as the record says, or under the name in its alias, as
/// the peer moves it.
fn move_out(call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
    let inside = if session.has_sandbox() { session.backend.link(Ns::Sandbox, &call.env.ifname)? } else { None };
    give_back(session, &call.owner().tag(), inside)
}

/// Gives the device of an attachment back: the one in its sandbox, or else the
/// one that is back on the host already.
fn give_back(session: &mut Session<'_>, tag: &Tag, inside: Option<Link>) -> Result<()> {
    let was = record::Device::load(session, tag)?;
    let place = match (&inside, &was) {
        (Some(link), _) => Some((Ns::Sandbox, link.clone())),
        (None, Some(was)) => stranded(session, was)?.map(|link| (Ns::Host, link)),
        (None, None) => None,
    };
    if let Some((ns, link)) = place {
        let to = was.as_ref().map(|was| was.name).or_else(|| IfName::new(&link.alias).ok());
        // Neither a record nor an alias: not a device that was moved here.
        if let Some(to) = to {
            let up = was.as_ref().is_some_and(|was| was.up);
            session.removal(Removal::ReturnLink { ns, name: link.name, to, up })?;
        }
    }
    let Some(was) = was else { return Ok(()) };
    let path = crate::record::path(record::DIR, tag)?;
    let mut plan = Plan::new();
    for cidr in &was.addresses {
        plan.remove(Removal::RestoreAddress { name: was.name, cidr: *cidr })?;
    }
    session.remove(&plan)?;
    // The record goes last: it is what a repeated DEL needs.
    session.removal(Removal::RemoveFile { path: &path })
}

/// The device, back on the host because its sandbox went before it: the kernel
/// leaves it its name there, or gives it one of its own.
fn stranded(session: &mut Session<'_>, was: &record::Device) -> Result<Option<Link>> {
    let mut found = None;
    session.backend.links(Ns::Host, &mut |link| {
        if link.alias == was.name.as_str() && link.mac == was.mac {
            found = Some(link.clone());
        }
    })?;
    Ok(found)
}

fn report(call: &Call<'_>, device: &Device<'_>, moved: Option<&Link>, result: &mut AddResult) -> Result<()> {
    let mut interface = match moved {
        Some(link) => {
            let mtu = if call.version >= Version::V1_1_0 { link.mtu } else { 0 };
            Interface::new(&link.name, link.mac, mtu, call.env.netns)
        }
        None => {
            let mut interface = Interface::new(&call.env.ifname, Default::default(), 0, call.env.netns);
            interface.mac.clear();
            interface
        }
    };
    interface.pci_id =
        fits(&[&device.pci_id()]).ok_or_else(|| err!(CONFIG, "invalid device address", device.pci_id()))?;
    result.interfaces.clear();
    result.add_interface(interface)
}
