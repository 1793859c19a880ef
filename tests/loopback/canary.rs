//! No key is anywhere but in the card key's file and on the card: everything is done once with every log line that there
//! is, and then all that was written is searched.

use crate::canary_search::{Search, Secret, forms, secrets};
use crate::desk::{Desk, PROGRAM, Setup};
use encoder_protocols::layout::keys::{KeyRing, PropertyKey};
use encoderd::keys::CardKey;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// What holds a key because it is there for that: the card key, copies of it that were asked for, and damaged ones.
const KEY_FILES: [&str; 5] = ["card-key.toml", "card-key-copy.toml", "next-key.toml", "damaged.toml", "with-keys.mfd"];

const UIDS: [&str; 4] = ["deadbeef", "0badcafe", "04a1b2c3d4e5f6", "04a1b2c3d4e5f7"];

/// Runs the program at trace level, and keeps all that it says.
fn run(desk: &Desk, said: &mut Vec<u8>, arguments: &[&str]) -> bool {
    let output = Command::new(PROGRAM)
        .args(arguments)
        .arg("--config")
        .arg(desk.config_file())
        .env("ENCODERD_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .current_dir(desk.directory.path())
        .output()
        .unwrap();
    said.extend(format!("$ {arguments:?}\n").bytes());
    said.extend(output.stdout);
    said.extend(output.stderr);
    output.status.success()
}

/// Keeps an answer of the API.
fn keep(said: &mut Vec<u8>, answer: impl std::fmt::Display) {
    said.extend(format!("{answer}\n").bytes());
}

fn passphrase_file(directory: &Path) -> String {
    let file = directory.join("passphrase");
    std::fs::write(&file, "a passphrase that is long enough\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file.to_str().unwrap().to_owned()
}

async fn place(desk: &Desk, said: &mut Vec<u8>, card: &str, uid: &str) {
    keep(said, desk.encoders[0].control("remove"));
    desk.wait_for_card(0, None).await;
    keep(said, desk.encoders[0].control(&format!("place {card}")));
    desk.wait_for_card(0, Some(uid)).await;
}

/// What the tools say of a card, without its keys.
fn dump(desk: &Desk, said: &mut Vec<u8>, uid: &str) {
    assert!(run(desk, said, &["card", "info"]));
    assert!(run(desk, said, &["card", "info", "--json"]));
    for name in [format!("{uid}.mfd"), format!("{uid}.nfc")] {
        assert!(run(desk, said, &["card", "dump", &name]), "{name}");
    }
}

/// Everything that has to do with keys, and everything that collects what others write.
async fn everything(desk: &mut Desk, said: &mut Vec<u8>) -> KeyRing {
    let (first, second) = (desk.credential(2).await, desk.credential(5).await);
    let passphrase = passphrase_file(desk.directory.path());
    keep(said, desk.encode(0, &first).await);
    keep(said, desk.scan(0).await);
    keep(said, desk.encode(0, &second).await);
    for arguments in
        [&["card", "info"][..], &["card", "info", "--json"], &["keys", "list"], &["keys", "list", "--json"]]
    {
        assert!(run(desk, said, arguments), "{arguments:?}");
    }
    // Errors: a torn write, a foreign card, a card that is no Classic.
    desk.encoders[0].control("tear 2 partial");
    keep(said, desk.encode(0, &first).await);
    desk.encoders[0].control("place classic-1k:deadbeef");
    desk.wait_for_card(0, Some("deadbeef")).await;
    keep(said, desk.encode(0, &first).await);

    // The key travels, is rotated, and comes from damaged files.
    assert!(run(desk, said, &["keys", "export", "card-key-copy.toml"]));
    assert!(run(desk, said, &["keys", "export", "card-key.wrapped", "--passphrase-file", &passphrase]));
    assert!(run(desk, said, &["keys", "rotate", "--into", "next-key.toml"]));
    assert!(!run(desk, said, &["keys", "export", "card-key-copy.toml"]));
    let copy = std::fs::read_to_string(desk.directory.path().join("card-key-copy.toml")).unwrap();
    for damaged in
        [copy.replace("key_id", "id"), copy.replace("key = \"", "key = \"0"), copy.replace('\n', ""), copy + "x"]
    {
        let file = desk.directory.path().join("damaged.toml");
        std::fs::write(&file, damaged).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert!(!run(desk, said, &["keys", "import", "damaged.toml"]));
    }
    assert!(run(desk, said, &["keys", "import", "card-key.wrapped", "--passphrase-file", &passphrase]));
    assert!(run(desk, said, &["keys", "import", "next-key.toml"]));
    assert!(run(desk, said, &["keys", "rotate", "--yes"]));
    assert!(!run(desk, said, &["keys", "forget", "3", "--yes"]), "the current key");
    desk.reload();
    desk.wait_for("the rotated key", |_| desk.log().contains("card key read again and applied")).await;

    // An older card, a new one, erased.
    keep(said, desk.scan(0).await);
    keep(said, desk.encode(0, &second).await);
    place(desk, said, "classic-1k:0badcafe", "0badcafe").await;
    assert!(run(desk, said, &["card", "personalize"]));
    let third = desk.credential(1).await;
    keep(said, desk.encode(0, &third).await);
    assert!(run(desk, said, &["card", "erase", "0badcafe"]));
    for (card, uid) in [("ntag213:04a1b2c3d4e5f6", UIDS[2]), ("ultralight-c:04a1b2c3d4e5f7", UIDS[3])] {
        place(desk, said, card, uid).await;
        assert!(run(desk, said, &["card", "personalize"]));
        let credential = desk.credential(1).await;
        keep(said, desk.encode_well(0, &credential).await);
        keep(said, desk.scan(0).await);
        dump(desk, said, uid);
    }
    place(desk, said, "classic-1k:deadbeef", "deadbeef").await;
    dump(desk, said, "deadbeef");
    place(desk, said, "classic-1k:0badcafe", "0badcafe").await;
    assert!(run(desk, said, &["card", "dump", "--with-keys", "with-keys.mfd"]));

    for arguments in [
        &["status", "--json"][..],
        &["support-bundle", "--output", "bundle.tar.gz"],
        &["backup", "--output", "sealed.tar.gz", "--passphrase-file", &passphrase],
        &["backup", "--output", "open.tar.gz", "--without-secrets"],
    ] {
        assert!(run(desk, said, arguments), "{arguments:?}");
    }
    // It finds something in most places; what it says is what counts here.
    let _findings = run(desk, said, &["probe", "--json"]);
    for path in ["/acs/credentials/list", "/acs/encoders/list", "/events/list", "/action_attempts/list"] {
        keep(said, desk.call(path, serde_json::json!({ "since": "2020-01-01T00:00:00Z" })).await.1);
    }
    keep(said, serde_json::Value::from(desk.live().await));
    let ring = CardKey::load(&desk.state_dir()).unwrap().unwrap().key;
    desk.terminate();

    // A start that fails on the key's file.
    let file = desk.state_dir().join("card-key.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("key_id = 3", "key_id = 3000")).unwrap();
    assert!(!run(desk, said, &["run"]));
    std::fs::write(&file, good).unwrap();
    ring
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_in_anything_that_is_written_or_said() {
    let mut desk = Desk::start(Setup {
        encoders: &[("Front Desk", Some("classic-1k:deadbeef"))],
        log: Some("trace"),
        ..Setup::default()
    })
    .await;
    let mut said = Vec::new();
    let ring = everything(&mut desk, &mut said).await;
    assert_eq!(ring.keys().map(PropertyKey::key_id).collect::<Vec<_>>(), [3, 2, 1]);
    let search = Search::new(&secrets(&ring, &UIDS));

    // The look finds keys where they are.
    for file in ["state/card-key.toml", "next-key.toml", "with-keys.mfd"].map(|file| desk.directory.path().join(file)) {
        assert!(!search.hits_in_file(&file).is_empty(), "{}", file.display());
    }
    desk.encoders[0].control("remove");
    desk.encoders[0].control("place classic-1k:deadbeef");
    assert!(!search.hits("the card", &desk.encoders[0].dump()).is_empty());
    std::fs::remove_file(desk.encoders[0].control.with_extension("mfd")).unwrap();

    let log = desk.log();
    assert!(log.contains("TRACE") && log.contains("Authenticate") && log.contains("WriteTrailer"), "the log is whole");
    let mut files = 0;
    let mut hits = search.hits_below(desk.directory.path(), &KEY_FILES, &mut files);
    hits.extend(search.hits("what was said", &said));
    assert!(hits.is_empty(), "{} hits: {:#?}", hits.len(), &hits[..hits.len().min(20)]);
    for file in ["encoderd.log", "state/hub.db", "state/state.db", "bundle.tar.gz", "sealed.tar.gz", "card-key.wrapped"]
    {
        assert!(desk.directory.path().join(file).exists(), "{file} was searched");
    }
    assert!(files >= 10, "{files} files searched");
}

#[test]
fn a_key_that_is_left_somewhere_is_found_in_every_form() {
    let directory = tempfile::tempdir().unwrap();
    let key = PropertyKey::new(1, std::array::from_fn(|at| u8::try_from(at * 16 + 3).unwrap()));
    let all = secrets(&KeyRing::single(key), &UIDS);
    assert!(all.len() == 4 + UIDS.len() * 13);
    let search = Search::new(&all);
    let (log, gz) = (directory.path().join("some.log"), directory.path().join("some.gz"));
    for Secret { name, bytes } in &all {
        for form in forms(bytes) {
            let line = [b"2026 TRACE encoderd: frame=".as_slice(), &form, b" ok\n"].concat();
            assert_ne!(
                search.hits("a line", &line),
                Vec::<String>::new(),
                "{name}: {}",
                String::from_utf8_lossy(&form)
            );
        }
        // As code that logs would really write it.
        let logged = [
            format!("{bytes:?}"),
            format!("{bytes:02x?}"),
            format!("{bytes:X?}"),
            format!("{bytes:#?}"),
            serde_json::json!({ "key": bytes }).to_string(),
            serde_json::to_string_pretty(&serde_json::json!({ "a": { "key": bytes } })).unwrap(),
        ];
        for text in logged {
            assert_ne!(search.hits("a line", text.as_bytes()), Vec::<String>::new(), "{name}: {text}");
        }
        if forms(bytes).iter().all(|form| form != bytes) {
            continue;
        }
        std::fs::write(&log, [b"\x00\xFF", bytes.as_slice()].concat()).unwrap();
        let mut packed = GzEncoder::new(std::fs::File::create(&gz).unwrap(), Compression::default());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap();
        let hits = search.hits_below(directory.path(), &[], &mut 0);
        assert!(
            hits.iter().any(|hit| hit.contains("some.log")) && hits.iter().any(|hit| hit.contains("some.gz")),
            "{name}"
        );
        assert_eq!(search.hits_below(directory.path(), &["some.log", "some.gz"], &mut 0), Vec::<String>::new());
    }
    assert_eq!(search.hits("nothing", b"2026 TRACE encoderd: frame=00000000 ok"), Vec::<String>::new());
}
