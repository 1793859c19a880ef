//! What comes over a line.

use super::own_process::{eventually, in_own_process, readers, sockets, threads, until, watched};
use super::script::{Came, one, run};
use crate::fake::{CLASSIC_1K, Device, Fake};
use crate::pcscd::{Meanwhile, Pcscd};
use encoder_protocols::apdu::Apdu;
use encoder_protocols::dialect::{CardFailure, CardOutput};
use encoderd::clock;
use encoderd::transport::pcsc::{CardState, Monitor, PcscLine, PcscOpenError, ServiceProblem, Snapshot};
use encoderd::transport::{ExchangeError, Gone};
use pcsc::{Card, Context, Disposition, Protocols, Scope, ShareMode};
use std::ffi::CString;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;

const GONE: ExchangeError = ExchangeError::Gone(Gone);

/// An ACR122U with a card on it, and a line to it.
struct Desk {
    // Fields are dropped in this order.
    line: PcscLine,
    snapshot: watch::Receiver<Snapshot>,
    monitor: Monitor,
    reader: Fake,
    name: String,
    pcscd: Pcscd,
    bus: PathBuf,
}

impl Desk {
    async fn new(bus: PathBuf) -> Self {
        let (pcscd, monitor, mut snapshot) = watched(&bus).await;
        let reader = Fake::plug(&bus, &Device::acr122u("1-1", 4));
        reader.place(&CLASSIC_1K);
        let (seen, _) = until(&mut snapshot, |seen| is_there(seen, CardState::Present)).await;
        let name = seen.readers[0].name.clone();
        let line = PcscLine::open(&name, None, snapshot.clone()).unwrap();
        Self { line, snapshot, monitor, reader, name, pcscd, bus }
    }

    async fn until(&mut self, card: CardState) {
        until(&mut self.snapshot, |seen| is_there(seen, card)).await;
    }

    /// Another program's connection to the reader.
    fn other(&self, share: ShareMode) -> Result<Card, pcsc::Error> {
        let context = Context::establish(Scope::System).unwrap();
        context.connect(&CString::new(self.name.clone()).unwrap(), share, Protocols::ANY)
    }

    /// Whether nothing of ours is connected to the card. On a thread: while we are in a transaction pcscd does not answer.
    fn is_free(&self) -> bool {
        let name = CString::new(self.name.clone()).unwrap();
        let (say, said) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            let context = Context::establish(Scope::System).unwrap();
            let connected = context.connect(&name, ShareMode::Exclusive, Protocols::ANY).map(leave);
            say.send(connected == Ok(()))
        });
        said.recv_timeout(Duration::from_millis(500)) == Ok(true)
    }

    /// Connects as soon as the thread is back from a call that was given up.
    async fn connect_again(&mut self) {
        let start = clock::now();
        loop {
            let came = one(&mut self.line, CardOutput::Connect).await;
            if came != Came::Failed(CardFailure::InUse) {
                return assert_eq!(came, powered());
            }
            assert!(clock::now() - start < Duration::from_secs(5));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn leave(card: Card) {
    assert!(card.disconnect(Disposition::LeaveCard).is_ok());
}

fn is_there(seen: &Snapshot, card: CardState) -> bool {
    seen.readers.first().is_some_and(|reader| reader.card == card)
}

fn uid() -> CardOutput {
    CardOutput::Transmit(Apdu::uid())
}

fn powered() -> Came {
    Came::Powered(CLASSIC_1K.to_vec())
}

#[test]
fn apdus_go_to_the_card_and_back_in_a_transaction() {
    in_own_process("transport::line::apdus_go_to_the_card_and_back_in_a_transaction", |bus| async move {
        let mut desk = Desk::new(bus).await;
        desk.reader.answer_next(&[0x04, 0xA1, 0xB2, 0xC3, 0x90, 0x00]);
        let came = run(&mut desk.line, &[CardOutput::Connect, uid()]).await.unwrap();
        assert_eq!(came, [powered(), Came::Response(vec![0x04, 0xA1, 0xB2, 0xC3, 0x90, 0x00])]);
        assert!(!desk.is_free());
        // A connection that is there is kept.
        desk.reader.requests();
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, powered());
        assert!(desk.reader.requests().is_empty());
        desk.reader.answer_next(&[]);
        assert_eq!(one(&mut desk.line, uid()).await, Came::Response(Vec::new()));
        assert_eq!(one(&mut desk.line, CardOutput::Disconnect).await, Came::Disconnected);
        // An earlier question may still be on its way, and is the reader's only owner for a moment.
        eventually("nothing of ours is connected", || desk.is_free()).await;
        // The card has kept its power all the time.
        assert!(!desk.reader.requests().iter().any(|request| request[0] < 3));
    });
}

#[test]
fn power_goes_off_and_on_within_the_transaction() {
    in_own_process("transport::line::power_goes_off_and_on_within_the_transaction", |bus| async move {
        let mut desk = Desk::new(bus).await;
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, powered());
        desk.reader.requests();
        assert_eq!(one(&mut desk.line, CardOutput::PowerCycle).await, powered());
        assert_eq!(desk.reader.requests(), [[0], [1]]);
        assert_eq!(one(&mut desk.line, uid()).await, Came::Response(vec![0x90, 0x00]));
        // Nobody else gets in: the lock was not lost.
        let name = CString::new(desk.name.clone()).unwrap();
        let waiting = std::thread::spawn(move || {
            let context = Context::establish(Scope::System).unwrap();
            leave(context.connect(&name, ShareMode::Shared, Protocols::ANY).unwrap());
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!waiting.is_finished());
        assert_eq!(one(&mut desk.line, CardOutput::Disconnect).await, Came::Disconnected);
        eventually("the other program is let in", || waiting.is_finished()).await;
    });
}

#[test]
fn a_card_that_is_not_there_is_not_asked_for() {
    in_own_process("transport::line::a_card_that_is_not_there_is_not_asked_for", |bus| async move {
        let mut desk = Desk::new(bus).await;
        desk.reader.leave_at_next();
        let came = run(&mut desk.line, &[CardOutput::Connect, uid()]).await.unwrap();
        assert_eq!(came, [powered(), Came::Failed(CardFailure::NoCard)]);
        desk.until(CardState::Absent).await;
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, Came::Failed(CardFailure::NoCard));
        desk.reader.place(&[]);
        desk.until(CardState::Mute).await;
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, Came::Failed(CardFailure::Mute));
        desk.reader.remove();
        desk.until(CardState::Absent).await;
        desk.reader.place(&CLASSIC_1K);
        desk.until(CardState::Present).await;
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, powered());
        // It becomes mute while its power is switched.
        desk.reader.place(&[]);
        assert_eq!(one(&mut desk.line, CardOutput::PowerCycle).await, Came::Failed(CardFailure::Mute));
        desk.reader.remove();
        desk.until(CardState::Absent).await;
        desk.reader.place(&CLASSIC_1K);
        desk.until(CardState::Present).await;
        eventually("nothing of ours is connected", || desk.is_free()).await;
    });
}

