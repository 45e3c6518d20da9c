//! Error objects.

use super::{Finding, Role, Rule, Scope, Trial, ensure};

const SECTION: &str = "5 Error";

pub(super) fn rules() -> Vec<Rule> {
    vec![
        Rule::new("error.shape", SECTION, Scope::Every, shape),
        Rule::new("error.cni-version", SECTION, Scope::Every, cni_version),
        Rule::new("error.own-codes", SECTION, Scope::Roles(&[Role::Interface, Role::Loopback]), own_codes),
    ]
}

/// One JSON object and nothing else on stdout, `code` and `msg` in it, and a status that is not 0.
fn shape(trial: &Trial<'_>) -> Finding {
    trial.error(&trial.complete("ADD").without("CNI_CONTAINERID"))?;
    trial.error(&trial.complete("DEL").stdin("{"))?;
    trial.error(&trial.complete("ADD").conf(&trial.conf_at("9.8.7")))?;
    Ok(())
}

fn cni_version(trial: &Trial<'_>) -> Finding {
    let error = trial.error(&trial.complete("NOPE"))?;
    let said = error.cni_version;
    ensure!(
        said.as_deref() == Some(trial.version()),
        "cniVersion is {said:?}, the configuration's is {}",
        trial.version()
    );
    Ok(())
}

/// An error of the work itself: codes 12 to 49 and 52 to 99 have no meaning, so nobody may use them.
fn own_codes(trial: &Trial<'_>) -> Finding {
    let error = trial.error(&trial.complete("ADD"))?;
    let known = matches!(error.code, 1..=8 | 11 | 50 | 51 | 100..);
    ensure!(known, "code {} is reserved and has no meaning", error.code);
    Ok(())
}
