//! Sixteen encoders of one model, half of them without serial numbers, plugged in in any order again and again: no job
//! reaches another encoder than its own. All of it in simulated time: the supervisor, the devices' tasks and the PN532 are
//! the real ones, the kernel's tree is on the disk, and only the bytes go through memory.

use super::memory::Memory;
use super::supervisor::Supervisor;
use crate::clock::Deadline;
use crate::config::{Config, Personalize};
use crate::device::order::{EncodeOrder, Failure, Limits, ScanOrder};
use crate::device::registry::Registry;
use crate::discovery::serial::Machine;
use crate::discovery::sysfs::fake::Device as Adapter;
use crate::fault::FaultKind;
use crate::keys::{CardKey, KeyInUse};
use crate::transport::serial::Ports;
use encoder_protocols::card_sim::{Card, ClassicCard};
use encoder_protocols::dialect::pn532::BAUD;
use encoder_protocols::dialect::{Device, Reader, UsbId, reader};
use encoder_protocols::family::classic::ClassicSize;
use encoder_protocols::id::Uid;
use encoder_protocols::layout::record::{CredentialId, Flags, PropertyId, Record};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

const UNITS: usize = 16;

/// A product that is an encoder.
const PRODUCT: UsbId = UsbId { vendor: 0x1209, product: 0x0001, product_text: "" };

/// `ORDERS=2000` shuffles so often.
fn orders() -> usize {
    std::env::var("ORDERS").map_or(500, |text| text.parse().expect("ORDERS is a number"))
}

/// Numbers in an order that looks like none: Knuth's multiplicative generator, so that a failure can be run again.
struct Shuffle(u64);

impl Shuffle {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn order<T>(&mut self, mut items: Vec<T>) -> Vec<T> {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
        items
    }
}

/// A virtual encoder with its card, whatever it is plugged into.
struct Unit {
    device: Arc<Mutex<Box<dyn Device>>>,
    card: Uid,
    serial: Option<String>,
}

impl Unit {
    fn new(number: u8) -> Self {
        let mut device = (reader("pn532").unwrap().device)();
        let card = Uid::new(&[0xc0, 0xff, 0xee, number]).unwrap();
        device.field().place(Card::Classic(ClassicCard::blank(ClassicSize::K1, card))).unwrap();
        let serial = number.is_multiple_of(2).then(|| format!("RR{number:03}"));
        Self { device: Arc::new(Mutex::new(device)), card, serial }
    }
}

/// What is plugged in where, and pulled out by the token.
struct Plugged {
    units: BTreeMap<String, usize>,
    pulled_out: CancellationToken,
}

struct Bench {
    root: TempDir,
    units: Vec<Unit>,
    plugged: Arc<Mutex<Plugged>>,
    registry: Arc<Registry>,
    key: CardKey,
    slept: Arc<AtomicU64>,
    opened: Arc<AtomicU64>,
    stop: CancellationToken,
}

impl Bench {
    fn start() -> (Self, tokio::task::JoinHandle<()>) {
        let root = tempfile::tempdir().unwrap();
        let key = CardKey::create(root.path()).unwrap();
        let units: Vec<Unit> = (0..UNITS).map(|number| Unit::new(u8::try_from(number).unwrap())).collect();
        let devices = units.iter().map(|unit| unit.device.clone()).collect();
        let plugged = Plugged { units: BTreeMap::new(), pulled_out: CancellationToken::new() };
        let bench = Self {
            units,
            plugged: Arc::new(Mutex::new(plugged)),
            registry: Arc::default(),
            key,
            slept: Arc::default(),
            opened: Arc::default(),
            stop: CancellationToken::new(),
            root,
        };
        let (ends, opened) = mpsc::channel(UNITS);
        tokio::spawn(connect(opened, devices, bench.plugged.clone(), bench.opened.clone()));
        let slept = bench.slept.clone();
        let machine = Machine {
            sysfs: bench.root.path().join("sys"),
            dev: bench.root.path().join("dev"),
            readers: Box::leak(Box::new([Reader { usb_ids: &[PRODUCT], ..*reader("pn532").unwrap() }])),
            ports: Ports::Memory(ends),
            slept: Arc::new(move || Duration::from_secs(slept.load(Ordering::Relaxed))),
        };
        std::fs::create_dir_all(&machine.dev).unwrap();
        // Nobody changes the configuration here, and nobody asks.
        let (_, config) = watch::channel(Arc::new(Config::default()));
        let (_, asked) = mpsc::channel(1);
        let supervisor = Supervisor {
            config,
            asked,
            machine,
            memory: Memory::default(),
            key: KeyInUse::new(Some(bench.key.clone())).1,
            registry: bench.registry.clone(),
            attached: None,
            stop: bench.stop.clone(),
        };
        let task = tokio::spawn(supervisor.run());
        (bench, task)
    }

