//! `vlan`, `vlanTrunk` and `preserveDefaultVlan`: which VLANs of the bridge a
//! port is in, and the host's own end on one of them.

use picocni_core::error::{Error, Phrase, Result};
use picocni_core::json::raw::Elements;
use picocni_core::json::{self, Key, Kind, Limit};
use picocni_core::limits;
use picocni_core::name::{IfIndex, IfName};
use picocni_core::observe::{Link, Ns};
use picocni_core::op::{Change, Plan, VlanRange};
use picocni_core::plugin::Call;
use picocni_core::session::Session;
use picocni_core::text::fits;
use picocni_core::{err, fields};

use crate::{link, veth};

const ID: Key = Key::int("id", i32::MIN as i64, i32::MAX as i64);
const MIN_ID: Key = Key::int("minID", i32::MIN as i64, i32::MAX as i64);
const MAX_ID: Key = Key::int("maxID", i32::MIN as i64, i32::MAX as i64);

/// An element of `vlanTrunk`.
pub(super) const TRUNK: Kind = Kind::Object(&[ID, MIN_ID, MAX_ID]);
/// Elements of `vlanTrunk`.
pub(super) const TRUNK_LIMIT: Limit = Limit::new("VLAN_RANGES", limits::VLAN_RANGES);

/// The VLAN of every port of a bridge that says nothing of VLANs.
const DEFAULT: u16 = 1;
const LAST: u16 = 4094;

#[derive(Debug, Default)]
struct Trunk {
    id: Option<i64>,
    min: Option<i64>,
    max: Option<i64>,
}

fields!(Trunk { "id" => id, "minID" => min, "maxID" => max });

/// VLANs of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Vlans {
    /// The one whose frames have no tag, 0 for none.
    pub(super) untagged: u16,
    /// The bridge's default VLAN stays on the port.
    pub(super) keep_default: bool,
    ranges: heapless::Vec<VlanRange, { limits::VLAN_RANGES }>,
}

fn id(value: i64, phrase: Phrase) -> Result<u16> {
    u16::try_from(value)
        .ok()
        .filter(|id| (1..=LAST).contains(id))
        .ok_or_else(|| err!(CONFIG, phrase, value, " (must be between 1 and 4094)"))
}

impl Trunk {
    /// First and last ID of each thing that it names.
    fn ranges(&self) -> Result<[Option<(u16, u16)>; 2]> {
        let pair = match (self.min, self.max) {
            (None, None) => None,
            (Some(min), Some(max)) => {
                let (min, max) =
                    (id(min, &"incorrect trunk minID parameter")?, id(max, &"incorrect trunk maxID parameter")?);
                if min > max {
                    return Err(err!(CONFIG, "minID is greater than maxID in trunk parameter", min, " > ", max));
                }
                Some((min, max))
            }
            (None, Some(_)) => {
                return Err(err!(CONFIG, "minID and maxID should be configured simultaneously, minID is missing"));
            }
            (Some(_), None) => {
                return Err(err!(CONFIG, "minID and maxID should be configured simultaneously, maxID is missing"));
            }
        };
        let single = self.id.map(|value| id(value, &"incorrect trunk id parameter")).transpose()?;
        Ok([pair, single.map(|id| (id, id))])
    }
}

impl Vlans {
    /// What the config says; `None` if it says nothing of VLANs.
    ///
    /// # Errors
    /// Code 7: an ID is out of range. Code 100: too many ranges.
    pub(super) fn read(call: &Call<'_>, vlan: i64, keep_default: bool) -> Result<Option<Self>> {
        let untagged = u16::try_from(vlan).ok().filter(|id| *id <= LAST);
        let untagged =
            untagged.ok_or_else(|| err!(CONFIG, "invalid VLAN ID", vlan, " (must be between 0 and 4094)"))?;
        let trunk = call.at(&["vlanTrunk"]);
        if untagged == 0 && trunk.is_empty() {
            return Ok(None);
        }
        let mut vlans = Vlans { untagged, keep_default, ranges: heapless::Vec::new() };
        // Without a VLAN of its own the port of a trunk has the default one.
        let own = if untagged == 0 { DEFAULT } else { untagged };
        let mut tagged = [0u64; 64];
        for element in Elements::new(trunk) {
            let trunk: Trunk = json::read(element).map_err(|_| err!(CONFIG, "config does not fit", "vlanTrunk"))?;
            for (first, last) in trunk.ranges()?.into_iter().flatten() {
                (first..=last).for_each(|id| set(&mut tagged, id));
            }
        }
        vlans.push(VlanRange { first: own, last: own, untagged: true })?;
        let mut start = None;
        for id in 1..=LAST {
            let wanted = id != own && is_set(&tagged, id);
            match (start, wanted) {
                (None, true) => start = Some(id),
                (Some(first), false) => {
                    vlans.push(VlanRange { first, last: id.saturating_sub(1), untagged: false })?;
                    start = None;
                }
                _ => {}
            }
        }
        if let Some(first) = start {
            vlans.push(VlanRange { first, last: LAST, untagged: false })?;
        }
        Ok(Some(vlans))
    }

    fn push(&mut self, range: VlanRange) -> Result<()> {
        self.ranges.push(range).map_err(|_| Error::limit("VLAN_RANGES", limits::VLAN_RANGES))
    }

    /// Plans the VLANs of a new port.
    ///
    /// # Errors
    /// Code 100.
    pub(super) fn plan<'p>(&'p self, port: IfIndex, plan: &mut Plan<'p>) -> Result<()> {
        if !self.keep_default {
            plan.change(Change::ClearPortVlans { port })?;
        }
        plan.change(Change::AddPortVlans { port, vlans: &self.ranges })
    }
}

fn set(bits: &mut [u64; 64], id: u16) {
    if let Some(word) = bits.get_mut(usize::from(id >> 6)) {
        *word |= 1 << (id & 63);
    }
}

fn is_set(bits: &[u64; 64], id: u16) -> bool {
    bits.get(usize::from(id >> 6)).is_some_and(|word| word & (1 << (id & 63)) != 0)
}

/// The host's end on a VLAN of the bridge, `BRIDGE.VLAN`, made if it is missing.
///
/// # Errors
/// Code 7: that is too long for a name. Code 101.
pub(super) fn gateway(session: &mut Session<'_>, bridge: &Link, vlans: &Vlans) -> Result<Link> {
    let vlan = vlans.untagged;
    let text: Option<heapless::String<{ limits::IFNAME }>> = fits(&[&bridge.name, &".", &vlan]);
    let text = text.ok_or_else(|| {
        err!(CONFIG, "name of the VLAN's gateway interface is too long", bridge.name, ".", vlan, ": rename the bridge")
    })?;
    let name = IfName::of(&text);
    if let Some(link) = session.backend.link(Ns::Host, &name)? {
        return Ok(link);
    }
    let machine = session.backend.machine();
    let identity: [&[u8]; 2] = [bridge.name.as_str().as_bytes(), &vlan.to_le_bytes()];
    let [bridge_name, id] = identity;
    session.change(Change::EnsureVlanPort {
        bridge: bridge.index,
        name,
        port: veth::hashed_name(&identity),
        mac: veth::derived_mac(machine, &[b"vlan", bridge_name, id]),
        port_mac: veth::derived_mac(machine, &[b"vlan port", bridge_name, id]),
        mtu: bridge.mtu,
        vlan,
        keep_default: vlans.keep_default,
    })?;
    link::made(session, Ns::Host, &name)
}
