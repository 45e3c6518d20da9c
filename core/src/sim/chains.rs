//! Chains and rules that others left in the packet filter.

use super::{CHAIN_RULES, CHAINS, keep, refused};
use crate::error::Result;
use crate::packet_filter::{Action, Chain, Rule, RuleView, Table, TableFamily, Which};
use crate::text::fits;

/// EBUSY.
const EBUSY: i32 = 16;
/// ENOENT.
const ENOENT: i32 = 2;

type Name = heapless::String<64>;

#[derive(Debug)]
pub(crate) struct SimChain {
    pub(crate) family: TableFamily,
    pub(crate) table: Name,
    pub(crate) name: Name,
}

#[derive(Debug)]
pub(crate) struct SimRule {
    pub(crate) family: TableFamily,
    pub(crate) table: Name,
    pub(crate) chain: Name,
    pub(crate) comment: heapless::String<128>,
    pub(crate) jumps_to: Name,
}

#[derive(Debug)]
pub(crate) struct Chains {
    pub(crate) chains: heapless::Vec<SimChain, CHAINS>,
    pub(crate) rules: heapless::Vec<SimRule, CHAIN_RULES>,
}

fn name(text: &str) -> Name {
    fits(&[&text]).unwrap_or_default()
}

impl SimChain {
    fn is(&self, chain: &Chain<'_>) -> bool {
        self.family == chain.table.family && self.table == chain.table.name && self.name == chain.name
    }
}

impl SimRule {
    fn is_in(&self, chain: &Chain<'_>) -> bool {
        self.is_of(&chain.table) && self.chain == chain.name
    }

    fn is_of(&self, table: &Table<'_>) -> bool {
        self.family == table.family && self.table == table.name
    }

    fn view(&self) -> RuleView<'_> {
        RuleView { comment: &self.comment, jumps_to: &self.jumps_to }
    }
}

impl Chains {
    pub(crate) const fn new() -> Self {
        Chains { chains: heapless::Vec::new(), rules: heapless::Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        self.chains.clear();
        self.rules.clear();
    }

    pub(crate) fn has(&self, chain: &Chain<'_>) -> bool {
        self.chains.iter().any(|known| known.is(chain))
    }

    pub(crate) fn rules(&self, chain: &Chain<'_>, each: &mut dyn FnMut(&RuleView<'_>)) {
        self.rules.iter().filter(|rule| rule.is_in(chain)).for_each(|rule| each(&rule.view()));
    }

    pub(crate) fn ensure(&mut self, chain: &Chain<'_>) -> Result<()> {
        if self.has(chain) {
            return Ok(());
        }
        let made = SimChain { family: chain.table.family, table: name(chain.table.name), name: name(chain.name) };
        keep(&mut self.chains, made, "CHAINS")
    }

    pub(crate) fn add(&mut self, chain: &Chain<'_>, rule: &Rule<'_>, comment: &str) -> Result<()> {
        let jumps_to = match rule.action {
            Action::Jump(to) | Action::Goto(to) => to,
            _ => "",
        };
        let missing = !jumps_to.is_empty() && !self.has(&chain.table.chain(jumps_to));
        if !self.has(chain) || missing {
            return Err(refused(ENOENT, "no such chain"));
        }
        let made = SimRule {
            family: chain.table.family,
            table: name(chain.table.name),
            chain: name(chain.name),
            comment: fits(&[&comment]).unwrap_or_default(),
            jumps_to: name(jumps_to),
        };
        keep(&mut self.rules, made, "CHAIN_RULES")
    }

    pub(crate) fn drop_rules(&mut self, chain: &Chain<'_>, which: Which<'_>) {
        self.rules.retain(|rule| !rule.is_in(chain) || !rule.view().is(which));
    }

    pub(crate) fn drop_chain(&mut self, chain: &Chain<'_>) -> Result<()> {
        let used = self.rules.iter().any(|rule| rule.is_of(&chain.table) && rule.jumps_to == chain.name);
        if used {
            return Err(refused(EBUSY, "a rule jumps to the chain"));
        }
        self.rules.retain(|rule| !rule.is_in(chain));
        self.chains.retain(|known| !known.is(chain));
        Ok(())
    }

    pub(crate) fn drop_table(&mut self, table: &Table<'_>) {
        self.rules.retain(|rule| !rule.is_of(table));
        self.chains.retain(|known| known.family != table.family || known.table != table.name);
    }
}
