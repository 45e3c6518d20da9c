//! Files, leases, claims, locks, and foreign plugins.

use super::*;
use crate::backend::Found;
use crate::env::Environment;
use crate::observe::Protocol;
use crate::sim::EEXIST;

const DIR: &str = "/var/lib/cni/networks/net";

fn lease(at: &str) -> Change<'static> {
    Change::ReserveLease { dir: DIR, ip: ip(at), container: "c1", ifname: IfName::of("eth0") }
}

#[test]
fn leases_are_files_as_the_peer_writes_them() {
    let mut sim = host();
    assert!(!sim.leases(DIR, &mut |_, _| panic!("none")).unwrap());
    there_and_back(&mut sim, lease("10.0.0.2"));
    sim.arrange(&[lease("10.0.0.2"), lease("fd00::2"), Change::NoteLastLease { dir: DIR, set: 0, ip: ip("10.0.0.2") }])
        .unwrap();
    sim.set_file("/var/lib/cni/networks/net/10.0.0.9", b"garbage").unwrap();
    sim.set_file("/var/lib/cni/networks/network2/10.0.0.3", b"other").unwrap();
    assert_eq!(sim.file("/var/lib/cni/networks/net/10.0.0.2"), Some(b"c1\r\neth0".as_slice()));
    assert_eq!(sim.file("/var/lib/cni/networks/net/last_reserved_ip.0"), Some(b"10.0.0.2".as_slice()));
    let mut found = Vec::new();
    assert!(sim.leases(DIR, &mut |ip, content| found.push((ip, content.len()))).unwrap());
    assert_eq!(found, [(ip("10.0.0.2"), 8), (ip("fd00::2"), 8), (ip("10.0.0.9"), 7)]);
    let error = sim.arrange(&[lease("10.0.0.2")]).unwrap_err();
    assert_eq!(code(&error), (103, EEXIST));
    let mut names = Vec::new();
    assert!(sim.list(DIR, &mut |name| names.push(std::string::String::from(name))).unwrap());
    assert_eq!(names.len(), 4);
    let mut first = [0u8; 2];
    assert_eq!(sim.read_file("/var/lib/cni/networks/net/10.0.0.2", &mut first).unwrap(), Some(8));
    assert_eq!(&first, b"c1");
}

#[test]
fn a_hint_is_left_by_undo_and_so_does_not_count() {
    let mut sim = host();
    let (before, before_unshared) = (state(&sim), unshared(&sim));
    assert_eq!(reports(&mut *sim, &[Change::NoteLastLease { dir: DIR, set: 1, ip: ip("10.0.0.2") }]), [Ok(false)]);
    assert_ne!(before, state(&sim));
    assert_eq!(before_unshared, unshared(&sim));
}

#[test]
fn removing_a_file_moves_no_other() {
    let mut sim = host();
    for number in 0..100u8 {
        let path = std::format!("/run/f/{number}");
        sim.write_file(&path, &std::vec![number; usize::from(number)]).unwrap();
    }
    for number in (0..100u8).step_by(3) {
        remove(&mut *sim, Removal::RemoveFile { path: &std::format!("/run/f/{number}") }).unwrap();
    }
    for number in 0..100u8 {
        let expected = (number % 3 != 0).then(|| std::vec![number; usize::from(number)]);
        assert_eq!(sim.file(&std::format!("/run/f/{number}")), expected.as_deref());
    }
    there_and_back(&mut sim, Change::WriteFile { path: "/run/f/0", content: b"new" });
    assert_eq!(reports(&mut *sim, &[Change::WriteFile { path: "/run/f/1", content: b"replaced" }]), [Ok(false)]);
}

#[test]
fn a_full_model_is_an_error_that_changes_nothing() {
    let mut sim = host();
    let big = std::vec![7u8; 40 * 1024];
    sim.write_file("/a", &big).unwrap();
    sim.write_file("/b", b"small").unwrap();
    assert_eq!(sim.write_file("/b", &big).unwrap_err().code().0, 100);
    assert_eq!(sim.file("/b"), Some(b"small".as_slice()));
    sim.write_file("/a", &big[1..]).unwrap();
}

#[test]
fn claims_are_exclusive() {
    let mut sim = host();
    let claim = Change::Claim { dir: "/run/cni/ports", key: "tcp-80", holder: "picocni:n:c:eth0" };
    there_and_back(&mut sim, claim);
    sim.arrange(&[claim]).unwrap();
    assert_eq!(code(&sim.arrange(&[claim]).unwrap_err()), (103, EEXIST));
    let mut holder = heapless::String::new();
    assert!(sim.read_link("/run/cni/ports", "tcp-80", &mut holder).unwrap());
    assert_eq!(holder, "picocni:n:c:eth0");
    remove(&mut *sim, Removal::Unclaim { dir: "/run/cni/ports", key: "tcp-80" }).unwrap();
    assert!(!sim.read_link("/run/cni/ports", "tcp-80", &mut holder).unwrap());
    assert!(!sim.list("/run/cni/ports", &mut |_| {}).unwrap(), "the directory goes when it is empty");
}

#[test]
fn one_lock_at_a_time() {
    let mut sim = host();
    sim.unlock();
    sim.lock("/l").unwrap();
    assert!(sim.is_locked());
    assert!(sim.lock("/m").is_err());
    assert_eq!(sim.lock_faults(), 1);
    sim.unlock();
    sim.lock("/m").unwrap();
    sim.end_process();
    assert!(!sim.is_locked());
}

#[test]
fn foreign_plugins_answer_by_script() {
    let mut sim = host();
    assert_eq!(sim.find("dhcp", "/opt/cni/bin").unwrap(), Found::Own);
    sim.set_found("dhcp", Found::Missing).unwrap();
    assert_eq!(sim.find("dhcp", "/opt/cni/bin").unwrap(), Found::Missing);
    sim.set_script("/opt/cni/bin/x", 1, b"{}", "no").unwrap();
    let env = Environment { command: "ADD", container_id: "c1", ifname: "eth0", ..Environment::default() };
    let mut out = [0u8; 4];
    let exit = sim.exec("/opt/cni/bin/x", &env, b"in", &mut out).unwrap();
    assert_eq!((exit.code, exit.stdout, exit.stderr.as_str()), (1, 2, "no"));
    assert_eq!(&out[..2], b"{}");
    assert_eq!(sim.exec("/opt/cni/bin/x", &env, b"in", &mut [0u8; 1]).unwrap_err().code().0, 100);
    assert_eq!(sim.exec("/opt/cni/bin/y", &env, b"in", &mut out).unwrap_err().code().0, 5);
    assert_eq!(sim.exec_calls().len(), 3);
    assert_eq!(sim.exec_calls()[0].command, "ADD");
}

#[test]
fn events_are_counted() {
    let mut sim = host();
    sim.arrange(&[veth()]).unwrap();
    let inner = index(&mut sim, Ns::Sandbox, "eth0");
    sim.arrange(&[Change::Announce { index: inner, mac: Mac([3; 6]) }]).unwrap();
    assert_eq!(sim.announcements()[0].sandbox, A);
    remove(&mut *sim, Removal::PurgeConnections { protocol: Protocol::Udp, host_port: 53, host_ip: None, v6: false })
        .unwrap();
    assert_eq!(sim.purges(), 1);
    assert!(sim.now_us() < sim.now_us());
}
