//! `encoderd admin` and `encoderd pair` against a running hub.

use crate::desk::{Desk, PROGRAM, Setup, VirtualEncoder};
use crate::{encoderd, stderr, stdout};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output};

fn output(desk: &Desk, arguments: &[&str]) -> Output {
    let file = desk.config_file();
    let own = ["admin", "--hub", &desk.url, "--config", file.to_str().unwrap()];
    encoderd(&[&own, arguments].concat())
}

/// Standard output of a command that must go well.
fn admin(desk: &Desk, arguments: &[&str]) -> String {
    let output = output(desk, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

fn json(desk: &Desk, arguments: &[&str]) -> Value {
    serde_json::from_str(&admin(desk, &[arguments, &["--json"]].concat())).unwrap()
}

/// Standard error of a command that must fail.
fn refused(desk: &Desk, arguments: &[&str]) -> String {
    let output = output(desk, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stdout(&output));
    assert!(output.stdout.is_empty(), "{}", stdout(&output));
    stderr(&output)
}

#[tokio::test(flavor = "multi_thread")]
async fn workspaces_and_keys_are_made_and_ended() {
    let desk = Desk::start(Setup::default()).await;
    let id = admin(&desk, &["workspaces", "create", "Hotel Two", "--time-zone", "America/New_York"]);
    let id = id.trim();
    let list = admin(&desk, &["workspaces", "list"]);
    assert!(list.contains("Test Hotel") && list.contains("Hotel Two") && list.contains(id), "{list}");
    assert_eq!(json(&desk, &["workspaces", "list"])[1]["time_zone"], "America/New_York");
    let text = refused(&desk, &["workspaces", "create", "X", "--time-zone", "Mars/Olympus"]);
    assert!(text.contains("IANA time zone"), "{text}");

    let made = output(&desk, &["keys", "create", "--name", "Booking", "--workspace", id]);
    let key = stdout(&made).trim().to_owned();
    assert!(key.starts_with("seam_") && stderr(&made).contains("only time"), "{}", stderr(&made));
    let ask = async |key: &str| {
        let url = format!("{}/workspaces/get", desk.url);
        let answer = reqwest::Client::new().get(url).bearer_auth(key).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["workspace"]["name"].clone())
    };
    assert_eq!(ask(&key).await, (200, "Hotel Two".into()));
    let list = admin(&desk, &["keys", "list", "--workspace", id]);
    assert!(list.contains("Booking") && list.contains(&key[..13]) && !list.contains(&key), "{list}");
    assert_eq!(admin(&desk, &["keys", "list"]).lines().count(), 1, "the first workspace has none");
    let rotated = output(&desk, &["keys", "rotate", &key[..13], "--grace", "1h", "--workspace", id]);
    let new = stdout(&rotated).trim().to_owned();
    assert!(stderr(&rotated).contains("opens until"), "{}", stderr(&rotated));
    assert_eq!((ask(&key).await.0, ask(&new).await.0), (200, 200));
    admin(&desk, &["keys", "revoke", &new, "--workspace", id]);
    admin(&desk, &["keys", "revoke", &key[..13], "--workspace", id]);
    assert_eq!((ask(&key).await.0, ask(&new).await.0), (401, 401));
    assert!(admin(&desk, &["keys", "create", "--personal"]).starts_with("seam_at_"));
    let text = refused(&desk, &["keys", "revoke", "seam_nothing"]);
    assert!(text.contains("hint: `encoderd admin keys list`"), "{text}");
    let text = refused(&desk, &["keys", "list", "--workspace", "00000000-0000-4000-8000-000000000000"]);
    assert!(text.contains("no such workspace"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doors_are_imported_from_files() {
    let desk = Desk::start(Setup::default()).await;
    let file = |name: &str, content: &[u8]| {
        let path = desk.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let csv = file("rooms.csv", b"\xef\xbb\xbfName;Door\r\nRoom 101;101\r\nSuite 102;102\r\nPool;900\r\n");
    assert_eq!(
        admin(&desk, &["import", &csv, "--dry-run"]).trim(),
        "would be added 1, would be renamed 1, unchanged 1"
    );
    assert_eq!(admin(&desk, &["import", &csv]).trim(), "added 1, renamed 1, unchanged 1");
    let toml = file("rooms.toml", b"[[entrances]]\nname = \"Pool\"\ndoor = 900\n");
    assert_eq!(json(&desk, &["import", &toml])["unchanged"], 1);
    let wrong = file("wrong.csv", b"name,door\nSauna,901\n,902\nGym,x\n");
    let text = refused(&desk, &["import", &wrong]);
    for part in ["nothing was imported", "\n  line 3: the name is empty", "\n  line 4: \"x\" is no door number"] {
        assert!(text.contains(part), "{text}");
    }
    let latin = file("latin.csv", b"name,door\nCaf\xe9,903\n");
    let text = refused(&desk, &["import", &latin]);
    assert!(text.contains("line 2") && text.contains("UTF-8"), "{text}");
    let entrances = desk.get("/acs/entrances/list", serde_json::json!({}), "acs_entrances").await.to_string();
    assert!(entrances.contains("Suite 102") && !entrances.contains("Sauna"), "{entrances}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_administer_is_told_why() {
    let desk = Desk::start(Setup::default()).await;
    let with_key = |key: &str| {
        let output = Command::new(PROGRAM)
            .args(["admin", "encoders", "--hub", &desk.url])
            .env("ENCODERD_API_KEY", key)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    let applications = admin(&desk, &["keys", "create"]);
    let text = with_key("seam_0123456789abcdef");
    assert!(text.contains("refuses the key from ENCODERD_API_KEY") && text.contains("hint:"), "{text}");
    // Live encoders are for applications too, but keys are not.
    let output = Command::new(PROGRAM)
        .args(["admin", "keys", "list", "--hub", &desk.url])
        .env("ENCODERD_API_KEY", applications.trim())
        .output()
        .unwrap();
    assert!(stderr(&output).contains("only the hub's own key"), "{}", stderr(&output));
    // No key here: the file that is looked for is named.
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("encoderd.toml");
    std::fs::write(&file, format!("[daemon]\nstate_dir = \"{}\"\n", elsewhere.path().display())).unwrap();
    let asked = ["admin", "encoders", "--hub", &desk.url, "--config", file.to_str().unwrap()];
    let output = encoderd(&asked);
    let path = elsewhere.path().join("api-key").display().to_string();
    assert!(stderr(&output).contains(&path) && stderr(&output).contains("hint: run this on"), "{}", stderr(&output));
    std::fs::write(elsewhere.path().join("api-key"), "seam_0123456789abcdef\n").unwrap();
    std::fs::set_permissions(elsewhere.path().join("api-key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = encoderd(&asked);
    assert!(stderr(&output).contains("chmod 600"), "{}", stderr(&output));
}

/// A daemon of another desk.
struct Daemon(Child);

fn run(config: &str) -> Child {
    let mut daemon = Command::new(PROGRAM);
    daemon.args(["run", "--config", config]).env("PCSCLITE_CSOCK_NAME", "/nonexistent/pcscd.comm").spawn().unwrap()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn remote_config(directory: &Path, url: &str, encoder: &VirtualEncoder) -> String {
    format!(
        "[daemon]\nstate_dir = \"{0}/state\"\n[cloud]\nurl = \"{url}\"\ntoken_file = \"{0}/token\"\n\
         [discovery]\nauto_link = true\n[[serial]]\npath = \"{1}\"\ndialect = \"pn532\"\nname = \"Bar\"\n",
        directory.display(),
        encoder.link.display()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_is_paired_works_and_is_sent_away() {
    let desk = Desk::simple().await;
    let remote = tempfile::tempdir().unwrap();
    let encoder = VirtualEncoder::start(remote.path(), "bar", Some("classic-1k:0badcafe"), &[]);
    let file = remote.path().join("encoderd.toml");
    std::fs::write(&file, remote_config(remote.path(), &desk.url, &encoder)).unwrap();
    let file = file.to_str().unwrap();
    let made = output(&desk, &["pair", "--name", "Bar"]);
    let code = stdout(&made).trim().to_owned();
    assert!(stderr(&made).contains(&format!("encoderd pair {} {code}", desk.url)), "{}", stderr(&made));
    let pair = |code: &str, more: &[&str]| encoderd(&[&["pair", &desk.url, code, "--config", file], more].concat());

    let wrong = pair("K7QD-9XWM-3HPT-6RVN", &[]);
    assert_eq!(wrong.status.code(), Some(1));
    assert!(stderr(&wrong).contains("encoderd admin pair"), "{}", stderr(&wrong));
    let token = remote.path().join("token");
    assert!(!token.exists());
    let paired = pair(&code, &[]);
    assert_eq!(paired.status.code(), Some(0), "{}", stderr(&paired));
    assert!(stdout(&paired).contains("paired as \"Bar\" with Test Hotel"), "{}", stdout(&paired));
    assert!(stderr(&paired).contains("encoderd keys import") && !stderr(&paired).contains("[cloud]"));
    assert_eq!(std::fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    let first = std::fs::read(&token).unwrap();
    let again = pair("K7QD-9XWM-3HPT-6RVN", &[]);
    assert!(stderr(&again).contains("--force"), "{}", stderr(&again));
    assert_eq!(std::fs::read(&token).unwrap(), first);

    let daemon = Daemon(run(file));
    desk.wait_for("the paired desk's encoder", |encoders| {
        encoders.iter().any(|encoder| encoder["display_name"] == "Bar" && encoder["state"] == "online")
    })
    .await;
    let shown = admin(&desk, &["encoders"]);
    assert!(shown.contains("Bar [simulated]") && shown.contains("PN532") && shown.contains("connected"), "{shown}");
    assert_eq!(json(&desk, &["encoders"]).as_array().unwrap().len(), 2);
    let listed = admin(&desk, &["bridges", "list"]);
    assert!(listed.contains("Bar") && listed.contains(" connected"), "{listed}");

    admin(&desk, &["bridges", "revoke", "Bar"]);
    let all = json(&desk, &["encoders"]);
    let bar = all.as_array().unwrap().iter().find(|encoder| encoder["display_name"] == "Bar").unwrap();
    assert_eq!((&bar["bridge_connected"], &bar["state"]), (&false.into(), &"offline".into()));
    assert!(admin(&desk, &["bridges", "list"]).contains("revoked"));
    assert!(refused(&desk, &["bridges", "revoke", "Bar"]).contains("no paired desk"));

    // Paired anew, and started again, it is the same desk.
    drop(daemon);
    let code = admin(&desk, &["pair", "--name", "Bar"]);
    let paired = pair(&code.trim().to_lowercase().replace('-', " "), &["--force"]);
    assert_eq!(paired.status.code(), Some(0), "{}", stderr(&paired));
    let _again = Daemon(run(file));
    desk.wait_for("the desk that was paired anew", |encoders| {
        encoders
            .iter()
            .any(|encoder| encoder["acs_encoder_id"] == bar["acs_encoder_id"] && encoder["state"] == "online")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_desk_without_a_configuration_is_told_what_to_write() {
    let desk = Desk::start(Setup::default()).await;
    let remote = tempfile::tempdir().unwrap();
    let file = remote.path().join("encoderd.toml");
    let token = remote.path().join("token");
    let config = |url: &str| {
        format!(
            "[daemon]\nstate_dir = \"{0}\"\n[cloud]\nurl = \"{url}\"\ntoken_file = \"{1}\"\n",
            remote.path().display(),
            token.display()
        )
    };
    std::fs::write(&file, config("http://127.0.0.1:1")).unwrap();
    let code = admin(&desk, &["pair"]);
    let paired = encoderd(&["pair", &desk.url, code.trim(), "--config", file.to_str().unwrap(), "--name", "Lobby"]);
    assert!(stdout(&paired).contains("\"Lobby\""), "{}", stderr(&paired));
    assert!(stderr(&paired).contains(&format!("set it to \"{}\"", desk.url)), "{}", stderr(&paired));
    // A place that cannot be written is named before the code is used up.
    std::fs::write(&file, config(&desk.url).replace("/token", "/missing/token")).unwrap();
    let code = admin(&desk, &["pair"]);
    let unwritable = encoderd(&["pair", &desk.url, code.trim(), "--config", file.to_str().unwrap()]);
    assert_eq!(unwritable.status.code(), Some(1));
    assert!(stderr(&unwritable).contains("/missing/token"), "{}", stderr(&unwritable));
    std::fs::create_dir(remote.path().join("missing")).unwrap();
    let paired = encoderd(&["pair", &desk.url, code.trim(), "--config", file.to_str().unwrap()]);
    assert_eq!(paired.status.code(), Some(0), "{}", stderr(&paired));
}
