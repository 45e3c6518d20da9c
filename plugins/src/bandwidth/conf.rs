//! Configuration of `bandwidth`.

use picocni_core::config_keys;
use picocni_core::err;
use picocni_core::error::{Error, Result};
use picocni_core::fields;
use picocni_core::json::{Key, Str};
use picocni_core::plugin::Call;
use picocni_core::shaping::{Bucket, Queue};

const fn limit(name: &'static str) -> Key {
    // As far as a config struct holds them; 9 Ebit/s is more than any link.
    Key::uint(name, 0, i64::MAX as u64)
}

const LIMITS: &[Key] = &[limit("ingressRate"), limit("ingressBurst"), limit("egressRate"), limit("egressBurst")];

/// Every key that `bandwidth` reads.
pub(super) const KEYS: &[Key] = config_keys![
    limit("ingressRate"),
    limit("ingressBurst"),
    limit("egressRate"),
    limit("egressBurst"),
    Key::int("latencyMs", i64::MIN, i64::MAX),
    Key::str("queue"),
    Key::object("runtimeConfig", &[Key::object("bandwidth", LIMITS)]),
];

/// Milliseconds that packets may wait, as in the reference plugin.
const LATENCY_MS: u32 = 25;
/// The longest that may be configured: what waits longer is better lost.
const LATENCY_MAX_MS: u32 = 10_000;
/// Under this interval of fq_codel its target is a twentieth, as by the kernel's defaults.
const INTERVAL_US: u32 = 100_000;
/// Bytes that the reference plugin refuses as a burst (2³² - 1).
const BURST_END: u64 = 0xffff_ffff;

/// Bits a second and bits, as they stand in the config.
#[derive(Debug, Default)]
struct Limits {
    ingress_rate: Option<i64>,
    ingress_burst: Option<i64>,
    egress_rate: Option<i64>,
    egress_burst: Option<i64>,
}

fields!(Limits {
    "ingressRate" => ingress_rate,
    "ingressBurst" => ingress_burst,
    "egressRate" => egress_rate,
    "egressBurst" => egress_burst,
});

impl Limits {
    fn is_given(&self) -> bool {
        [self.ingress_rate, self.ingress_burst, self.egress_rate, self.egress_burst].iter().any(Option::is_some)
    }
}

#[derive(Debug, Default)]
struct RuntimeConfig {
    bandwidth: Option<Limits>,
}

fields!(RuntimeConfig { "bandwidth" => bandwidth });

#[derive(Debug, Default)]
struct Wire<'a> {
    latency_ms: Option<i64>,
    queue: Str<'a>,
    runtime_config: Option<RuntimeConfig>,
}

fields!(Wire<'a> { "latencyMs" => latency_ms, "queue" => queue, "runtimeConfig" => runtime_config });

/// The configuration, checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conf {
    /// For what the pod receives.
    pub(super) ingress: Option<Bucket>,
    /// For what the pod sends.
    pub(super) egress: Option<Bucket>,
    /// Where it waits.
    pub(super) queue: Queue,
}

impl Conf {
    /// Reads and checks the configuration of a call. Any limit in the config
    /// itself takes the place of all that the runtime says.
    ///
    /// # Errors
    /// Code 7.
    pub(super) fn read(call: &Call<'_>) -> Result<Self> {
        let own: Limits = call.fields()?;
        let wire: Wire<'_> = call.fields()?;
        let runtime = wire.runtime_config.and_then(|config| config.bandwidth).unwrap_or_default();
        let limits = if own.is_given() { own } else { runtime };
        let latency = latency(wire.latency_ms)?;
        let queue = queue(wire.queue, latency)?;
        let ms = latency.unwrap_or(LATENCY_MS);
        Ok(Conf {
            ingress: bucket("ingress", limits.ingress_rate, limits.ingress_burst, ms)?,
            egress: bucket("egress", limits.egress_rate, limits.egress_burst, ms)?,
            queue,
        })
    }

    /// Whether there is nothing to do.
    pub(super) fn is_empty(&self) -> bool {
        self.ingress.is_none() && self.egress.is_none()
    }
}

fn latency(ms: Option<i64>) -> Result<Option<u32>> {
    let Some(ms) = ms else { return Ok(None) };
    let number = u32::try_from(ms).ok().filter(|ms| (1..=LATENCY_MAX_MS).contains(ms));
    let refused = || err!(CONFIG, "invalid latencyMs", ms, ", expected 1 to ", LATENCY_MAX_MS, " milliseconds");
    number.map(Some).ok_or_else(refused)
}

fn queue(name: Str<'_>, latency: Option<u32>) -> Result<Queue> {
    if name.is_empty() || name == "tbf" {
        return Ok(Queue::Fifo);
    }
    if name != "fq_codel" {
        return Err(err!(CONFIG, "unknown queue", "\"", name.canonical(), "\", expected \"tbf\" or \"fq_codel\""));
    }
    let target_us = latency.unwrap_or(0).saturating_mul(1000);
    let interval_us = target_us.saturating_mul(20);
    // The kernel's own is kept where it is long enough.
    Ok(Queue::FqCodel { target_us, interval_us: if interval_us > INTERVAL_US { interval_us } else { 0 } })
}

fn bucket(direction: &'static str, rate: Option<i64>, burst: Option<i64>, ms: u32) -> Result<Option<Bucket>> {
    let [rate, burst] = [rate, burst].map(|bits| u64::try_from(bits.unwrap_or(0)).unwrap_or(0));
    match (rate, burst) {
        (0, 0) => return Ok(None),
        (_, 0) => return Err(half(&"if rate is set, burst must also be set", direction, "Burst")),
        (0, _) => return Err(half(&"if burst is set, rate must also be set", direction, "Rate")),
        _ => {}
    }
    if burst >> 3 >= BURST_END {
        return Err(err!(
            CONFIG,
            "burst cannot be more than 4GB",
            "\"",
            direction,
            "Burst\" is ",
            burst,
            " bits, expected less than 34359738360"
        ));
    }
    let refused = || {
        err!(
            CONFIG,
            "rate or burst is too small",
            "\"",
            direction,
            "Rate\" is ",
            rate,
            " and \"",
            direction,
            "Burst\" ",
            burst,
            ": not one byte (8 bits) a second, or in a burst of 64 ns"
        )
    };
    Bucket::new(rate, burst, ms).map(Some).ok_or_else(refused)
}

#[cold]
fn half(phrase: picocni_core::error::Phrase, direction: &'static str, missing: &'static str) -> Error {
    err!(CONFIG, phrase, "set \"", direction, missing, "\" too, in bits")
}
