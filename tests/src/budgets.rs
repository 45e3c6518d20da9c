//! The figures of `budgets.toml`.

use std::fs;

use toml::{Table, Value};

use crate::paths;

/// The parsed file.
#[derive(Debug, Clone)]
pub struct Budgets(Table);

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

    /// A figure by table and key.
    pub fn find(&self, table: &str, key: &str) -> Option<f64> {
        match self.0.get(table)?.get(key)? {
            Value::Float(f) => Some(*f),
            #[expect(clippy::cast_precision_loss, reason = "budgets are small")]
            Value::Integer(i) => Some(*i as f64),
            _ => None,
        }
    }

    /// A figure that must be there.
    ///
    /// # Panics
    /// When it is not, so that a check never passes for want of a budget.
    #[track_caller]
    pub fn get(&self, table: &str, key: &str) -> f64 {
        self.find(table, key).unwrap_or_else(|| panic!("budgets.toml has no number {table}.{key}"))
    }
}
