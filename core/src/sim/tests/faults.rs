//! The fault wrapper follows the batch rule.

use super::*;
use crate::op::OnFailure;
use crate::sim::{EIO, FaultBackend, Faults};

fn address(last: u8) -> Change<'static> {
    let cidr = Cidr::new(IpAddr::from([10, 0, 0, last]), 24).unwrap();
    Change::AddAddress { ns: Ns::Host, index: IfIndex(1), cidr, dad: false, prefix_route: true }
}

fn masquerade(last: u8) -> Change<'static> {
    Change::Masquerade { ip: IpAddr::from([10, 0, 0, last]), net: cidr("10.0.0.0/24"), tag: "t" }
}

const FORWARD: Change<'static> =
    Change::EnsureSysctl { key: "net/ipv4/ip_forward", value: "1", on_failure: OnFailure::Fail };

/// `+` applied, `!` the fault, `-` not applied; and the number counted.
fn outcome(at: usize, changes: &[Change<'_>]) -> (std::string::String, usize, Box<SimBackend>) {
    let mut sim = host();
    let mut faulty = FaultBackend::new(&mut *sim, Faults::at(at));
    let all = reports(&mut faulty, changes);
    let count = faulty.count();
    let signs = all
        .iter()
        .map(|outcome| match outcome {
            Ok(_) => '+',
            Err(error) if code(error) == (101, EIO) && error.msg() == "injected fault" => '!',
            Err(error) if error.code().0 == 999 => '-',
            Err(error) => panic!("{error:?}"),
        })
        .collect();
    (signs, count, sim)
}

#[test]
fn the_rest_of_an_rtnetlink_batch_is_applied_and_nothing_of_a_filter_batch() {
    let changes = [address(1), address(2), address(3), masquerade(1), masquerade(2), FORWARD];
    let expected = ["!++---", "+!+---", "++!---", "+++!!-", "+++!!-", "+++++!", "++++++"];
    for (at, expected) in expected.into_iter().enumerate() {
        let (signs, count, mut sim) = outcome(at, &changes);
        assert_eq!((signs.as_str(), count), (expected, 6), "operation {at}");
        let there: Vec<u8> = addresses(&mut sim, Ns::Host, IfIndex(1))
            .iter()
            .map(|known| match known.cidr.addr() {
                IpAddr::V4(v4) => v4.octets()[3],
                IpAddr::V6(_) => 0,
            })
            .collect();
        let wanted: Vec<u8> = [1u8, 2, 3]
            .into_iter()
            .zip(expected.chars())
            .filter(|(_, sign)| *sign == '+')
            .map(|(last, _)| last)
            .collect();
        assert_eq!(there, wanted, "operation {at}");
        let filtered = sim.is_masqueraded(ip("10.0.0.1"), "t").unwrap();
        assert_eq!(filtered, expected.chars().nth(3) == Some('+'), "operation {at}");
        assert_eq!(sim.is_masqueraded(ip("10.0.0.2"), "t").unwrap(), filtered);
    }
}

#[test]
fn a_failure_of_the_model_s_own_before_the_fault_stops_as_well() {
    let changes = [address(1), address(1), masquerade(1), masquerade(2)];
    let mut sim = host();
    let all = reports(&mut FaultBackend::new(&mut *sim, Faults::at(3)), &changes);
    assert_eq!(all[1].as_ref().unwrap_err().errno(), 17);
    for late in &all[2..] {
        assert_eq!(late.as_ref().unwrap_err().code().0, 999);
    }
}

#[test]
fn what_may_not_fail_is_not_counted() {
    let ignored = Change::EnsureSysctl { key: "net/ipv4/ip_forward", value: "1", on_failure: OnFailure::Ignore };
    let (signs, count, _) = outcome(0, &[ignored, FORWARD]);
    assert_eq!((signs.as_str(), count), ("+!", 1));
}

#[test]
fn removals_go_on() {
    let mut sim = host();
    sim.arrange(&[address(1), address(2), address(3)]).unwrap();
    let gone = |last| Removal::DeleteAddress {
        ns: Ns::Host,
        index: IfIndex(1),
        cidr: Cidr::new(IpAddr::from([10, 0, 0, last]), 24).unwrap(),
    };
    let mut faulty = FaultBackend::new(&mut *sim, Faults::at(1));
    let mut all = Vec::new();
    faulty.remove(&[gone(1), gone(2), gone(3)], &mut |at, outcome| all.push((at, outcome.is_ok())));
    assert_eq!(all, [(0, true), (1, false), (2, true)]);
    assert_eq!((faulty.count(), faulty.hit()), (3, Some("delete address")));
    assert_eq!(addresses(&mut sim, Ns::Host, IfIndex(1)).len(), 1);
}

#[test]
fn observations_fail_on_request() {
    let mut sim = host();
    let mut silent = FaultBackend::new(&mut *sim, Faults::at(0));
    silent.link(Ns::Host, &IfName::of("lo")).unwrap();
    assert_eq!(silent.count(), 0);
    let mut faulty = FaultBackend::new(
        &mut *sim,
        Faults { observations: true, errno: 12, code: crate::error::Code::IO, at: Some(1) },
    );
    faulty.link(Ns::Host, &IfName::of("lo")).unwrap();
    let error = faulty.find("bridge", "").unwrap_err();
    assert_eq!(code(&error), (5, 12));
    faulty.lock("/l").unwrap();
    assert_eq!((faulty.count(), faulty.hit()), (3, Some("find plugin")));
}