#[test]
fn changes_are_told_once_and_lifting_is_noticed() {
    in_own_process("transport::line::changes_are_told_once_and_lifting_is_noticed", |bus| async move {
        let mut desk = Desk::new(bus).await;
        let changes =
            async |line: &mut PcscLine| tokio::time::timeout(Duration::from_millis(100), line.changed()).await.is_ok();
        assert!(changes(&mut desk.line).await, "nothing was acted on yet");
        assert!(!desk.line.lifted());
        for _ in 0..50 {
            let came =
                run(&mut desk.line, &[CardOutput::Connect, CardOutput::PowerCycle, CardOutput::Disconnect]).await;
            assert_eq!(came.unwrap().len(), 3);
        }
        assert!(!changes(&mut desk.line).await, "its own doing is no change");
        assert!(!desk.line.lifted());
        // Quicker than anybody looks.
        desk.reader.remove();
        desk.reader.place(&CLASSIC_1K);
        desk.line.changed().await;
        desk.until(CardState::Present).await;
        assert!(desk.line.lifted());
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, powered());
        assert!(!desk.line.lifted());
        desk.reader.remove();
        desk.line.changed().await;
        desk.until(CardState::Absent).await;
        assert!(!desk.line.lifted(), "it lies nowhere");
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, Came::Failed(CardFailure::NoCard));
    });
}

#[test]
fn a_program_that_has_the_reader_for_itself_is_waited_for_and_then_named() {
    in_own_process(
        "transport::line::a_program_that_has_the_reader_for_itself_is_waited_for_and_then_named",
        |bus| async move {
            let mut desk = Desk::new(bus).await;
            let other = desk.other(ShareMode::Exclusive).unwrap();
            let start = clock::now();
            assert_eq!(one(&mut desk.line, CardOutput::Connect).await, Came::Failed(CardFailure::InUse));
            let took = clock::now() - start;
            assert!((Duration::from_millis(500)..Duration::from_millis(1900)).contains(&took), "{took:?}");
            let name = desk.name.clone();
            let released = std::thread::spawn(move || {
                std::thread::park_timeout(Duration::from_millis(200));
                leave(other);
                name
            });
            assert_eq!(one(&mut desk.line, CardOutput::Connect).await, powered());
            released.join().unwrap();
        },
    );
}

