//! What the monitor says.

use super::own_process::{eventually, in_own_process, readers, sockets, threads, until, watched};
use crate::fake::{CLASSIC_1K, Device, Fake};
use crate::pcscd::{Meanwhile, Pcscd};
use encoderd::clock;
use encoderd::transport::pcsc::{CardState, Monitor, Service, ServiceProblem, Snapshot};
use std::time::Duration;

fn card(seen: &Snapshot) -> CardState {
    seen.readers[0].card
}

fn cycles() -> usize {
    std::env::var("CYCLES").map_or(10, |count| count.parse().unwrap())
}

#[test]
fn a_service_that_comes_late_is_found() {
    in_own_process("transport::monitor::a_service_that_comes_late_is_found", |bus| async move {
        let monitor = Monitor::start();
        let mut snapshot = monitor.snapshot();
        until(&mut snapshot, |seen| seen.service == Service::Gone { why: ServiceProblem::NotRunning }).await;
        // Long enough for the pauses between attempts to have reached their longest.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let _reader = Fake::plug(&bus, &Device::acr122u("1-1", 4));
        let start = clock::now();
        let _pcscd = Pcscd::start(&bus);
        let (seen, _) = until(&mut snapshot, |seen| seen.readers.len() == 1).await;
        assert!(clock::now() - start < Duration::from_secs(2), "{:?}", clock::now() - start);
        assert_eq!(seen.service, Service::Running);
        assert_eq!(seen.readers[0].name, "ACS ACR122U PICC Interface 00 00");
        assert_eq!(card(&seen), CardState::Absent);
    });
}

#[test]
fn cards_are_seen_as_they_come_and_go() {
    in_own_process("transport::monitor::cards_are_seen_as_they_come_and_go", |bus| async move {
        let (_pcscd, _monitor, mut snapshot) = watched(&bus).await;
        let reader = Fake::plug(&bus, &Device::acr122u("1-1", 4));
        assert_eq!(readers(&mut snapshot, 1).await[0].card, CardState::Absent);
        reader.place(&CLASSIC_1K);
        let (seen, _) = until(&mut snapshot, |seen| card(seen) == CardState::Present).await;
        assert_eq!(seen.readers[0].atr, CLASSIC_1K);
        assert_eq!(seen.readers[0].events, 1);
        reader.remove();
        let (seen, _) = until(&mut snapshot, |seen| card(seen) == CardState::Absent).await;
        assert!(seen.readers[0].atr.is_empty());
        assert_eq!(seen.readers[0].events, 2);
        reader.place(&[]);
        until(&mut snapshot, |seen| card(seen) == CardState::Mute).await;
        let before = seen.readers[0].appearance;
        drop(reader);
        readers(&mut snapshot, 0).await;
        let _reader = Fake::plug(&bus, &Device::acr122u("1-1", 5));
        assert_ne!(readers(&mut snapshot, 1).await[0].appearance, before);
    });
}

#[test]
fn none_of_a_thousand_cards_is_missed() {
    in_own_process("transport::monitor::none_of_a_thousand_cards_is_missed", |bus| async move {
        let (_pcscd, _monitor, mut snapshot) = watched(&bus).await;
        let reader = Fake::plug(&bus, &Device::acr122u("1-1", 4));
        readers(&mut snapshot, 1).await;
        let mut took = Vec::new();
        for count in 0..1000 {
            reader.place(&CLASSIC_1K);
            let (seen, time) = until(&mut snapshot, |seen| card(seen) == CardState::Present).await;
            assert_eq!(seen.readers[0].events, count * 2 + 1);
            took.push(time);
            reader.remove();
            let (seen, _) = until(&mut snapshot, |seen| card(seen) == CardState::Absent).await;
            assert_eq!(seen.readers[0].events, count * 2 + 2);
        }
        took.sort();
        let (median, longest) = (took[500], took[999]);
        println!("placed to seen: median {median:?}, longest {longest:?}");
        assert!(median < Duration::from_millis(5), "{median:?}");
    });
}

#[test]
fn an_event_in_the_shadow_of_another_counts() {
    in_own_process("transport::monitor::an_event_in_the_shadow_of_another_counts", |bus| async move {
        let (_pcscd, _monitor, mut snapshot) = watched(&bus).await;
        let reader = Fake::plug(&bus, &Device::acr122u("1-1", 4));
        readers(&mut snapshot, 1).await;
        reader.place(&CLASSIC_1K);
        until(&mut snapshot, |seen| card(seen) == CardState::Present).await;
        for count in 1..=200 {
            reader.remove();
            reader.place(&CLASSIC_1K);
            until(&mut snapshot, |seen| seen.readers[0].events == 1 + count * 2).await;
        }
    });
}

