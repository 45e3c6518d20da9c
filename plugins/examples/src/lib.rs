//! `tcp-keepalive`, a chained plugin: how long a TCP connection of the pod is idle before it is probed.
//! In a network configuration list: `{"type": "tcp-keepalive", "seconds": 60}`
use picocni_core::error::Result;
use picocni_core::observe::Ns;
use picocni_core::op::{Change, OnFailure, Undo};
use picocni_core::plugin::{Call, Plugin};
use picocni_core::session::Session;
use picocni_core::{config_keys, err, fields, heapless, json, limits, result::AddResult, text::fits};

pub struct TcpKeepalive;

const SYSCTL: &str = "net/ipv4/tcp_keepalive_time";
type Value = heapless::String<{ limits::SYSCTL_VALUE }>;

#[derive(Default)]
struct Conf {
    seconds: i64,
}

fields!(Conf { "seconds" => seconds });

/// What the sysctl is to be.
fn wanted(call: &Call<'_>) -> Result<Value> {
    let conf: Conf = call.fields()?;
    if !(1..=32_767).contains(&conf.seconds) {
        return Err(err!(CONFIG, "invalid seconds", conf.seconds, " (1 to 32767)"));
    }
    Ok(fits(&[&conf.seconds]).unwrap_or_default())
}

impl Plugin for TcpKeepalive {
    fn name(&self) -> &'static str {
        "tcp-keepalive"
    }

    fn keys(&self) -> &'static [json::Key] {
        config_keys![json::Key::int("seconds", 0, i64::MAX)]
    }

    fn add(&self, call: &Call<'_>, session: &mut Session<'_>, result: &mut AddResult) -> Result<()> {
        let value = wanted(call)?;
        result.clone_from(call.required_prev()?);
        // Planned as data: the backend reads the old value first, and puts it back if a later step fails.
        let (undo, on_failure) = (Undo::Restore, OnFailure::Fail);
        session.change(Change::WriteSysctl { ns: Ns::Sandbox, key: SYSCTL, value: &value, undo, on_failure })
    }

    fn check(&self, call: &Call<'_>, session: &mut Session<'_>) -> Result<()> {
        let (wanted, mut found) = (wanted(call)?, Value::new());
        session.backend.sysctl(Ns::Sandbox, SYSCTL, &mut found)?;
        if found == wanted { Ok(()) } else { Err(err!(CHANGED, "keepalive differs", found, ", not ", wanted)) }
    }

    /// The sysctl goes with the sandbox.
    fn del(&self, _call: &Call<'_>, _session: &mut Session<'_>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use picocni_core::sim::{Step, TestBed};
    use std::sync::Mutex;

    static BED: Mutex<TestBed> = Mutex::new(TestBed::new());

    #[test]
    fn add_check_and_the_failure_of_every_operation() {
        const NETNS: &str = "/run/netns/pod";
        let conf = r#"{"cniVersion":"1.1.0","name":"net","type":"tcp-keepalive","seconds":60,"prevResult":{"cniVersion":
            "1.1.0","interfaces":[{"name":"eth0","sandbox":"/run/netns/pod"}],"ips":[{"address":"10.1.2.3/24"}]}}"#;
        let step = |command| Step::new(&TcpKeepalive, command, "container", NETNS, conf);
        let mut bed = BED.lock().unwrap();
        bed.boot().add_sandbox(NETNS).unwrap();
        assert!(bed.call(&[], &step("CHECK")).unwrap_err().contains("keepalive differs"));
        assert!(bed.call(&[], &step("ADD")).unwrap().contains("10.1.2.3/24"), "prevResult is passed on");
        assert_eq!(bed.sysctl(NETNS, SYSCTL), "60");
        assert_eq!(bed.call(&[], &step("CHECK")), Ok(""));
        assert_eq!(bed.prove(&[], &|host| host.add_sandbox(NETNS), &[], step("ADD")), Ok(1));
    }
}