#[test]
fn a_program_in_a_transaction_does_not_hang_the_line() {
    in_own_process("transport::line::a_program_in_a_transaction_does_not_hang_the_line", |bus| async move {
        let mut desk = Desk::new(bus).await;
        let mut other = desk.other(ShareMode::Shared).unwrap();
        let transaction = other.transaction().unwrap();
        let start = clock::now();
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, Came::Failed(CardFailure::InUse));
        let took = clock::now() - start;
        assert!((Duration::from_millis(1900)..Duration::from_millis(3900)).contains(&took), "{took:?}");
        // Stuck: answered at once.
        let start = clock::now();
        for ask in [CardOutput::Connect, uid(), CardOutput::PowerCycle, CardOutput::Escape(vec![1])] {
            assert_eq!(one(&mut desk.line, ask).await, Came::Failed(CardFailure::InUse));
        }
        assert_eq!(one(&mut desk.line, CardOutput::Disconnect).await, Came::Disconnected);
        assert!(clock::now() - start < Duration::from_secs(1));
        assert!(transaction.end(Disposition::LeaveCard).is_ok());
        leave(other);
        // What it came to in the end is undone, and it serves again.
        desk.connect_again().await;
        assert_eq!(one(&mut desk.line, uid()).await, Came::Response(vec![0x90, 0x00]));
    });
}

#[test]
fn a_reader_that_hangs_does_not_hang_the_line() {
    in_own_process("transport::line::a_reader_that_hangs_does_not_hang_the_line", |bus| async move {
        let mut desk = Desk::new(bus).await;
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, powered());
        desk.reader.hold(true);
        assert_eq!(one(&mut desk.line, uid()).await, Came::Failed(CardFailure::Silent));
        assert_eq!(one(&mut desk.line, uid()).await, Came::Failed(CardFailure::Silent));
        desk.reader.hold(false);
        eventually("nothing of ours is connected", || desk.is_free()).await;
        desk.connect_again().await;
    });
}

#[test]
fn a_command_that_is_dropped_lets_go_of_the_card() {
    in_own_process("transport::line::a_command_that_is_dropped_lets_go_of_the_card", |bus| async move {
        let mut desk = Desk::new(bus).await;
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, powered());
        desk.reader.hold(true);
        let dropped = tokio::time::timeout(Duration::from_millis(100), one(&mut desk.line, uid())).await;
        assert!(dropped.is_err());
        desk.reader.hold(false);
        // The next one waits for the thread; what was open is not any more.
        assert_eq!(one(&mut desk.line, uid()).await, Came::Failed(CardFailure::Reset));
        assert_eq!(one(&mut desk.line, uid()).await, Came::Response(vec![0x90, 0x00]));
        desk.reader.hold(true);
        let dropped = tokio::time::timeout(Duration::from_millis(100), one(&mut desk.line, uid())).await;
        assert!(dropped.is_err());
        desk.reader.hold(false);
        eventually("nothing of ours is connected", || desk.is_free()).await;
    });
}

#[test]
fn a_reset_by_another_program_before_the_transaction_is_no_loss() {
    in_own_process("transport::line::a_reset_by_another_program_before_the_transaction_is_no_loss", |bus| async move {
        let mut desk = Desk::new(bus).await;
        // Another program that resets the card whenever it can, until it has done so often.
        let name = CString::new(desk.name.clone()).unwrap();
        let other = std::thread::spawn(move || {
            let context = Context::establish(Scope::System).unwrap();
            for _ in 0..40 {
                // Dropping it resets the card; the crate's way.
                drop(context.connect(&name, ShareMode::Shared, Protocols::ANY).unwrap());
            }
        });
        while !other.is_finished() {
            let mut connected = one(&mut desk.line, CardOutput::Connect).await;
            if connected == Came::Failed(CardFailure::Reset) {
                connected = one(&mut desk.line, CardOutput::Connect).await;
            }
            assert_eq!(connected, powered());
            // pcscd tells a handle of a reset before it does it: of one that began before, we hear with the first APDU.
            let mut came = one(&mut desk.line, uid()).await;
            if came == Came::Failed(CardFailure::Reset) {
                came = one(&mut desk.line, uid()).await;
            }
            assert_eq!(came, Came::Response(vec![0x90, 0x00]));
            assert_eq!(one(&mut desk.line, CardOutput::Disconnect).await, Came::Disconnected);
        }
        other.join().unwrap();
    });
}