#[test]
fn a_service_that_ends_is_missed_at_once_and_found_again_for_ever() {
    in_own_process(
        "transport::monitor::a_service_that_ends_is_missed_at_once_and_found_again_for_ever",
        |bus| async move {
            let (mut pcscd, monitor, mut snapshot) = watched(&bus).await;
            let before = (threads("pcsc-monitor"), sockets());
            let reader = Fake::plug(&bus, &Device::acr122u("1-1", 4));
            readers(&mut snapshot, 1).await;
            let mut slowest = (Duration::ZERO, Duration::ZERO);
            for cycle in 0..cycles() {
                let meanwhile = [Meanwhile::Refused, Meanwhile::Absent, Meanwhile::Queued][cycle % 3];
                if cycle % 2 == 0 {
                    pcscd.term(meanwhile);
                } else {
                    pcscd.kill(meanwhile);
                }
                let is_gone = |seen: &Snapshot| matches!(seen.service, Service::Gone { .. }) && seen.readers.is_empty();
                let (seen, gone) = until(&mut snapshot, is_gone).await;
                assert_eq!(seen.service, Service::Gone { why: ServiceProblem::NotRunning }, "{meanwhile:?}");
                reader.place(&CLASSIC_1K);
                pcscd.start_again();
                let (_, back) = until(&mut snapshot, |seen| {
                    seen.readers.first().is_some_and(|reader| reader.card == CardState::Present)
                })
                .await;
                assert!(gone < Duration::from_secs(2), "{meanwhile:?}: {gone:?}");
                assert!(back < Duration::from_secs(5), "{meanwhile:?}: {back:?}");
                slowest = (slowest.0.max(gone), slowest.1.max(back));
                reader.remove();
                until(&mut snapshot, |seen| {
                    seen.readers.first().is_some_and(|reader| reader.card == CardState::Absent)
                })
                .await;
            }
            println!("{} cycles: gone after {:?}, back after {:?} at most", cycles(), slowest.0, slowest.1);
            // It has sockets of its own, here.
            drop(reader);
            readers(&mut snapshot, 0).await;
            assert_eq!((threads("pcsc-monitor"), sockets()), before);
            monitor.stop().await;
        },
    );
}

#[test]
fn it_stops_at_once_whatever_it_does() {
    in_own_process("transport::monitor::it_stops_at_once_whatever_it_does", |bus| async move {
        let before = sockets();
        let stop = |monitor: Monitor| async move {
            let start = clock::now();
            monitor.stop().await;
            assert!(clock::now() - start < Duration::from_millis(900), "{:?}", clock::now() - start);
            eventually("its threads have ended", || threads("pcsc-monitor") + threads("pcsc-cancel") == 0).await;
        };
        // Without a service, before it has looked, and while it waits.
        stop(Monitor::start()).await;
        let _pcscd = Pcscd::start(&bus);
        for _ in 0..20 {
            stop(Monitor::start()).await;
        }
        let monitor = Monitor::start();
        until(&mut monitor.snapshot(), |seen| seen.service == Service::Running).await;
        stop(monitor).await;
        let monitor = Monitor::start();
        until(&mut monitor.snapshot(), |seen| seen.service == Service::Running).await;
        drop(monitor);
        eventually("its thread has ended", || threads("pcsc-monitor") + threads("pcsc-cancel") == 0).await;
        assert_eq!(sockets(), before);
    });
}

#[test]
fn sixteen_readers_leave_no_room_for_the_list_and_are_watched() {
    in_own_process(
        "transport::monitor::sixteen_readers_leave_no_room_for_the_list_and_are_watched",
        |bus| async move {
            let (_pcscd, _monitor, mut snapshot) = watched(&bus).await;
            let mut fakes: Vec<Fake> = Vec::new();
            for number in 1..=16_u8 {
                fakes.push(Fake::plug(&bus, &Device::acr122u(&format!("1-{number}"), number)));
            }
            readers(&mut snapshot, 16).await;
            for (number, fake) in fakes.iter().enumerate() {
                fake.place(&CLASSIC_1K);
                until(&mut snapshot, |seen| {
                    seen.readers.iter().filter(|reader| reader.card == CardState::Present).count() == number + 1
                })
                .await;
            }
            for left in (0..16).rev() {
                drop(fakes.remove(left / 2));
                readers(&mut snapshot, left).await;
            }
        },
    );
}

#[test]
fn waiting_costs_nothing() {
    in_own_process("transport::monitor::waiting_costs_nothing", |bus| async move {
        let (_pcscd, _monitor, mut snapshot) = watched(&bus).await;
        let _fakes: Vec<Fake> =
            (1..=4_u8).map(|number| Fake::plug(&bus, &Device::acr122u(&format!("1-{number}"), number))).collect();
        readers(&mut snapshot, 4).await;
        // Its waits double up to their longest.
        tokio::time::sleep(Duration::from_secs(7)).await;
        let before = switches();
        tokio::time::sleep(Duration::from_secs(10)).await;
        let switches = switches() - before;
        println!("{switches} wake-ups in 10 s");
        assert!(switches <= 10, "{switches}");
    });
}

/// How often the monitor's thread has woken up.
fn switches() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let monitor = statuses.into_iter().find(|status| status.starts_with("Name:\tpcsc-monitor\n")).unwrap();
    let line = monitor.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).unwrap();
    line.trim().parse().unwrap()
}
