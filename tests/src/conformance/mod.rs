//! Black-box conformance: the rules of the CNI specification, asked of every plugin in a directory.
//!
//! A rule is one function over a [`Trial`]: it calls the plugin on a private host of its own and says what is wrong.
//! Rules know nothing of an implementation; what a plugin needs to be called at all is in [`profiles`]. A plugin
//! without a profile gets the rules that hold for all.
//!
//! | module | rules about |
//! |---|---|
//! | [`environment`] | variables and commands |
//! | [`version`] | VERSION |
//! | [`stdin`] | the configuration |
//! | [`errors`] | error objects |
//! | [`result`] | results, at every version |
//! | [`add`], [`check`], [`del`], [`gc`], [`status`] | the commands |
//! | [`leaks`] | what is left behind |
//! | [`chained`], [`delegation`] | plugins that follow, and that call, others |

mod add;
mod chained;
mod check;
pub mod command;
mod del;
mod delegation;
mod environment;
mod errors;
pub mod expected;
mod gc;
mod leaks;
mod profiles;
mod report;
mod result;
mod status;
mod stdin;
mod trial;
mod version;

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

pub use profiles::{Profile, Role};
pub use report::{Counts, Report};
pub use trial::{Container, Trial};

use crate::peer::Peer;
use crate::sandbox;

/// Why a rule did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Miss {
    /// The plugin breaks it.
    Fails(String),
    /// It does not concern this plugin, or cannot be asked here.
    DoesNotApply(String),
}

/// What a rule, or a step of one, found.
pub type Finding<T = ()> = Result<T, Miss>;

/// Ends the rule as failed unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Miss::Fails(format!($($message)+)));
        }
    };
}
/// Ends the rule as not applicable unless the condition holds.
macro_rules! applies {
    ($condition:expr, $($reason:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Miss::DoesNotApply(format!($($reason)+)));
        }
    };
}
use {applies, ensure};

/// Whom a rule concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Every program that calls itself a CNI plugin.
    Every,
    /// Plugins with a profile.
    Known,
    /// Known plugins of these roles.
    Roles(&'static [Role]),
}

type Body = Box<dyn Fn(&Trial<'_>) -> Finding + Send + Sync>;

/// A rule of the specification.
pub struct Rule {
    /// `topic.what`, unique.
    pub name: String,
    /// Where the specification says it.
    pub section: &'static str,
    scope: Scope,
    body: Body,
}

impl Rule {
    fn new(
        name: impl Into<String>,
        section: &'static str,
        scope: Scope,
        body: impl Fn(&Trial<'_>) -> Finding + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), section, scope, body: Box::new(body) }
    }
}

/// All rules, in the order of the table.
pub fn rules() -> Vec<Rule> {
    let topics = [
        environment::rules,
        version::rules,
        stdin::rules,
        errors::rules,
        result::rules,
        add::rules,
        check::rules,
        del::rules,
        leaks::rules,
        chained::rules,
        delegation::rules,
        gc::rules,
        status::rules,
    ];
    topics.into_iter().flat_map(|topic| topic()).collect()
}

/// How a rule ended for a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Passed,
    /// It does not; what is wrong, and what was sent and came back.
    Failed {
        /// In a sentence.
        why: String,
        /// The calls before it.
        evidence: String,
    },
    /// Not asked, with the reason.
    NotApplicable(String),
}

/// One cell of the table.
#[derive(Debug, Clone)]
pub struct Cell {
    /// The plugin's name.
    pub plugin: String,
    /// The rule's name.
    pub rule: String,
    /// Its section of the specification.
    pub section: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// Seconds it took.
    pub seconds: f64,
}

/// Asks every rule of every plugin, a few at a time.
pub fn run(peer: &Peer, plugins: &[String], rules: &[Rule]) -> Report {
    let pairs: Vec<(&String, &Rule)> = plugins.iter().flat_map(|p| rules.iter().map(move |r| (p, r))).collect();
    let (next, cells) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    // A rule that panics is a failed rule, and its message is in the report.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((at, (plugin, rule))) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, pairs.get(at)?)))
                {
                    let cell = judge(peer, plugin, rule);
                    cells.lock().unwrap_or_else(PoisonError::into_inner).push((at, cell));
                }
            });
        }
    });
    std::panic::set_hook(hook);
    let mut cells = cells.into_inner().unwrap_or_else(PoisonError::into_inner);
    cells.sort_by_key(|(at, _)| *at);
    Report::new(cells.into_iter().map(|(_, cell)| cell).collect())
}

fn judge(peer: &Peer, plugin: &str, rule: &Rule) -> Cell {
    let started = std::time::Instant::now();
    let profile = profiles::of(plugin);
    let verdict = match outside(rule.scope, profile) {
        Some(reason) => Verdict::NotApplicable(reason),
        None => attempt(peer, plugin, profile, rule),
    };
    let seconds = started.elapsed().as_secs_f64();
    Cell { plugin: plugin.to_owned(), rule: rule.name.clone(), section: rule.section, verdict, seconds }
}

/// Why a rule does not concern a plugin, by its role alone.
fn outside(scope: Scope, profile: Option<&Profile>) -> Option<String> {
    match (scope, profile) {
        (Scope::Every, _) | (Scope::Known, Some(_)) => None,
        (_, None) => Some("no profile of this plugin".to_owned()),
        (Scope::Roles(roles), Some(profile)) => {
            (!roles.contains(&profile.role)).then(|| format!("not for {}", profile.role.words()))
        }
    }
}

fn attempt(peer: &Peer, plugin: &str, profile: Option<&'static Profile>, rule: &Rule) -> Verdict {
    let exchanges = Mutex::new(Vec::new());
    let body = || {
        sandbox::run_with(peer.clone(), |host| {
            let trial = Trial::new(host, plugin, profile, &exchanges);
            if rule.scope != Scope::Every {
                trial.prepare()?;
            }
            (rule.body)(&trial)
        })
    };
    let finding = catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(Miss::Fails(said(panic.as_ref()))));
    match finding {
        Ok(()) => Verdict::Passed,
        Err(Miss::DoesNotApply(reason)) => Verdict::NotApplicable(reason),
        Err(Miss::Fails(why)) => {
            let exchanges = exchanges.into_inner().unwrap_or_else(PoisonError::into_inner);
            let from = exchanges.len().saturating_sub(2);
            Verdict::Failed { why, evidence: exchanges.get(from..).unwrap_or_default().join("\n") }
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}
