//! The figures of `budgets.toml`.

use std::fs;

use toml::{Table, Value};

use crate::paths;

/// The parsed file.
#[derive(Debug, Clone)]
pub struct Budgets(Table);

/// What a figure is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    /// What fails the check. It may only come closer to the goal.
    pub limit: f64,
    /// What is wanted; the same as the limit where that is reached.
    pub goal: f64,
}

impl Budget {
    /// Whether a value that should be small is within the limit.
    pub fn allows(&self, value: f64) -> bool {
        value <= self.limit
    }

    /// Limit, goal, and how far the value is from it, for people.
    pub fn tell(&self, value: f64) -> String {
        let Self { limit, goal } = *self;
        let wants_less = goal <= limit;
        let left = if wants_less { value - goal } else { goal - value };
        let word = if wants_less { "at most" } else { "at least" };
        match (goal == limit, left > 0.0) {
            (true, _) => format!("{word} {limit}"),
            (false, true) => format!("{word} {limit}; goal {goal}, {left:.2} to go"),
            (false, false) => format!("{word} {limit}; goal {goal} reached, make it the limit"),
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(f) => Some(*f),
        #[expect(clippy::cast_precision_loss, reason = "budgets are small")]
        Value::Integer(i) => Some(*i as f64),
        _ => None,
    }
}

impl Budgets {
    /// Reads `tests/budgets.toml`.
    ///
    /// # Panics
    /// When it is missing or not TOML.
    pub fn read() -> Self {
        let path = paths::root().join("tests/budgets.toml");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self(text.parse().unwrap_or_else(|e| panic!("budgets.toml: {e}")))
    }

    /// A figure by table and key: a number, or `{ goal, limit }` where the product does not reach the goal yet.
    pub fn find(&self, table: &str, key: &str) -> Option<Budget> {
        let value = self.0.get(table)?.get(key)?;
        if let Some(both) = number(value) {
            return Some(Budget { limit: both, goal: both });
        }
        Some(Budget { limit: number(value.get("limit")?)?, goal: number(value.get("goal")?)? })
    }

    /// A figure that must be there.
    ///
    /// # Panics
    /// When it is not, so that a check never passes for want of a budget.
    #[track_caller]
    pub fn budget(&self, table: &str, key: &str) -> Budget {
        self.find(table, key).unwrap_or_else(|| panic!("budgets.toml has no number {table}.{key}"))
    }

    /// The limit of a figure that must be there.
    ///
    /// # Panics
    /// As [`Budgets::budget`].
    #[track_caller]
    pub fn get(&self, table: &str, key: &str) -> f64 {
        self.budget(table, key).limit
    }

    /// The keys of a table, empty if there is none.
    pub fn keys(&self, table: &str) -> Vec<&str> {
        let table = self.0.get(table).and_then(Value::as_table);
        table.map(|t| t.keys().map(String::as_str).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_has_a_limit_and_a_goal() {
        let file: Table =
            "[a]\nplain = 3\nboth = { goal = 2, limit = 5.5 }\nhalf = { goal = 1 }".parse().expect("TOML");
        let budgets = Budgets(file);
        assert_eq!(budgets.find("a", "plain"), Some(Budget { limit: 3.0, goal: 3.0 }));
        let both = budgets.budget("a", "both");
        assert_eq!(both, Budget { limit: 5.5, goal: 2.0 });
        assert!(both.allows(5.5) && !both.allows(5.6));
        assert_eq!(both.tell(4.0), "at most 5.5; goal 2, 2.00 to go");
        assert_eq!(Budget { limit: 1.0, goal: 4.0 }.tell(2.5), "at least 1; goal 4, 1.50 to go");
        assert_eq!((budgets.find("a", "half"), budgets.find("b", "plain")), (None, None));
        assert_eq!(budgets.keys("a"), ["both", "half", "plain"]);
    }
}
