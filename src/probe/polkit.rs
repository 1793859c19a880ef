//! The polkit rule that lets a service use PC/SC, where pcscd asks polkit.

use super::machine::Source;
use super::pcscd::polkit_rule;
use super::{Context, Finding, Verdict};
use crate::transport::pcsc::ServiceProblem;

const NAME: &str = "polkit";

/// pcscd's actions: distributions that build it with polkit ship this file. Source: pcsc-lite 2.3.3 of Debian 13.
const ACTIONS: &str = "usr/share/polkit-1/actions/org.debian.pcsc-lite.policy";

/// Where rules lie.
const RULES: &[&str] = &["etc/polkit-1/rules.d", "run/polkit-1/rules.d", "usr/share/polkit-1/rules.d"];

pub(super) fn look(context: &Context) -> Vec<Finding> {
    judge(context).into_iter().collect()
}

/// What the daemon met itself is told by `pcscd`.
fn judge(context: &Context) -> Option<Finding> {
    let (facts, service) = (context.pcsc.as_ref()?, &context.service);
    let asks_polkit = context.machine.is_there(ACTIONS);
    let user = service.user.as_ref()?;
    if !asks_polkit || service.source == Source::Asker || user.uid == 0 {
        return None;
    }
    let name = &service.name;
    let rules = context.machine.texts(RULES, ".rules");
    let names_it =
        |text: &str| text.contains("access_pcsc") && text.contains("access_card") && text.contains(name.as_str());
    if rules.iter().any(|(_, text)| names_it(text)) {
        return Some(Finding::fine(NAME, format!("a rule lets {name} use PC/SC")));
    }
    let problem = facts.daemon.as_ref().map(|daemon| daemon.problem);
    if problem == Some(None) || problem == Some(Some(ServiceProblem::Denied)) {
        return None;
    }
    let verdict = if facts.is_needed() { Verdict::Failed } else { Verdict::Note };
    let message = format!("pcscd asks polkit, and no rule lets {name}, who encoderd runs as, use PC/SC");
    Some(Finding::new(NAME, verdict, message).remedy(polkit_rule(name)))
}