#[test]
fn escapes_go_to_the_reader_with_a_card_and_without() {
    in_own_process("transport::line::escapes_go_to_the_reader_with_a_card_and_without", |bus| async move {
        let mut desk = Desk::new(bus).await;
        let escape = || CardOutput::Escape(vec![1, 2, 3]);
        assert_eq!(one(&mut desk.line, escape()).await, Came::Response(vec![3, 2, 1]));
        eventually("nothing of ours is connected", || desk.is_free()).await;
        let came = run(&mut desk.line, &[CardOutput::Connect, escape()]).await.unwrap();
        assert_eq!(came, [powered(), Came::Response(vec![3, 2, 1])]);
        assert_eq!(one(&mut desk.line, CardOutput::Disconnect).await, Came::Disconnected);
        desk.reader.remove();
        desk.until(CardState::Absent).await;
        assert_eq!(one(&mut desk.line, escape()).await, Came::Response(vec![3, 2, 1]));
        desk.reader.refuse_escapes();
        assert_eq!(one(&mut desk.line, escape()).await, Came::Failed(CardFailure::Refused));
        desk.reader.place(&CLASSIC_1K);
        desk.until(CardState::Present).await;
        let came = run(&mut desk.line, &[CardOutput::Connect, escape(), uid()]).await.unwrap();
        assert_eq!(came, [powered(), Came::Failed(CardFailure::Refused), Came::Response(vec![0x90, 0x00])]);
    });
}

#[test]
fn a_reader_that_is_unplugged_ends_its_line() {
    in_own_process("transport::line::a_reader_that_is_unplugged_ends_its_line", |bus| async move {
        let mut desk = Desk::new(bus).await;
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, powered());
        drop(desk.reader);
        // Whether the monitor has said it yet or not.
        eventually_gone(&mut desk.line).await;
        desk.line.changed().await;
        readers(&mut desk.snapshot, 0).await;
        assert_eq!(run(&mut desk.line, &[CardOutput::Connect]).await, Err(GONE));
        let error = PcscLine::open(&desk.name, None, desk.snapshot.clone()).unwrap_err();
        assert_eq!(error, PcscOpenError::NotFound);
        // Under the same name again: another appearance, another line.
        desk.reader = Fake::plug(&desk.bus, &Device::acr122u("1-1", 5));
        desk.reader.place(&CLASSIC_1K);
        desk.until(CardState::Present).await;
        assert_eq!(run(&mut desk.line, &[CardOutput::Connect]).await, Err(GONE));
        desk.line = PcscLine::open(&desk.name, None, desk.snapshot.clone()).unwrap();
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, powered());
        // A line that is to lead to the reader that was there before.
        assert_eq!(one(&mut desk.line, CardOutput::Disconnect).await, Came::Disconnected);
        let before = encoderd::transport::pcsc::UsbAddress { bus: 1, device: 4 };
        desk.line = PcscLine::open(&desk.name, Some(before), desk.snapshot.clone()).unwrap();
        assert_eq!(run(&mut desk.line, &[CardOutput::Connect]).await, Err(GONE));
        eventually("nothing of ours is connected", || desk.is_free()).await;
    });
}

async fn eventually_gone(line: &mut PcscLine) {
    let start = clock::now();
    loop {
        match run(line, &[uid()]).await {
            Err(error) => {
                assert_eq!(error, GONE);
                break;
            }
            Ok(came) => {
                let failures = [CardFailure::NoCard, CardFailure::NotTransacted, CardFailure::Reset].map(Came::Failed);
                assert!(failures.contains(&came[0]), "{came:?}");
            }
        }
        assert!(clock::now() - start < Duration::from_secs(2));
    }
}

#[test]
fn a_service_that_ends_ends_its_lines_and_leaves_nothing_behind() {
    in_own_process("transport::line::a_service_that_ends_ends_its_lines_and_leaves_nothing_behind", |bus| async move {
        let before = sockets();
        let mut desk = Desk::new(bus).await;
        for cycle in 0..6 {
            assert_eq!(one(&mut desk.line, CardOutput::Connect).await, powered());
            if cycle % 2 == 0 {
                desk.pcscd.kill(Meanwhile::Refused);
            } else {
                desk.pcscd.term(Meanwhile::Absent);
            }
            let start = clock::now();
            assert_eq!(run(&mut desk.line, &[uid()]).await, Err(GONE));
            assert!(clock::now() - start < Duration::from_secs(1));
            desk.line.changed().await;
            until(&mut desk.snapshot, |seen| seen.readers.is_empty()).await;
            let error = PcscLine::open(&desk.name, None, desk.snapshot.clone()).unwrap_err();
            assert_eq!(error, PcscOpenError::Service(ServiceProblem::NotRunning));
            desk.pcscd.start_again();
            desk.until(CardState::Present).await;
            assert_eq!(run(&mut desk.line, &[CardOutput::Connect]).await, Err(GONE));
            desk.line = PcscLine::open(&desk.name, None, desk.snapshot.clone()).unwrap();
        }
        assert_eq!(one(&mut desk.line, CardOutput::Connect).await, powered());
        let Desk { line, monitor, reader, pcscd, .. } = desk;
        drop(line);
        eventually("the lines' threads have ended", || threads("pcsc-line") == 0).await;
        monitor.stop().await;
        drop(reader);
        eventually("no socket is left", || sockets() == before).await;
        drop(pcscd);
    });
}
