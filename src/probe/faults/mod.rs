//! PCs with a fault each. The probe's first failure must name the cause, with the command that repairs it; where a test can,
//! it runs that command and probes again.

mod bench;
mod desk;
mod files;
mod hubs;
mod services;

use super::{Verdict, first};
use bench::Bench;
use std::future::Future;
use std::pin::Pin;

/// A fault.
pub(super) struct Fault {
    /// What is wrong, for whoever reads the test's output.
    name: &'static str,
    /// The PC that it is planted in.
    on: On,
    /// Plants it.
    plant: Plant,
    /// The check that must speak first.
    check: &'static str,
    /// What its message must say.
    message: &'static [&'static str],
    /// What its remedy must say.
    remedy: &'static str,
    /// How it is mended.
    mend: Mend,
}

/// A fault being planted.
type Planting<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// How a fault is planted.
enum Plant {
    /// At once.
    Now(fn(&mut Bench)),
    /// With something to wait for.
    Later(for<'a> fn(&'a mut Bench) -> Planting<'a>),
}

/// Which PC.
#[derive(Clone, Copy, PartialEq, Eq)]
enum On {
    /// With the service, which runs.
    Service,
    /// Without it; nobody runs.
    Hand,
}

/// How a fault is mended.
enum Mend {
    /// By the part of the remedy before this, in a shell.
    Run(&'static str),
    /// The same, where the test may give files away.
    RunAsRoot(&'static str),
    /// As the remedy says, by hand.
    Do(fn(&mut Bench)),
    /// Not here: it takes a real service manager, or another machine.
    No,
}

/// How many of 25 must be named rightly.
const RIGHT_OF_25: usize = 24;

async fn find(fault: &Fault) -> Result<(), String> {
    let mut bench = match fault.on {
        On::Service => Bench::service().await,
        On::Hand => Bench::by_hand().await,
    };
    match fault.plant {
        Plant::Now(plant) => plant(&mut bench),
        Plant::Later(plant) => plant(&mut bench).await,
    }
    let findings = bench.probe().await;
    let Some(found) = first(&findings) else { return Err(format!("nothing is wrong: {findings:#?}")) };
    let found = found.clone();
    let remedy = found.remedy.clone().unwrap_or_default();
    let is_said = found.check == fault.check && fault.message.iter().all(|part| found.message.contains(part));
    if !is_said || !remedy.contains(fault.remedy) || found.who.is_none() {
        return Err(format!("{found:#?}"));
    }
    match fault.mend {
        Mend::Run(until) => bench.mend(remedy.split(until).next().unwrap_or_default()),
        Mend::RunAsRoot(until) if bench::is_root() => bench.mend(remedy.split(until).next().unwrap_or_default()),
        Mend::Do(mend) => mend(&mut bench),
        Mend::RunAsRoot(_) | Mend::No => return Ok(()),
    }
    let after = bench.probe().await;
    let still = after.iter().find(|finding| finding.verdict == Verdict::Failed);
    still.map_or(Ok(()), |still| Err(format!("after {remedy:?}: {still:#?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pc_in_order_has_no_failure() {
    for bench in [Bench::service().await, Bench::by_hand().await] {
        let findings = bench.probe().await;
        assert_eq!(first(&findings), None);
        assert!(findings.len() > 10, "{findings:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_failure_names_the_cause_and_the_command() {
    let faults =
        [files::faults(), services::faults(), desk::faults(), hubs::faults()].into_iter().flatten().collect::<Vec<_>>();
    let mut wrong = Vec::new();
    for fault in &faults {
        if let Err(found) = find(fault).await {
            wrong.push(format!("{}: {found}", fault.name));
        }
    }
    let right = faults.len() - wrong.len();
    assert!(faults.len() >= 25, "{}", faults.len());
    assert!(right * 25 >= faults.len() * RIGHT_OF_25, "{}", wrong.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