    fn adapter(&self, unit: usize, socket: usize) -> Adapter {
        let serial = self.units[unit].serial.clone().map(String::into_bytes);
        Adapter { ids: (0x1209, 1), serial, ..Adapter::ch340(&format!("1.{socket}")) }
    }

    /// Pulls everything out and plugs it in anew: this unit, into this socket, as the tty of this number.
    fn plug(&self, order: &[(usize, usize)]) {
        let (sysfs, dev) = (self.root.path().join("sys"), self.root.path().join("dev"));
        let mut plugged = self.plugged.lock().unwrap();
        plugged.pulled_out.cancel();
        for tty in plugged.units.keys() {
            std::fs::remove_file(dev.join(tty)).unwrap();
        }
        if sysfs.exists() {
            std::fs::remove_dir_all(&sysfs).unwrap();
        }
        *plugged = Plugged { units: BTreeMap::new(), pulled_out: CancellationToken::new() };
        for (number, (unit, socket)) in order.iter().enumerate() {
            let tty = format!("ttyUSB{number}");
            self.units[*unit].device.lock().unwrap().power_cycle();
            self.adapter(*unit, *socket).plug(&sysfs, &tty, 0);
            std::fs::write(dev.join(&tty), "").unwrap();
            plugged.units.insert(tty, *unit);
        }
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let patience = Deadline::after(Duration::from_mins(1));
        while !is_so() {
            let states: Vec<_> =
                self.registry.all().iter().map(|device| (device.id().to_owned(), device.status())).collect();
            assert!(!patience.has_passed(), "not {what}: {states:#?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The identity under which a card is seen.
    fn device_with(&self, card: Uid) -> Option<String> {
        let devices = self.registry.all();
        devices.iter().find(|device| device.status().card == Some(card)).map(|device| device.id().to_owned())
    }

    /// The card that a job on this device has met.
    async fn job(&self, device_id: &str, writes: bool, number: usize) -> Result<Uid, Failure> {
        let device = self.registry.get(device_id).expect("it stays known");
        let end = Deadline::after(Duration::from_secs(13));
        let limits = Limits { card: Deadline::after(Duration::from_secs(8)), first_write: end, end };
        let (stop, (progress, _unheard)) = (CancellationToken::new(), mpsc::channel(64));
        if !writes {
            let order = ScanOrder { key: Some(self.key.clone()), limits, stop, progress };
            return device.scan(order).await.map(|read| read.card);
        }
        let (intent, mut intents) = mpsc::channel::<(_, tokio::sync::oneshot::Sender<bool>)>(1);
        tokio::spawn(async move {
            while let Some((_, noted)) = intents.recv().await {
                noted.send(true).unwrap();
            }
        });
        let record = Record {
            credential_id: CredentialId(u128::try_from(number).unwrap().to_be_bytes()),
            property_id: PropertyId(self.key.property_id.into_bytes()),
            flags: Flags::NONE,
            starts_at: 1,
            ends_at: u32::MAX,
            issued_at: u32::try_from(number).unwrap(),
            doors: vec![101],
        };
        let order = EncodeOrder {
            record,
            key: self.key.clone(),
            only_card: None,
            personalize: Personalize::Auto,
            ndef: None,
            begun: std::collections::BTreeSet::new(),
            new_presentation: false,
            limits,
            stop,
            intent,
            progress,
        };
        device.encode(order).await.map(|end| end.card)
    }
}

impl Bench {
    /// The same again and again while the encoder is on its way back; and how often it was declined.
    async fn job_done(&self, device_id: &str, writes: bool, number: usize) -> (Uid, u32) {
        let patience = Deadline::after(Duration::from_mins(1));
        let mut declined = 0;
        loop {
            match self.job(device_id, writes, number).await {
                Ok(card) => return (card, declined),
                Err(failure) => {
                    let is_away = failure.fault.kind == FaultKind::EncoderOffline && failure.card.is_none();
                    assert!(is_away && !patience.has_passed(), "order {number}, {device_id}: {failure:?}");
                    declined += 1;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }
}

/// Brings each opened port together with the unit that is plugged in there.
async fn connect(
    mut opened: mpsc::Receiver<(PathBuf, DuplexStream)>,
    devices: Vec<Arc<Mutex<Box<dyn Device>>>>,
    plugged: Arc<Mutex<Plugged>>,
    count: Arc<AtomicU64>,
) {
    while let Some((path, end)) = opened.recv().await {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let plugged = plugged.lock().unwrap();
        if let Some(unit) = plugged.units.get(&name) {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(play(end, devices[*unit].clone(), plugged.pulled_out.clone()));
        }
    }
}

/// Plays a unit until it is pulled out or its port is closed.
async fn play(mut end: DuplexStream, device: Arc<Mutex<Box<dyn Device>>>, pulled_out: CancellationToken) {
    let mut bytes = [0; 512];
    loop {
        let read = tokio::select! {
            biased;
            () = pulled_out.cancelled() => return,
            read = end.read(&mut bytes) => read,
        };
        let Ok(len @ 1..) = read else { return };
        device.lock().unwrap().receive(&bytes[..len], BAUD);
        loop {
            let Some(sent) = device.lock().unwrap().poll() else { break };
            tokio::time::sleep(sent.takes).await;
            if pulled_out.is_cancelled() || end.write_all(&sent.bytes).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sixteen_encoders_shuffled_500_times_never_get_each_others_jobs() {
    let (bench, supervisor) = Bench::start();
    let mut shuffle = Shuffle(11);
    bench.plug(&(0..UNITS).map(|unit| (unit, unit)).collect::<Vec<_>>());
    let cards: Vec<Uid> = bench.units.iter().map(|unit| unit.card).collect();
    let all_seen = || cards.iter().all(|card| bench.device_with(*card).is_some());
    bench.until("all with their cards", all_seen).await;
    // The links, once and for all.
    let links: Vec<String> = cards.iter().map(|card| bench.device_with(*card).unwrap()).collect();
    assert_eq!(links.iter().collect::<BTreeSet<_>>().len(), UNITS);
    assert_eq!(links.iter().filter(|id| id.starts_with("usb-1209:0001-RR")).count(), UNITS / 2);
    let (mut done, mut written, mut declined) = (0, 0, 0);
    for order in 0..orders() {
        // Units with a serial number go into any free socket; the others are who they are by theirs.
        let sockets: Vec<usize> = (0..UNITS).filter(|unit| unit.is_multiple_of(2)).collect();
        let mut sockets = shuffle.order(sockets).into_iter();
        let placed = (0..UNITS).map(|unit| (unit, if unit.is_multiple_of(2) { sockets.next().unwrap() } else { unit }));
        bench.plug(&shuffle.order(placed.collect()));
        // At once, while nothing has been noticed: whatever is carried out is carried out on its own encoder.
        if shuffle.below(2) == 0 {
            tokio::time::sleep(Duration::from_millis(u64::try_from(shuffle.below(120)).unwrap())).await;
        }
        let unit = shuffle.below(UNITS);
        match bench.job(&links[unit], true, order).await {
            Ok(card) => assert_eq!(card, cards[unit], "order {order}: a job for unit {unit}"),
            Err(failure) => {
                assert!(failure.card.is_none_or(|card| card == cards[unit]), "order {order}: {failure:?}");
                declined += 1;
            }
        }
        let writer = shuffle.below(UNITS);
        // Half of them, the other half the next time.
        let half = links.iter().enumerate().filter(|(unit, _)| unit % 2 == order % 2 || *unit == writer);
        let jobs = half.map(|(unit, id)| {
            let bench = &bench;
            async move { (unit, bench.job_done(id, unit == writer, order).await) }
        });
        for (unit, (card, in_vain)) in join_all(jobs).await {
            assert_eq!(card, cards[unit], "order {order}: a job for unit {unit}");
            declined += in_vain;
            done += 1;
        }
        written += 1;
    }
    println!("{done} jobs done, {written} of them writing, {declined} declined while encoders came back");
    assert!(done >= orders() * UNITS / 2 && written == orders());
    bench.stop.cancel();
    supervisor.await.unwrap();
    assert!(bench.registry.all().is_empty());
}

#[tokio::test(start_paused = true)]
async fn after_a_sleep_every_port_is_opened_anew() {
    let (bench, supervisor) = Bench::start();
    bench.plug(&[(0, 0), (1, 1)]);
    let online = || {
        let devices = bench.registry.all();
        devices.len() == 2
            && devices.iter().all(|device| device.status().state == crate::api::bridge::EncoderState::Online)
    };
    bench.until("both online", online).await;
    assert_eq!(bench.opened.load(Ordering::Relaxed), 2);
    tokio::time::sleep(Duration::from_secs(70)).await;
    assert_eq!(bench.opened.load(Ordering::Relaxed), 2, "time alone is no reason");
    bench.slept.store(3600, Ordering::Relaxed);
    bench.until("opened anew", || bench.opened.load(Ordering::Relaxed) == 4 && online()).await;
    let card = bench.units[1].card;
    bench.until("the card seen again", || bench.device_with(card).is_some()).await;
    let device = bench.device_with(card).unwrap();
    assert_eq!(bench.job(&device, false, 0).await, Ok(card));
    // What cannot be used says so, and no job is done on it.
    bench.plug(&[(0, 0)]);
    bench
        .until("gone", || {
            bench.registry.get(&device).unwrap().status().state != crate::api::bridge::EncoderState::Online
        })
        .await;
    let declined = bench.job(&device, false, 0).await.unwrap_err();
    assert_eq!(declined.fault.kind, FaultKind::EncoderOffline);
    bench.stop.cancel();
    supervisor.await.unwrap();
}
