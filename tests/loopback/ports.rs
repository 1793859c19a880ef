//! Ports that hang up, are missing, are busy, or have something else behind them.

use crate::desk::{Desk, Setup, VirtualEncoder};
use std::time::{Duration, Instant};

/// Time that a process has had on a CPU, in clock ticks of 10 ms.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // utime and stime are fields 14 and 15; the command name, field 2, may hold blanks and ends with the parenthesis.
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_while_idle_is_noticed_and_costs_nothing() {
    let desk = Desk::simple().await;
    let id = desk.encoder(0).await;
    let unplugged = Instant::now();
    desk.encoders[0].control("unplug 5000");
    desk.wait_for("offline", |encoders| encoders[0]["state"] == "offline").await;
    let noticed = unplugged.elapsed();
    let before = cpu_ticks(desk.daemon_pid());
    tokio::time::sleep(Duration::from_secs(3)).await;
    let ticks = cpu_ticks(desk.daemon_pid()) - before;
    desk.wait_for("online again", |encoders| encoders[0]["state"] == "online").await;
    let back = unplugged.elapsed().saturating_sub(Duration::from_secs(5));
    println!("noticed after {noticed:?}, {ticks} ticks of CPU in 3 s, usable {back:?} after its return");
    assert!(noticed < Duration::from_secs(1), "{noticed:?}");
    assert!(ticks <= 3, "{ticks} ticks of 10 ms in 3 s is more than 1 %");
    assert!(back < Duration::from_secs(3), "{back:?}");
    assert_eq!(desk.encoder(0).await, id);
    let credential = desk.credential(1).await;
    desk.encode_well(0, &credential).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_while_writing_leaves_the_old_or_the_new_credential() {
    let desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef"))],
        emulator_options: &["--pace"],
        ..Setup::default()
    })
    .await;
    let id = desk.encoder(0).await;
    let previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    for write in 1..=3 {
        let credential = desk.credential(2).await;
        let before = desk.encoders[0].stats().writes;
        let attempt = desk.start_encode(0, &credential).await;
        let patience = Instant::now() + Duration::from_secs(10);
        while desk.encoders[0].stats().writes < before + write {
            assert!(Instant::now() < patience, "nothing was written\n{}", desk.log());
        }
        desk.encoders[0].control("unplug 1500");
        let attempt = desk.settled(attempt).await;
        assert_eq!(attempt["error"]["type"], "encoder_not_online", "{attempt}\n{}", desk.log());
        desk.wait_for("online again", |encoders| encoders[0]["state"] == "online").await;
        assert_eq!(desk.encoder(0).await, id);
        let scan = desk.scan_well(0).await;
        let on_card = &scan["acs_credential_on_seam"]["acs_credential_id"];
        assert!(*on_card == *credential || *on_card == *previous, "{scan}");
        desk.encode_well(0, &previous).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_comes_later_is_used_when_it_comes() {
    let mut desk = Desk::start(Setup::default()).await;
    desk.terminate();
    let link = desk.directory.path().join("late.tty");
    let config = std::fs::read_to_string(desk.config_file()).unwrap();
    let port = format!("[[serial]]\npath = \"{}\"\ndialect = \"pn532\"\nname = \"Late\"\n", link.display());
    std::fs::write(desk.config_file(), format!("{config}\n{port}")).unwrap();
    desk.start_daemon().await;
    let status = desk.wait_for_encoder_status().await;
    assert!(status.contains("is not there"), "{status}");
    assert!(desk.live().await.is_empty(), "a port that was never seen makes no encoder");
    desk.encoders.push(VirtualEncoder::start(desk.directory.path(), "late", Some("classic-1k"), &[]));
    desk.wait_for("online", |encoders| encoders.first().is_some_and(|encoder| encoder["state"] == "online")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_called_busy() {
    let mut desk = Desk::simple().await;
    desk.terminate();
    // Another program that opens ports as ours does: exclusively.
    let holder = tokio_serial::SerialStream::open(&tokio_serial::new(desk.encoders[0].link.to_string_lossy(), 115_200));
    let holder = holder.unwrap();
    desk.start_daemon().await;
    let message = desk.wait_for_encoder_status().await;
    assert!(message.contains("in use by another program"), "{message}");
    drop(holder);
    desk.wait_for("online", |encoders| encoders[0]["state"] == "online").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_behind_the_port_is_not_taken_for_an_encoder() {
    // A modem-like device: answers everything with ERROR.
    let desk_dir = tempfile::tempdir().unwrap();
    let link = desk_dir.path().join("modem.tty");
    let (mut device, host) = tokio_serial::SerialStream::pair().unwrap();
    let host_path = tokio_serial::SerialPort::name(&host).unwrap();
    drop(host);
    std::os::unix::fs::symlink(&host_path, &link).unwrap();
    let modem = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut buffer = [0; 64];
        loop {
            match device.read(&mut buffer).await {
                Ok(read) if read > 0 => drop(device.write_all(b"\r\nERROR\r\n").await),
                // Nobody has the other end open.
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    });
    let config = format!("[[serial]]\npath = \"{}\"\ndialect = \"pn532\"\nname = \"Modem\"\n", link.display());
    let mut desk = Desk::start(Setup { config: &config, ..Setup::default() }).await;
    let message = desk.wait_for_encoder_status().await;
    assert!(message.contains("dialect") || message.contains("does not answer"), "{message}");
    assert!(desk.live().await.is_empty());
    modem.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_drips_noise_holds_up_neither_the_word_nor_the_stop() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("noise.tty");
    let (mut device, host) = tokio_serial::SerialStream::pair().unwrap();
    let host_path = tokio_serial::SerialPort::name(&host).unwrap();
    drop(host);
    std::os::unix::fs::symlink(&host_path, &link).unwrap();
    let noise = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        loop {
            // Below every bound that counts from the last byte.
            tokio::time::sleep(Duration::from_millis(85)).await;
            let _nobody_has_the_other_end = device.write_all(&[0x55]).await;
        }
    });
    let config = format!("[[serial]]\npath = \"{}\"\ndialect = \"pn532\"\nname = \"Noise\"\n", link.display());
    let mut desk = Desk::start(Setup { config: &config, ..Setup::default() }).await;
    let asked = Instant::now();
    let message = desk.wait_for_encoder_status().await;
    assert!(asked.elapsed() < Duration::from_secs(10), "{message} after {:?}", asked.elapsed());
    let asked = Instant::now();
    assert_eq!(desk.terminate(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(5), "stopping took {:?}", asked.elapsed());
    noise.abort();
}

impl Desk {
    /// Waits until the first encoder has something to complain about; returns that.
    async fn wait_for_encoder_status(&mut self) -> String {
        let patience = Instant::now() + crate::desk::PATIENCE;
        loop {
            let status = self.status().await;
            if let Some(fault) = status.encoders.first().and_then(|encoder| encoder.fault.clone()) {
                return fault.message;
            }
            assert!(Instant::now() < patience, "{status:?}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
