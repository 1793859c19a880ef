//! Backup and restore with the built program: a new PC, a wrong passphrase, a torn archive, a killed process.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for states by the real clock"
)]

#[path = "support/desk.rs"]
mod desk;

/// How the virtual encoders of these tests are attached.
const READERS: desk::Readers = desk::Readers::Serial;

use desk::{Desk, PATIENCE, PROGRAM, RemoteDesk, Setup, VirtualEncoder, pcsc_environment};
use encoderd::backup::archive::{Backup, Role, measure, write};
use encoderd::backup::nightly::Nightly;
use encoderd::config::Config;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, Connection as _, Row as _, SqliteConnection};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const PASSPHRASE: &str = "correct horse battery staple";

/// Runs a command on a desk's configuration, with nobody at a terminal.
fn encoderd(desk: &Desk, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).arg("--config").arg(desk.config_file()).stdin(Stdio::null());
    command.output().expect("the program starts")
}

#[track_caller]
fn well(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
}

fn private_file(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn passphrase_file(desk: &Desk) -> String {
    let path = desk.directory.path().join("passphrase");
    private_file(&path, &format!("{PASSPHRASE}\n"));
    path.to_str().unwrap().to_owned()
}

fn path(desk: &Desk, name: &str) -> String {
    desk.directory.path().join(name).to_str().unwrap().to_owned()
}

/// The old PC is gone, and everything that was on it.
fn new_pc(desk: &mut Desk) {
    desk.kill();
    std::fs::rename(desk.state_dir(), desk.directory.path().join("the-dead-pc")).unwrap();
}

/// Everything in a directory, by its name.
fn contents(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_path_buf()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.is_file() {
                found.insert(path.clone(), std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_pc_reads_the_old_cards_and_keeps_its_encoders() {
    let mut desk = Desk::simple().await;
    let credential = desk.credential(2).await;
    desk.encode_well(0, &credential).await;
    let encoder = desk.encoder(0).await;
    let (file, passphrase) = (path(&desk, "backup.tar.gz"), passphrase_file(&desk));
    let made = encoderd(&desk, &["backup", "--output", &file, "--passphrase-file", &passphrase]);
    assert!(!well(&made).contains("WARNING"));
    assert_eq!(String::from_utf8_lossy(&made.stdout).trim(), file);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    refused(&encoderd(&desk, &["backup", "--output", &file]), &["is there already"]);
    refused(&encoderd(&desk, &["restore", &file, "--passphrase-file", &passphrase]), &["another encoderd runs"]);
    let api_key = desk.key.clone();

    new_pc(&mut desk);
    refused(&encoderd(&desk, &["restore", &file]), &["--passphrase-file", "--without-secrets"]);
    let said = well(&encoderd(&desk, &["restore", &file, "--passphrase-file", &passphrase]));
    assert!(said.contains("Test Hotel") && !said.contains("WARNING"), "{said}");
    assert!(desk.state_dir().join("encoderd.toml.restored").exists());
    assert_eq!(std::fs::metadata(desk.state_dir().join("card-key.toml")).unwrap().permissions().mode() & 0o777, 0o600);

    desk.start_daemon().await;
    desk.wait_for("online", |encoders| encoders.iter().any(|encoder| encoder["state"] == "online")).await;
    assert_eq!(desk.key, api_key);
    assert_eq!(desk.encoder(0).await, encoder, "the encoder keeps its id");
    let scan = desk.scan_well(0).await;
    assert_eq!(scan["acs_credential_on_seam"]["acs_credential_id"], credential.as_str(), "{scan}");
    assert_eq!(scan["warnings"], json!([]), "{scan}");
    let next = desk.credential(1).await;
    desk.encode_well(0, &next).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_passphrase_every_card_is_foreign_and_everybody_says_so() {
    let mut desk = Desk::simple().await;
    let credential = desk.credential(2).await;
    desk.encode_well(0, &credential).await;
    desk.terminate();
    let file = path(&desk, "backup.tar.gz");
    let said = well(&encoderd(&desk, &["backup", "--output", &file]));
    assert!(said.contains("WARNING") && said.contains("card key") && said.contains("foreign"), "{said}");

    std::fs::rename(desk.state_dir(), desk.directory.path().join("the-dead-pc")).unwrap();
    let said = well(&encoderd(&desk, &["restore", &file]));
    assert!(said.contains("WARNING: no card key was restored") && said.contains("foreign"), "{said}");
    // The daemon makes no new key by itself.
    let started = encoderd(&desk, &["run"]);
    refused(&started, &["card-key.toml is missing", "foreign", "keys init"]);

    well(&encoderd(&desk, &["keys", "init"]));
    desk.start_daemon().await;
    desk.wait_for("online", |encoders| encoders.iter().any(|encoder| encoder["state"] == "online")).await;
    desk.wait_for_card(0, Some("deadbeef")).await;
    let attempt = desk.encode(0, &credential).await;
    assert_eq!(attempt["status"], "error", "{attempt}");
    let message = attempt["error"]["message"].as_str().unwrap();
    assert!(message.contains("belongs to another system"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_passphrase_or_a_present_state_changes_nothing() {
    let mut desk = Desk::simple().await;
    let (file, passphrase) = (path(&desk, "backup.tar.gz"), passphrase_file(&desk));
    well(&encoderd(&desk, &["backup", "--output", &file, "--passphrase-file", &passphrase]));
    desk.terminate();
    let before = contents(desk.directory.path());
    refused(&encoderd(&desk, &["restore", &file, "--passphrase-file", &passphrase]), &["--force", "moved aside"]);
    let wrong = path(&desk, "wrong");
    private_file(Path::new(&wrong), "correct horse battery stable");
    refused(&encoderd(&desk, &["restore", &file, "--passphrase-file", &wrong, "--force"]), &["passphrase is wrong"]);
    let mut after = contents(desk.directory.path());
    after.remove(Path::new(&wrong));
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_eq!(after, before);

    let said = well(&encoderd(&desk, &["restore", &file, "--passphrase-file", &passphrase, "--force"]));
    let aside = said.lines().find_map(|line| line.strip_prefix("The state that was here before lies in ")).unwrap();
    for (path, content) in before.iter().filter(|(path, _)| path.starts_with(desk.state_dir())) {
        let kept = Path::new(aside).join(path.strip_prefix(desk.state_dir()).unwrap());
        assert_eq!(&std::fs::read(&kept).unwrap(), content, "{}", kept.display());
    }
    desk.start_daemon().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_clear_in_any_backup() {
    let mut desk = Desk::start(Setup { config: "", ..Setup::default() }).await;
    let url = "https://pms.example.com/hook";
    let webhook = desk.get("/webhooks/create", json!({"url": url}), "webhook").await;
    let webhook_secret = webhook["secret"].as_str().unwrap().to_owned();
    let key = std::fs::read_to_string(desk.state_dir().join("card-key.toml")).unwrap();
    let key = key.lines().find_map(|line| line.strip_prefix("key = \"")).unwrap().trim_end_matches('"').to_owned();
    let raw_key: Vec<u8> = (0..16).map(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).unwrap()).collect();
    let token = std::fs::read_to_string(desk.state_dir().join("bridge-token")).unwrap();
    let canaries: Vec<(&str, Vec<u8>)> = vec![
        ("card key", key.clone().into_bytes()),
        ("card key in bytes", raw_key),
        ("API key", desk.key.clone().into_bytes()),
        ("bridge token", token.trim().as_bytes().to_vec()),
        ("webhook secret", webhook_secret.clone().into_bytes()),
        ("passphrase", PASSPHRASE.into()),
    ];
    let passphrase = passphrase_file(&desk);
    let (open, sealed) = (path(&desk, "open.tar.gz"), path(&desk, "sealed.tar.gz"));
    well(&encoderd(&desk, &["backup", "--output", &open, "--without-secrets"]));
    well(&encoderd(&desk, &["backup", "--output", &sealed, "--passphrase-file", &passphrase]));
    for file in [&open, &sealed] {
        let mut all = Vec::new();
        GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_end(&mut all).unwrap();
        let holds = |canary: &[u8]| all.windows(canary.len()).any(|window| window == canary);
        assert!(holds(url.as_bytes()), "the look at {file} finds what is there");
        for (name, canary) in &canaries {
            assert!(!holds(canary), "{name} is in {file}");
        }
    }

    // Somebody else's Argon2 and XChaCha20-Poly1305 open the seal, by the recipe in the documentation.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let python = python.join("venv/bin/python");
    let script = root.join("tests/backup/unwrap.py");
    let output = Command::new(&python).arg(script).args([&sealed, &passphrase]).output().unwrap();
    assert!(output.status.success(), "`make setup-test` installs what this needs: {output:?}");
    let secrets: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(secrets["card_key"].as_str().unwrap().contains(&key));
    assert_eq!(secrets["api_key"].as_str().unwrap().trim(), desk.key);
    assert_eq!(secrets["webhooks"][webhook["webhook_id"].as_str().unwrap()], webhook_secret.as_str());

    // And the webhook gets its secret back, or a new one.
    for (file, options, comes_back) in
        [(&sealed, vec!["--passphrase-file", passphrase.as_str()], true), (&open, vec![], false)]
    {
        desk.kill();
        let arguments: Vec<&str> = ["restore", file, "--force"].into_iter().chain(options).collect();
        let said = well(&encoderd(&desk, &arguments));
        assert_eq!(said.contains("webhooks have a new secret"), !comes_back, "{said}");
        if !comes_back {
            well(&encoderd(&desk, &["keys", "init"]));
        }
        desk.start_daemon().await;
        let shown = desk.get("/webhooks/list", json!({}), "webhooks").await;
        assert_eq!(shown[0]["secret"] == webhook_secret.as_str(), comes_back, "{shown}");
        assert!(shown[0]["secret"].as_str().unwrap().starts_with("whsec_"), "{shown}");
    }
}

async fn open(file: &Path) -> SqliteConnection {
    sqlx::sqlite::SqliteConnectOptions::new().filename(file).foreign_keys(false).connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_during_encodes_are_consistent() {
    let desk = Desk::simple().await;
    let desk = Arc::new(desk);
    let done = Arc::new(AtomicBool::new(false));
    let (working, is_done) = (desk.clone(), done.clone());
    let work = tokio::spawn(async move {
        let mut made = 0;
        while !is_done.load(Ordering::Relaxed) {
            let credential = working.credential(2).await;
            working.encode_well(0, &credential).await;
            made += 1;
        }
        made
    });
    let files: Vec<String> = (0..8).map(|count| path(&desk, &format!("{count}.tar.gz"))).collect();
    for file in &files {
        // Each at another moment of an encode, and each with an encode behind it.
        let (desk, file) = (desk.clone(), file.clone());
        let output =
            tokio::task::spawn_blocking(move || encoderd(&desk, &["backup", "--output", &file])).await.unwrap();
        well(&output);
    }
    done.store(true, Ordering::Relaxed);
    let made = work.await.unwrap();
    let (mut issued_before, mut pending_seen) = (0, 0);
    for file in &files {
        let into = desk.directory.path().join("unpacked");
        std::fs::create_dir(&into).unwrap();
        Backup::open(Path::new(file)).unwrap().read(Some(&into)).unwrap();
        let mut hub = open(&into.join("hub.db")).await;
        let check: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut hub).await.unwrap();
        assert_eq!(check, "ok");
        assert!(sqlx::query("PRAGMA foreign_key_check").fetch_all(&mut hub).await.unwrap().is_empty());
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM acs_credential WHERE issued_at IS NOT NULL),
             (SELECT COUNT(*) FROM acs_credential c WHERE c.issued_at IS NOT NULL AND NOT EXISTS
              (SELECT 1 FROM action_attempt t WHERE t.acs_credential_id = c.acs_credential_id AND t.status = 'success')),
             (SELECT COUNT(*) FROM action_attempt WHERE status = 'pending')",
        )
        .fetch_one(&mut hub)
        .await
        .unwrap();
        let (issued, orphans, pending): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        assert_eq!(orphans, 0, "each issued credential has its attempt");
        assert!(issued >= issued_before, "{issued} after {issued_before}");
        issued_before = issued;
        pending_seen += pending;
        let mut state = open(&into.join("state.db")).await;
        let check: String = sqlx::query_scalar("PRAGMA integrity_check").fetch_one(&mut state).await.unwrap();
        assert_eq!(check, "ok");
        std::fs::remove_dir_all(into).unwrap();
    }
    assert!(
        made > 0 && issued_before > 0,
        "{made} encodes, {issued_before} in the last backup, {pending_seen} pending"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_byte_is_damaged_is_noticed_and_nothing_is_changed() {
    let mut desk = Desk::start(Setup::default()).await;
    let (file, passphrase) = (path(&desk, "backup.tar.gz"), passphrase_file(&desk));
    desk.terminate();
    well(&encoderd(&desk, &["backup", "--output", &file, "--passphrase-file", &passphrase]));
    let whole = std::fs::read(&file).unwrap();
    Backup::open(Path::new(&file)).unwrap().read(None).unwrap();
    let bad = path(&desk, "bad.tar.gz");
    let bad = Path::new(&bad);
    let verdict = |bytes: &[u8]| {
        std::fs::write(bad, bytes).unwrap();
        Backup::open(bad).and_then(|mut backup| backup.read(None)).map(drop).map_err(|error| error.to_string())
    };
    // The head, the tail, and six hundred places between them; one bit, and all.
    let places = (0..80).chain((whole.len() - 20)..whole.len()).chain((0..600).map(|n| n * whole.len() / 600));
    for place in places {
        for mask in [1 << (place % 8), 0xFF] {
            let mut bytes = whole.clone();
            bytes[place] ^= mask;
            let said = verdict(&bytes).expect_err(&format!("byte {place} ^ {mask:#x}"));
            assert!(said.contains("is damaged") || said.contains("is not a backup"), "{said}");
        }
    }
    for length in [0, 1, 47, 48, 100, whole.len() / 2, whole.len() - 1] {
        assert!(verdict(&whole[..length]).is_err(), "{length} bytes of it");
    }
    assert!(verdict(&[&whole[..], b"x"].concat()).is_err(), "one byte more");
    // And through the program: the state is as it was.
    let before = contents(&desk.state_dir());
    for place in [3, 20, 60, whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        std::fs::write(bad, &bytes).unwrap();
        let arguments = ["restore", bad.to_str().unwrap(), "--passphrase-file", &passphrase, "--force"];
        refused(&encoderd(&desk, &arguments), &["backup"]);
        assert_eq!(contents(&desk.state_dir()), before, "byte {place}");
    }
}

/// Kills the program after this time, or lets it end.
fn killed_after(desk: &Desk, arguments: &[&str], time: Duration) -> bool {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).arg("--config").arg(desk.config_file()).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let end = Instant::now() + time;
    while Instant::now() < end {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap().code().is_none()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_backup_leaves_none_and_a_killed_restore_the_old_state_or_the_new_one() {
    let mut desk = Desk::start(Setup::default()).await;
    let credential = desk.credential(1).await;
    let (old, passphrase) = (path(&desk, "old.tar.gz"), passphrase_file(&desk));
    let began = Instant::now();
    well(&encoderd(&desk, &["backup", "--output", &old, "--passphrase-file", &passphrase]));
    let backup_takes = began.elapsed();
    let mut killed = 0;
    for step in 0..40 {
        // The first backup may have been much slower than those that follow.
        if step >= 20 && killed > 5 {
            break;
        }
        let backup_takes = if step < 20 { backup_takes } else { backup_takes / 3 };
        let file = path(&desk, &format!("killed-{step}.tar.gz"));
        let arguments = ["backup", "--output", &file, "--passphrase-file", &passphrase];
        killed += u32::from(killed_after(&desk, &arguments, backup_takes * (step % 20) / 16));
        if Path::new(&file).exists() {
            Backup::open(Path::new(&file)).unwrap().read(None).unwrap();
        } else {
            // What the killed one left is in nobody's way.
            well(&encoderd(&desk, &arguments));
            assert!(!desk.directory.path().join(format!(".killed-{step}.tar.gz.partial")).exists());
        }
    }
    assert!(killed > 5, "{killed} were killed");

    // The state goes on after the backup, so that old and new can be told from one another.
    let later = desk.credential(1).await;
    desk.terminate();
    let began = Instant::now();
    let parts = ["restore", &old, "--passphrase-file", &passphrase, "--force"];
    well(&encoderd(&desk, &parts));
    let restore_takes = began.elapsed();
    let aside = |desk: &Desk| {
        let mut found: Vec<PathBuf> =
            std::fs::read_dir(desk.directory.path()).unwrap().map(|e| e.unwrap().path()).collect();
        found.retain(|path| path.to_string_lossy().contains("before-restore") || path.ends_with(".state.restoring"));
        found
    };
    // The old PC's state again.
    let [newer] = &aside(&desk)[..] else { panic!("{:?}", aside(&desk)) };
    let newer_state = desk.directory.path().join("newer");
    std::fs::rename(newer, &newer_state).unwrap();
    let (mut killed, mut kept, mut restored) = (0, 0, 0);
    for step in 0..72 {
        // A machine that has become quicker or slower since asks for other moments.
        let restore_takes = match step / 24 {
            0 => restore_takes,
            _ if killed > 5 && kept > 2 && restored > 0 => break,
            1 => restore_takes / 3,
            _ => restore_takes * 3,
        };
        for left in aside(&desk) {
            std::fs::remove_dir_all(left).unwrap();
        }
        std::fs::remove_dir_all(desk.state_dir()).unwrap();
        let copied = Command::new("cp").arg("-a").arg(&newer_state).arg(desk.state_dir()).status().unwrap();
        assert!(copied.success());
        killed += u32::from(killed_after(&desk, &parts, restore_takes * (step % 24) / 20));
        let mut hub = open(&desk.state_dir().join("hub.db")).await;
        let has = |id: String| sqlx::query("SELECT 1 FROM acs_credential WHERE acs_credential_id = $1").bind(id);
        assert!(has(credential.clone()).fetch_optional(&mut hub).await.unwrap().is_some(), "step {step}");
        if has(later.clone()).fetch_optional(&mut hub).await.unwrap().is_some() {
            kept += 1;
        } else {
            restored += 1;
            let old: Vec<_> = aside(&desk).into_iter().filter(|path| path.join("hub.db").exists()).collect();
            assert_eq!(old.len(), 1, "the old state is not lost: {:?}", aside(&desk));
        }
        for file in ["hub.db", "state.db", "card-key.toml", "api-key", "bridge-token"] {
            assert!(desk.state_dir().join(file).exists(), "{file} at step {step}");
        }
        drop(hub);
        // Another restore gets through, whatever was left.
        well(&encoderd(&desk, &parts));
    }
    assert!(killed > 5 && kept > 2 && restored > 0, "{killed} killed, {kept} kept, {restored} restored");
    desk.start_daemon().await;
    assert_eq!(desk.credential_state(&credential).await["acs_credential_id"], credential.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nightly_backup_is_made_by_the_daemon_and_shown() {
    let mut desk = Desk::start(Setup { config: "[backup]\nkeep = 2\n", ..Setup::default() }).await;
    let shown = desk.status().await.backup.expect("nightly backups are on");
    assert_eq!(shown.directory, desk.state_dir().join("backups"));
    assert!(shown.last_at.is_none() && !shown.with_secrets, "{shown:?}");
    // One that was missed is made a minute after the start; this one at once.
    let config = Config::load(Some(&desk.config_file())).unwrap();
    let run = |after_start| {
        let nightly = Nightly { after_start, ..Nightly::of(&config).unwrap().unwrap() };
        let (sender, status) = tokio::sync::watch::channel(nightly.status());
        let stop = tokio_util::sync::CancellationToken::new();
        let task = tokio::spawn(nightly.run(sender, stop.clone()));
        (status, stop, task)
    };
    let (mut status, stop, task) = run(Duration::ZERO);
    tokio::time::timeout(PATIENCE, status.wait_for(|status| status.last_at.is_some())).await.unwrap().unwrap();
    let made = status.borrow().clone();
    assert_eq!(made.problem, None);
    let file = made.last_file.clone().unwrap();
    let manifest = Backup::open(&file).unwrap().read(None).unwrap();
    assert_eq!((manifest.role, manifest.property.as_deref()), (Role::Sqlite, Some("Test Hotel")));
    stop.cancel();
    task.await.unwrap();
    // Not a second one today, after any number of starts.
    let (again, stop, task) = run(Duration::ZERO);
    assert_eq!(again.borrow().last_file, Some(file.clone()), "a restart knows the last one");
    assert!(again.borrow().next_at > made.last_at);
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.cancel();
    task.await.unwrap();
    let nightly = std::fs::read_dir(&made.directory).unwrap().count();
    assert_eq!(nightly, 1);
    desk.terminate();
    desk.start_daemon().await;
    assert_eq!(desk.status().await.backup.unwrap().last_file, Some(file.clone()));
    let said = encoderd(&desk, &["status"]);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("last backup") && said.contains("without the card key"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn old_nightly_backups_go_only_when_a_new_one_stands() {
    let desk = Desk::start(Setup { config: "[backup]\nkeep = 2\n", ..Setup::default() }).await;
    let config = Config::load(Some(&desk.config_file())).unwrap();
    let nightly = Nightly { after_start: Duration::ZERO, ..Nightly::of(&config).unwrap().unwrap() };
    let directory = nightly.directory.clone();
    std::fs::create_dir(&directory).unwrap();
    let named = |stamp: &str| directory.join(format!("encoderd-nightly-{}-{stamp}.tar.gz", nightly.host));
    // Three days, one from a clock that ran wrong, another PC's, and what is none of ours.
    let old = ["20200101T023000Z", "20200102T023000Z", "20200103T023000Z", "21990101T023000Z"].map(named);
    let other = [directory.join("encoderd-nightly-another-pc-20190101T023000Z.tar.gz"), directory.join("notes.txt")];
    for file in old.iter().chain(&other) {
        std::fs::write(file, "x").unwrap();
    }
    let left = directory.join(format!(".encoderd-nightly-{}-20200104T023000Z.tar.gz.partial", nightly.host));
    std::fs::create_dir(&left).unwrap();
    std::fs::write(left.join("lock"), "").unwrap();
    std::fs::write(left.join("hub.db"), "half").unwrap();
    let run = |nightly: Nightly| async move {
        let (sender, mut status) = tokio::sync::watch::channel(nightly.status());
        let stop = tokio_util::sync::CancellationToken::new();
        let before = status.borrow().last_at;
        let task = tokio::spawn(nightly.run(sender, stop.clone()));
        let ended = status.wait_for(|status| status.last_at != before || status.problem.is_some());
        tokio::time::timeout(PATIENCE, ended).await.unwrap().unwrap();
        stop.cancel();
        task.await.unwrap();
        status.borrow().clone()
    };
    // The passphrase cannot be read: no backup without secrets takes the place of one with them.
    let failing = Nightly { passphrase_file: Some(directory.join("no-such-file")), ..nightly.clone() };
    let failed = run(failing).await;
    assert!(failed.problem.as_deref().is_some_and(|problem| problem.contains("no-such-file")), "{failed:?}");
    assert!(old.iter().chain(&other).all(|file| file.exists()), "the old ones stay");
    let made = run(nightly).await;
    assert_eq!(made.problem, None);
    let there: Vec<bool> = old.iter().map(|file| file.exists()).collect();
    assert_eq!(there, [false, false, true, false], "two are kept, and the one from the future is none of them");
    assert!(other.iter().all(|file| file.exists()) && !left.exists());
    Backup::open(&made.last_file.unwrap()).unwrap().read(None).unwrap();
}

/// The same backup with another hub database in it, its manifest and checksums made to fit.
async fn with_another_hub(desk: &Desk, file: &str, name: &str, statement: &'static str) -> String {
    let into = desk.directory.path().join(format!("{name}-unpacked"));
    std::fs::create_dir(&into).unwrap();
    let mut manifest = Backup::open(Path::new(file)).unwrap().read(Some(&into)).unwrap();
    let mut hub = open(&into.join("hub.db")).await;
    sqlx::query(statement).execute(&mut hub).await.unwrap();
    hub.close().await.unwrap();
    for member in &mut manifest.members {
        *member = measure(member.name, &into.join(member.name.file())).unwrap();
    }
    let to = path(desk, name);
    write(Path::new(&to), &manifest, &into).unwrap();
    to
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_newer_or_unfitting_backup_is_refused_and_nothing_is_changed() {
    let mut desk = Desk::start(Setup::default()).await;
    let (file, passphrase) = (path(&desk, "backup.tar.gz"), passphrase_file(&desk));
    desk.terminate();
    well(&encoderd(&desk, &["backup", "--output", &file, "--passphrase-file", &passphrase]));
    let changed = with_another_hub(&desk, &file, "changed", "UPDATE workspace SET name = 'Mine'").await;
    let newer = with_another_hub(&desk, &file, "newer", "UPDATE schema_version SET version = 99").await;
    let torn = with_another_hub(&desk, &file, "torn", "UPDATE acs_entrance SET acs_system_id = 'nobody'").await;
    let config = path(&desk, "desk.toml");
    let cloud = format!(
        "[daemon]\nstate_dir = \"{}\"\n[cloud]\nurl = \"http://127.0.0.1:1\"\ntoken_file = \"/nonexistent\"\n",
        desk.state_dir().display()
    );
    std::fs::write(&config, cloud).unwrap();
    let elsewhere = path(&desk, "elsewhere.toml");
    let text = format!(
        "[daemon]\nstate_dir = \"{}\"\n[hub]\ndatabase = \"sqlite://{}\"\n",
        desk.state_dir().display(),
        path(&desk, "hub.db")
    );
    std::fs::write(&elsewhere, text).unwrap();
    let before = contents(desk.directory.path());
    let own = desk.config_file();
    let own = own.to_str().unwrap();
    let with = ["--passphrase-file", passphrase.as_str()];
    let without = ["--without-secrets"];
    let cases: [(&str, &[&str], &str, &[&str]); 5] = [
        (&changed, &with, own, &["hub.db", "somebody changed it"]),
        (&newer, &without, own, &["version 99", "newer encoderd"]),
        (&torn, &without, own, &["damaged", "acs_entrance"]),
        (&file, &with, &config, &["hub with its database in a file", "[cloud]"]),
        (&file, &with, &elsewhere, &["outside of the state directory"]),
    ];
    for (file, options, config, words) in cases {
        let mut command = Command::new(PROGRAM);
        command.args(["restore", file, "--force", "--config", config]).args(options).stdin(Stdio::null());
        refused(&command.output().unwrap(), words);
        assert_eq!(contents(desk.directory.path()), before, "{words:?}");
    }
    // The same ones without a passphrase: nobody can tell that the first was changed.
    well(&encoderd(&desk, &["restore", &changed, "--without-secrets", "--force"]));
}

/// What a daemon is called at its hub, and its links.
async fn identity(state_dir: &Path) -> (String, Vec<(String, Option<String>)>) {
    let mut state = open(&state_dir.join("state.db")).await;
    let id = sqlx::query_scalar("SELECT value FROM settings WHERE name = 'bridge_id'").fetch_one(&mut state).await;
    let links = sqlx::query("SELECT device_id, acs_encoder_id FROM links").fetch_all(&mut state).await.unwrap();
    (id.unwrap(), links.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// A daemon that ends with the test, however that ends.
struct Daemon(std::process::Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_of_a_hub_elsewhere_comes_back_as_a_new_one_with_its_encoders() {
    let hub = Desk::start(Setup::default()).await;
    let key = path(&hub, "card-key");
    well(&encoderd(&hub, &["keys", "export", &key]));
    let remote = RemoteDesk::start(&hub, Some(Path::new(&key)), &[]);
    let is_online = |encoders: &[Value]| encoders.iter().any(|encoder| encoder["state"] == "online");
    hub.wait_for("the remote encoder", is_online).await;
    let encoder = hub.live().await[0]["acs_encoder_id"].clone();
    let directory = hub.directory.path().join("remote");
    let (state_dir, config) = (remote.state_dir.clone(), directory.join("encoderd.toml"));
    let (file, passphrase) = (path(&hub, "remote.tar.gz"), passphrase_file(&hub));
    let run = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).arg("--config").arg(&config).stdin(Stdio::null()).output().unwrap()
    };
    well(&run(&["backup", "--output", &file, "--passphrase-file", &passphrase]));
    drop(remote);
    let before = identity(&state_dir).await;
    let restore = ["restore", &file, "--passphrase-file", &passphrase, "--force"];
    let said = well(&run(&[&restore[..], &["--same-desk"]].concat()));
    assert!(!said.contains("pair it"), "{said}");
    assert_eq!(identity(&state_dir).await, before);
    let said = well(&run(&restore));
    assert!(said.contains("encoderd pair") && said.contains("--same-desk"), "{said}");
    let after = identity(&state_dir).await;
    assert_ne!(after.0, before.0, "two daemons of one name are not to meet at the hub");
    assert_eq!(after.1, before.1);

    // The old PC is silent, and the encoder was carried over to the new one.
    hub.wait_for("the old PC's end", |encoders| encoders.iter().all(|live| live["bridge_connected"] == false)).await;
    let _carried_over = VirtualEncoder::start(&directory, "remote", Some("classic-1k:0badcafe"), &[]);
    let mut command = Command::new(PROGRAM);
    command.args(["run", "--config"]).arg(&config).envs(pcsc_environment(&directory, None)).stderr(Stdio::null());
    let _daemon = Daemon(command.spawn().unwrap());
    // The hub knows the encoder as the old PC's, until the new one takes it over.
    let device = hub.live().await[0]["device_id"].as_str().unwrap().to_owned();
    let patience = Instant::now() + Duration::from_secs(20);
    let take_over = ["encoders", "link", &device, encoder.as_str().unwrap(), "--take-over"];
    while !run(&take_over).status.success() {
        assert!(Instant::now() < patience, "{:?}", run(&take_over));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    hub.wait_for("the same encoder", |encoders| {
        encoders.iter().any(|live| live["acs_encoder_id"] == encoder && live["state"] == "online")
    })
    .await;
    let credential = hub.credential(1).await;
    let body = json!({"acs_encoder_id": encoder, "acs_credential_id": credential});
    let attempt = hub.settled(hub.get("/acs/encoders/encode_credential", body, "action_attempt").await).await;
    assert_eq!(attempt["status"], "success", "{attempt}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_was_being_written_during_the_backup_is_in_doubt_after_the_restore() {
    let mut desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef"))],
        emulator_options: &["--pace"],
        ..Setup::default()
    })
    .await;
    let previous = desk.credential(2).await;
    desk.encode_well(0, &previous).await;
    let credential = desk.credential(2).await;
    let before = desk.encoders[0].stats().writes;
    let attempt = desk.start_encode(0, &credential).await;
    let patience = Instant::now() + PATIENCE;
    while desk.encoders[0].stats().writes == before {
        assert!(Instant::now() < patience, "the card was not written");
    }
    desk.encoders[0].control("delay 3000");
    let (file, key) = (path(&desk, "backup.tar.gz"), path(&desk, "card-key"));
    well(&encoderd(&desk, &["backup", "--output", &file, "--without-secrets"]));
    desk.kill();
    desk.encoders[0].control("delay 0");
    well(&encoderd(&desk, &["keys", "export", &key]));
    // Restored an hour later, with another card on the encoder.
    let hour = "UPDATE action_attempt SET created_at = created_at - 3600000, deadline_at = deadline_at - 3600000";
    let later = with_another_hub(&desk, &file, "later", hour).await;
    desk.encoders[0].control("remove");
    desk.encoders[0].control("place classic-1k:0badcafe");
    std::fs::rename(desk.state_dir(), desk.directory.path().join("the-dead-pc")).unwrap();
    well(&encoderd(&desk, &["restore", &later]));
    well(&encoderd(&desk, &["keys", "import", &key]));
    let before = desk.encoders[0].stats().writes;
    desk.start_daemon().await;
    let attempt = desk.settled(attempt).await;
    assert_eq!(attempt["status"], "error", "{attempt}");
    desk.wait_for_card(0, Some("0badcafe")).await;
    let patience = Instant::now() + PATIENCE;
    loop {
        let again = desk.encode(0, &credential).await;
        assert_eq!(again["status"], "error", "{again}");
        if again["error"]["type"] == "credential_cannot_be_reissued" {
            break;
        }
        assert!(Instant::now() < patience, "{again}");
    }
    assert_eq!(desk.encoders[0].stats().writes, before, "the second card was written");
    desk.encoders[0].control("remove");
    desk.encoders[0].control("place classic-1k:deadbeef");
    desk.wait_for_card(0, Some("deadbeef")).await;
    let scan = desk.scan_well(0).await;
    assert_eq!(scan["acs_credential_on_seam"]["acs_credential_id"], previous.as_str(), "{scan}");
    desk.encode_well(0, &credential).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_key_travels_under_a_passphrase_to_another_desk() {
    let desk = Desk::start(Setup::default()).await;
    let (file, passphrase) = (path(&desk, "card-key.wrapped"), passphrase_file(&desk));
    let exported = encoderd(&desk, &["keys", "export", &file, "--passphrase-file", &passphrase]);
    well(&exported);
    let own = std::fs::read_to_string(desk.state_dir().join("card-key.toml")).unwrap();
    let key = own.lines().find(|line| line.starts_with("key =")).unwrap().to_owned();
    let sealed = std::fs::read_to_string(&file).unwrap();
    assert!(!sealed.contains(key.trim_start_matches("key = \"").trim_end_matches('"')), "{sealed}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let config = path(&desk, "other.toml");
    std::fs::write(&config, format!("[daemon]\nstate_dir = \"{}\"\n", path(&desk, "other"))).unwrap();
    let import = |passphrase: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["keys", "import", &file, "--passphrase-file", passphrase, "--config", &config]);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let wrong = path(&desk, "wrong");
    private_file(Path::new(&wrong), "correct horse battery stable");
    refused(&import(&wrong), &["passphrase is wrong"]);
    well(&import(&passphrase));
    assert_eq!(std::fs::read_to_string(desk.directory.path().join("other/card-key.toml")).unwrap(), own);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_key_that_only_the_service_has_is_in_its_backup_and_missed_in_others() {
    let mut desk = Desk::start(Setup::default()).await;
    desk.terminate();
    let (passphrase, credentials) = (passphrase_file(&desk), desk.directory.path().join("credentials"));
    std::fs::create_dir(&credentials).unwrap();
    std::fs::rename(desk.state_dir().join("card-key.toml"), credentials.join("card-key")).unwrap();
    let files = [path(&desk, "service.tar.gz"), path(&desk, "other.tar.gz")];
    for (file, is_service) in files.iter().zip([true, false]) {
        let mut command = Command::new(PROGRAM);
        command
            .args(["backup", "--output", file, "--passphrase-file", &passphrase, "--config"])
            .arg(desk.config_file());
        if is_service {
            command.env("CREDENTIALS_DIRECTORY", &credentials);
        }
        let said = well(&command.stdin(Stdio::null()).output().unwrap());
        assert_eq!(said.contains("WARNING: not in this backup: the card key"), !is_service, "{said}");
        let restore = ["restore", file, "--passphrase-file", &passphrase, "--force"];
        let said = well(&encoderd(&desk, &restore));
        assert_eq!(said.contains("no card key was restored"), !is_service, "{said}");
        let there = desk.state_dir().join("card-key.toml");
        assert_eq!(there.exists(), is_service);
        let _not_there = std::fs::remove_file(there);
    }
}
