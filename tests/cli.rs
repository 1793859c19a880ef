//! The command line: what people read, exit codes, bad input.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for states by the real clock"
)]

#[path = "cli/admin.rs"]
mod admin;
#[path = "support/desk.rs"]
mod desk;

/// How the virtual encoders of these tests are attached.
const READERS: desk::Readers = desk::Readers::Serial;

use desk::{Desk, PROGRAM, RemoteDesk, Setup, VirtualEncoder};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::io::BufRead as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

fn encoderd(arguments: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .env_remove("ENCODERD_CONFIG")
        .env_remove("ENCODERD_API_KEY")
        .env("PCSCLITE_CSOCK_NAME", "/nonexistent/pcscd.comm")
        .output()
        .expect("the program starts")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs the daemon on this configuration; it must refuse to start. Returns what it says.
fn refusal(directory: &Path, config: &str) -> String {
    let file = directory.join("encoderd.toml");
    std::fs::write(&file, config).unwrap();
    let output = encoderd(&["run", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    stderr(&output)
}

fn config(directory: &Path, listen: &str) -> String {
    format!("[daemon]\nstate_dir = \"{}\"\n[hub]\nlisten = \"{listen}\"\n", directory.join("state").display())
}

#[test]
fn help_reads_as_recorded() {
    trycmd::TestCases::new().case("tests/cli/*.trycmd").run();
}

#[test]
fn an_unknown_key_is_named_with_file_line_and_key() {
    let directory = tempfile::tempdir().unwrap();
    let text = refusal(directory.path(), "[daemon]\n\n[hub]\nlisen = \"127.0.0.1:0\"\n");
    assert!(text.contains("encoderd.toml") && text.contains("line 4") && text.contains("lisen"), "{text}");
}

#[test]
fn a_missing_configuration_is_named() {
    let output = encoderd(&["run", "--config", "/nonexistent/encoderd.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nonexistent/encoderd.toml"), "{}", stderr(&output));
}

#[test]
fn a_hub_port_in_use_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let text = refusal(directory.path(), &config(directory.path(), &address));
    assert!(text.contains(&address), "{text}");
}

#[test]
fn an_unusable_state_directory_is_named() {
    let directory = tempfile::tempdir().unwrap();
    // A file where the directory should be: refused for every user, root included.
    std::fs::write(directory.path().join("state"), "").unwrap();
    let text = refusal(directory.path(), &config(directory.path(), "127.0.0.1:0"));
    assert!(text.contains(&directory.path().join("state").display().to_string()), "{text}");
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    for database in ["state.db", "hub.db"] {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        std::fs::create_dir(&state).unwrap();
        let file = state.join(database);
        let damaged = [b"SQLite format 3\0".as_slice(), &[0xA5; 4080]].concat();
        std::fs::write(&file, &damaged).unwrap();
        let text = refusal(directory.path(), &config(directory.path(), "127.0.0.1:0"));
        assert!(text.contains(&file.display().to_string()) && text.contains("damaged"), "{text}");
        assert_eq!(std::fs::read(&file).unwrap(), damaged, "{database} was touched");
        let beside: Vec<_> = std::fs::read_dir(&state)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with(database) && name != database)
            .collect();
        assert!(beside.is_empty(), "{beside:?}");
    }
}

#[test]
fn a_card_key_that_others_may_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let key = state.join("card-key.toml");
    std::fs::write(&key, "property_id = \"x\"").unwrap();
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let text = refusal(directory.path(), &config(directory.path(), "127.0.0.1:0"));
    assert!(text.contains("chmod 600"), "{text}");
    // A first start that fails is no start: the next one must not look for the key of this one.
    assert!(!state.join("state.db").exists());
}

