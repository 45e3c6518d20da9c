//! STATUS.

use serde_json::{Value, json};

use super::{Finding, Role, Rule, Scope, Trial, applies};
use crate::plugin::Call;

const SECTION: &str = "2 STATUS";

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule::new("status.ready", SECTION, Scope::Known, ready),
        Rule::new("status.master-missing", SECTION, Scope::Roles(&[Role::Interface]), master_missing),
        Rule::new("status.ipam-not-ready", SECTION, Scope::Roles(&[Role::Interface]), ipam_not_ready),
        Rule::new("status.before-1.1.0", SECTION, Scope::Every, before_1_1_0),
    ]
}

/// STATUS concerns no attachment.
fn status(trial: &Trial<'_>, conf: &Value) -> Call {
    trial.bare("STATUS").without("CNI_CONTAINERID").without("CNI_IFNAME").conf(conf)
}

fn ready(trial: &Trial<'_>) -> Finding {
    trial.needs_version("1.1.0")?;
    trial.quiet(&status(trial, &trial.conf_at("1.1.0")))
}

/// Every ADD would fail, so the plugin is not available.
fn master_missing(trial: &Trial<'_>) -> Finding {
    trial.needs_version("1.1.0")?;
    applies!(trial.profile().has_master, "it has no master");
    let mut conf = trial.conf_at("1.1.0");
    conf["master"] = "gone0".into();
    trial.error_code(&status(trial, &conf), 50)
}

/// The IPAM plugin's word counts.
fn ipam_not_ready(trial: &Trial<'_>) -> Finding {
    trial.needs_version("1.1.0")?;
    applies!(trial.profile().delegates, "it has no IPAM plugin");
    super::delegation::script(
        trial,
        "unready",
        r#"
        [ "$CNI_COMMAND" != STATUS ] || { echo '{"cniVersion":"1.1.0","code":50,"msg":"no pool"}'; exit 1; }"#,
    );
    let mut conf = trial.conf_at("1.1.0");
    conf["ipam"] = json!({"type": "unready"});
    trial.error_code(&status(trial, &conf), 50)
}

fn before_1_1_0(trial: &Trial<'_>) -> Finding {
    trial.needs_version("1.0.0")?;
    trial.error_code(&status(trial, &trial.conf_at("1.0.0")), 1)
}
