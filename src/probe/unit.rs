//! encoderd as a service: installed, enabled, active, or failing again and again.

use super::{Context, Finding};

const NAME: &str = "unit";

/// A service that was started anew so often fails by itself, not by a hiccup.
const RESTARTS_MANY: u32 = 3;

const LOG: &str = "sudo journalctl -u encoderd -n 30 --no-pager";

pub(super) fn look(context: &Context) -> Vec<Finding> {
    vec![judge(context)]
}

fn judge(context: &Context) -> Finding {
    let unit = &context.unit;
    let Some(file) = &unit.file else {
        return Finding::note(NAME, "encoderd is no service of this PC: it runs while somebody runs it");
    };
    if unit.is_masked {
        return Finding::failed(NAME, format!("the service is masked: {file} forbids it to start"))
            .remedy("sudo systemctl unmask encoderd && sudo systemctl enable --now encoderd");
    }
    let Some(state) = &unit.state else {
        return Finding::note(NAME, format!("{file} is installed; systemd does not run or does not say more"));
    };
    let how = format!("{} ({}, last result {})", state.active, state.sub, state.result);
    let failing = state.sub == "auto-restart" || state.restarts >= RESTARTS_MANY && state.active != "active";
    match state.active.as_str() {
        _ if failing => Finding::failed(
            NAME,
            format!("the service ends again and again: {how}, started anew {} times", state.restarts),
        )
        .remedy(format!("what it says: {LOG}; mend that, then: sudo systemctl restart encoderd")),
        "failed" => Finding::failed(NAME, format!("the service has failed: {how}"))
            .remedy(format!("what it says: {LOG}; mend that, then: sudo systemctl restart encoderd")),
        "active" | "reloading" if unit.is_enabled => Finding::fine(NAME, format!("the service is {how}")),
        "active" | "reloading" => Finding::note(NAME, format!("the service is {how}, but does not start with the PC"))
            .remedy("sudo systemctl enable encoderd"),
        "activating" | "deactivating" => Finding::note(NAME, format!("the service is {how}")).remedy("encoderd probe"),
        _ if context.status.is_some() => {
            Finding::note(NAME, format!("the service is {how}; encoderd was started by hand"))
        }
        _ => Finding::failed(NAME, format!("the service is {how}")).remedy("sudo systemctl enable --now encoderd"),
    }
}