#[test]
fn card_keys_are_rotated_aside_imported_listed_and_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let desk = |name: &str| {
        let file = path(&format!("{name}.toml"));
        std::fs::write(&file, format!("[daemon]\nstate_dir = \"{}\"\n", path(name))).unwrap();
        file
    };
    let (here, there) = (desk("here"), desk("there"));
    let keys = |config: &str, arguments: &[&str]| {
        let output = encoderd(&[&["keys"], arguments, &["--config", config]].concat());
        (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap() + &stderr(&output))
    };
    let listed = |config: &str| -> Value {
        let (status, text) = keys(config, &["list", "--json"]);
        assert_eq!(status, Some(0), "{text}");
        serde_json::from_str(&text).unwrap()
    };
    let ids = |config: &str| -> Vec<(u64, bool)> {
        let each = |key: &Value| (key["key_id"].as_u64().unwrap(), key["current"].as_bool().unwrap());
        listed(config)["keys"].as_array().unwrap().iter().map(each).collect()
    };
    assert_eq!(keys(&here, &["init"]).0, Some(0));
    assert_eq!(keys(&there, &["import", &path("here/card-key.toml")]).0, Some(0));

    let (status, text) = keys(&here, &["rotate"]);
    assert!(status == Some(1) && text.contains("--yes") && text.contains("lock"), "nobody was asked: {text}");
    assert_eq!(ids(&here), [(1, true)]);

    // Aside: nothing changes until the file is imported.
    let next = path("next");
    let (status, text) = keys(&here, &["rotate", "--into", &next]);
    assert!(status == Some(0) && text.contains("locks"), "{text}");
    assert_eq!(std::fs::metadata(&next).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(ids(&here), [(1, true)]);
    for config in [&here, &there] {
        let (status, text) = keys(config, &["import", &next]);
        assert!(status == Some(0) && text.contains("reload"), "{text}");
        assert_eq!(ids(config), [(2, true), (1, false)]);
    }
    assert_eq!(listed(&here), listed(&there), "the same keys have the same check values");
    assert!(keys(&here, &["import", &next]).1.contains("already"));

    // Both rotate by themselves: neither takes the other's.
    for config in [&here, &there] {
        assert_eq!(keys(config, &["rotate", "--yes"]).0, Some(0));
    }
    let (status, text) = keys(&here, &["import", &path("there/card-key.toml")]);
    assert!(status == Some(1) && text.contains("both were rotated"), "{text}");
    let (status, text) = keys(&here, &["forget", "3", "--yes"]);
    assert!(status == Some(1) && text.contains("rotate first"), "{text}");
    assert_eq!(keys(&here, &["forget", "1", "--yes"]).0, Some(0));
    assert_eq!(ids(&here), [(3, true), (2, false)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_card_key_is_not_replaced_by_another_one() {
    let mut desk = Desk::start(Setup::default()).await;
    desk.terminate();
    std::fs::remove_file(desk.state_dir().join("card-key.toml")).unwrap();
    let output = encoderd(&["run", "--config", desk.config_file().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("card-key.toml is missing"), "{}", stderr(&output));
    assert!(!desk.state_dir().join("card-key.toml").exists());
}

#[test]
fn a_card_key_is_exported_into_the_directory_one_stands_in() {
    let directory = tempfile::tempdir().unwrap();
    let file = config(directory.path(), "127.0.0.1:0");
    std::fs::create_dir(directory.path().join("state")).unwrap();
    std::fs::write(directory.path().join("encoderd.toml"), file).unwrap();
    for arguments in [&["keys", "init"][..], &["keys", "export", "copy.toml"]] {
        let output = Command::new(PROGRAM)
            .args(arguments)
            .args(["--config", "encoderd.toml"])
            .current_dir(directory.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    }
    let key = std::fs::read(directory.path().join("state/card-key.toml")).unwrap();
    assert_eq!(std::fs::read(directory.path().join("copy.toml")).unwrap(), key);
}

#[test]
fn a_full_disk_under_standard_output_is_an_error() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = Command::new(PROGRAM).args(["demo", "--check"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("standard output"), "{}", stderr(&output));
}

#[test]
fn wrong_environment_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("encoderd.toml");
    std::fs::write(&file, config(directory.path(), "127.0.0.1:0")).unwrap();
    let output = Command::new(PROGRAM)
        .args(["run", "--config"])
        .arg(&file)
        .env("ENCODERD_API_KEY", "my-own-key")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("seam_"), "{}", stderr(&output));
    let output = Command::new(PROGRAM).args(["status"]).env("ENCODERD_LOG", "=,").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("ENCODERD_LOG"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_one_state_directory_is_refused() {
    let desk = Desk::start(Setup::default()).await;
    let output = encoderd(&["run", "--config", desk.config_file().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("another encoderd runs"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_card_key_a_desk_of_a_remote_hub_refuses_to_encode() {
    let hub = Desk::start(Setup::default()).await;
    let remote = RemoteDesk::start(&hub, None, &[]);
    hub.wait_for("the remote encoder", |encoders| {
        encoders.iter().any(|encoder| encoder["display_name"] == "Remote" && encoder["state"] == "online")
    })
    .await;
    let encoder_id = hub.live().await[0]["acs_encoder_id"].clone();
    let credential = hub.credential(1).await;
    let body = serde_json::json!({"acs_encoder_id": encoder_id, "acs_credential_id": credential});
    let attempt = hub.get("/acs/encoders/encode_credential", body, "action_attempt").await;
    let attempt = hub.settled(attempt).await;
    assert!(attempt["error"]["message"].as_str().unwrap_or_default().contains("keys import"), "{attempt}");
    assert!(!remote.state_dir.join("card-key.toml").exists(), "a desk of a remote hub makes no card key");
    assert_eq!(remote.encoder.stats().writes, 0);
}

#[test]
fn demo_check_makes_a_key_and_reads_it() {
    let output = encoderd(&["demo", "--check"]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    assert!(text.contains("card_number") && text.contains("issued_at") && text.contains("scanned"), "{text}");
    assert!(text.contains("[simulated]"), "{text}");
}

#[test]
fn demo_with_pcsc_makes_a_key_behind_a_pcscd_of_its_own_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let output =
        Command::new(PROGRAM).args(["demo", "--pcsc", "--check"]).env("TMPDIR", directory.path()).output().unwrap();
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{text}{}", stderr(&output));
    assert!(text.contains("on \"Front Desk\" [simulated]") && text.contains("scanned"), "{text}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    assert!(!processes().contains(&directory.path().display().to_string()), "a pcscd was left");
}

/// The command lines of everything that runs here.
fn processes() -> String {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    processes.filter_map(|process| std::fs::read_to_string(process.path().join("cmdline")).ok()).collect()
}

#[test]
fn an_interrupted_demo_with_pcsc_ends_its_pcscd() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("demo");
    let mut demo = Command::new(PROGRAM)
        .args(["demo", "--pcsc", "--port", "0", "--state"])
        .arg(&state)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut introduction = String::new();
    let mut lines = std::io::BufReader::new(demo.stdout.take().unwrap()).lines();
    while !introduction.contains("Stop with Ctrl-C") {
        introduction += &lines.next().expect("the demo ended").unwrap();
    }
    assert!(introduction.contains("Front Desk") && introduction.contains("Concierge"), "{introduction}");
    let readers = state.join("reader.conf.d").display().to_string();
    assert!(processes().contains(&readers), "no pcscd in the first place");
    kill_process(Pid::from_child(&demo), Signal::INT).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(0));
    assert!(!processes().contains(&readers), "a pcscd was left");
    assert!(state.join("pcscd.log").exists(), "a directory that was named stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_encoders_and_card_show_the_desk() {
    let desk = Desk::simple().await;
    desk.wait_for_card(0, Some("deadbeef")).await;
    let file = desk.config_file();
    let config = ["--config", file.to_str().unwrap()];
    let run = |arguments: &[&str]| {
        let output = encoderd(&[arguments, &config].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
        stdout(&output)
    };
    let status = run(&["status"]);
    assert!(status.contains("Front Desk [simulated]") && status.contains("deadbeef"), "{status}");
    let status: Value = serde_json::from_str(&run(&["status", "--json"])).unwrap();
    assert_eq!(status["encoders"][0]["simulated"], true);
    let card: Value = serde_json::from_str(&run(&["card", "info", "--json"])).unwrap();
    assert_eq!((&card["card_number"], &card["format"]), (&"deadbeef".into(), &"blank".into()), "{card}");

    let id = desk.encoder(0).await;
    run(&["encoders", "rename", "Front Desk", "Reception"]);
    desk.wait_for("the new name", |encoders| encoders[0]["display_name"] == "Reception").await;
    run(&["encoders", "unlink", "Reception"]);
    let credential = desk.credential(1).await;
    desk.wait_for("no device", |encoders| encoders[0]["device_id"].is_null()).await;
    let attempt = desk
        .settled(
            desk.get(
                "/acs/encoders/encode_credential",
                serde_json::json!({"acs_encoder_id": id, "acs_credential_id": credential}),
                "action_attempt",
            )
            .await,
        )
        .await;
    assert_eq!(attempt["error"]["type"], "encoder_not_online", "{attempt}");
    let stranger =
        encoderd(&["encoders", "link", "Reception", "00000000-0000-4000-8000-000000000000", config[0], config[1]]);
    assert_eq!(stranger.status.code(), Some(1));
    assert!(stderr(&stranger).contains("knows no encoder"), "{}", stderr(&stranger));
    run(&["encoders", "link", "Reception", &id]);
    desk.wait_for("the device", |encoders| !encoders[0]["device_id"].is_null() && encoders[0]["state"] == "online")
        .await;
    desk.encode_well(0, &credential).await;
    let card = run(&["card", "info"]);
    assert!(card.contains("personalised by this property") && card.contains(&credential), "{card}");

    let unknown = encoderd(&["encoders", "unlink", "Nobody", config[0], config[1]]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(stderr(&unknown).contains("Reception"), "{}", stderr(&unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn probe_names_what_is_fine_and_what_is_not() {
    let desk = Desk::simple().await;
    let probe = |arguments: &[&str]| {
        let output = encoderd(&[&["probe", "--json"], arguments].concat());
        let report: Value = serde_json::from_str(&stdout(&output)).unwrap_or_else(|_| panic!("{}", stderr(&output)));
        (output.status.code(), report)
    };
    let file = desk.config_file();
    let (code, report) = probe(&["--config", file.to_str().unwrap()]);
    assert_eq!((code, &report["ok"]), (Some(0), &true.into()), "{report}");
    let encoder = report["findings"].as_array().unwrap().iter().find(|finding| finding["check"] == "encoders").unwrap();
    assert_eq!(encoder["simulated"], true, "{report}");
    assert!(encoder["message"].as_str().unwrap().contains("PN532, firmware 1.6"), "{report}");

    // A port that nobody holds is opened; one that is missing is named.
    let free = VirtualEncoder::start(desk.directory.path(), "free", Some("classic-1k:0badcafe"), &[]);
    let (code, report) = probe(&["--port", free.link.to_str().unwrap(), "--dialect", "pn532"]);
    assert_eq!(code, Some(0), "{report}");
    assert!(report.to_string().contains("card 0badcafe"), "{report}");
    assert_eq!(free.stats().writes, 0);
    let (code, report) = probe(&["--port", "/dev/nonexistent", "--dialect", "pn532"]);
    assert_eq!(code, Some(1), "{report}");
    assert!(report.to_string().contains("/dev/nonexistent is not there"), "{report}");

    let usage = encoderd(&["probe", "--port", "/dev/ttyUSB0"]);
    assert_eq!(usage.status.code(), Some(2));
    let usage = encoderd(&["probe", "--port", "/dev/ttyUSB0", "--dialect", "klingon"]);
    assert_eq!(usage.status.code(), Some(2));
    assert!(stderr(&usage).contains("pn532"), "{}", stderr(&usage));
}

/// The running desk's support bundle, decompressed: nothing in it that is nobody's business.
#[tokio::test(flavor = "multi_thread")]
async fn a_support_bundle_holds_no_secret_of_a_running_desk() {
    let desk = Desk::simple().await;
    desk.wait_for_card(0, Some("deadbeef")).await;
    let systems = desk.get("/acs/systems/list", serde_json::json!({}), "acs_systems").await;
    let guest = serde_json::json!({
        "acs_system_id": systems[0]["acs_system_id"],
        "full_name": "Canary Guest",
        "email_address": "canary@guest.example",
    });
    desk.get("/acs/users/create", guest, "acs_user").await;
    let hook = serde_json::json!({ "url": "http://127.0.0.1:9/hook?token=canary-in-an-address" });
    let webhook = desk.get("/webhooks/create", hook, "webhook").await;
    let output = desk.directory.path().join("bundle.tar.gz");
    let (file, to) = (desk.config_file(), output.to_str().unwrap().to_owned());
    let run = |arguments: &[&str]| {
        let bundle = [&["support-bundle", "--config", file.to_str().unwrap()], arguments].concat();
        Command::new(PROGRAM).args(bundle).envs(desk::pcsc_environment(desk.directory.path(), None)).output().unwrap()
    };
    let listed = run(&["--list"]);
    assert!(listed.status.success() && !output.exists(), "{}", stderr(&listed));
    let written = run(&["--output", &to]);
    assert!(written.status.success(), "{}", stderr(&written));
    assert_eq!(stdout(&written).trim(), to);
    for part in ["probe.json", "status.json", "encoderd.toml", "versions.txt", "state.txt"] {
        assert!(stdout(&listed).contains(part) && stderr(&written).contains(part), "{part}: {}", stdout(&listed));
    }
    assert_eq!(std::fs::metadata(&output).unwrap().permissions().mode() & 0o777, 0o600);
    let again = run(&["--output", &to]);
    assert_eq!(again.status.code(), Some(1));
    let unpacked = Command::new("tar").args(["--to-stdout", "-xzf", &to]).output().unwrap();
    let texts = stdout(&unpacked);
    for kept in ["\"encoders\"", "journal: 0", "de…ef"] {
        assert!(texts.contains(kept), "{kept}: {texts}");
    }
    let secret = |file: &str| std::fs::read_to_string(desk.state_dir().join(file)).unwrap().trim().to_owned();
    let card_key = secret("card-key.toml").rsplit('"').nth(1).unwrap().to_owned();
    let webhook_secret = webhook["secret"].as_str().unwrap().to_owned();
    let canaries = [secret("api-key"), secret("bridge-token"), card_key, webhook_secret];
    let named = ["deadbeef", "Canary Guest", "canary@guest.example", "canary-in-an-address"].map(str::to_owned);
    for canary in canaries.into_iter().chain(named) {
        assert!(canary.len() > 7 && !texts.contains(&canary), "{canary}: {texts}");
    }
}

#[test]
fn commands_that_need_the_daemon_say_that_it_does_not_run() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("encoderd.toml");
    std::fs::write(&file, config(directory.path(), "127.0.0.1:0")).unwrap();
    let output = encoderd(&["status", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("encoderd run"), "{}", stderr(&output));
}
