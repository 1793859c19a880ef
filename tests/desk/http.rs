//! Who may do what, without a browser's help.

use crate::desk::{Desk, Setup};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

/// A browser at this PC that shows the page, as far as headers tell.
struct Browser<'a> {
    desk: &'a Desk,
    client: reqwest::Client,
    origin: String,
    cookie: String,
    csrf: String,
}

impl<'a> Browser<'a> {
    async fn open(desk: &'a Desk) -> Self {
        let client = reqwest::Client::new();
        let origin = desk.url.clone();
        let answer = client.post(format!("{}/desk/session", desk.url)).header("origin", &origin).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        for word in ["HttpOnly", "SameSite=Strict", "Path=/desk"] {
            assert!(cookie.contains(word), "{cookie}");
        }
        let body: Value = answer.json().await.unwrap();
        assert_eq!((&body["mode"], &body["has_pin"]), (&json!("local"), &json!(false)));
        let cookie = cookie.split(';').next().unwrap().to_owned();
        Self { desk, client, origin, cookie, csrf: body["csrf"].as_str().unwrap().to_owned() }
    }

    /// A request without anything that lets it in.
    fn bare(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.desk.url))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.bare(method, path).header("cookie", &self.cookie).header("x-encoderd-csrf", &self.csrf);
        request.header("origin", &self.origin)
    }
}

async fn refused(answer: Response, status: StatusCode, problem: &str) {
    assert_eq!(answer.status(), status);
    assert_eq!(answer.json::<Value>().await.unwrap()["problem"], problem);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_calls_the_hub_without_a_key_and_only_what_the_page_needs() {
    let desk = Desk::simple().await;
    let browser = Browser::open(&desk).await;
    let answer = browser.request(Method::POST, "/desk/api/acs/encoders/list").json(&json!({})).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()["cache-control"]), (200, &"no-store".parse().unwrap()));
    assert_eq!(answer.json::<Value>().await.unwrap()["acs_encoders"][0]["display_name"], "Front Desk");
    let answer = browser.request(Method::POST, "/desk/encoders/list").send().await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["encoders"][0]["display_name"], "Front Desk");
    for path in [
        "/desk/api/encoderd/v1/api_keys/create",
        "/desk/api/encoderd/v1/workspaces/list",
        "/desk/api/bridge/v1/jobs/next",
        "/desk/api/webhooks/list",
        "/desk/api/desk/session",
        "/desk/api//acs/encoders/list",
        "/desk/api/acs/encoders/list/",
        "/desk/api/acs/encoders/%6cist/..",
        "/desk/encoders/format",
    ] {
        let answer = browser.request(Method::POST, path).json(&json!({})).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
    }
    let answer =
        browser.request(Method::DELETE, "/desk/api/access_grants/delete").json(&json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    // The hub's own paths still need a key: the session opens nothing but the page's.
    let answer = browser.request(Method::POST, "/acs/encoders/list").json(&json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_the_pages_own_is_refused() {
    let desk = Desk::simple().await;
    let browser = Browser::open(&desk).await;
    let path = "/desk/api/acs/encoders/list";
    let (cookie, csrf, origin) = (&browser.cookie, &browser.csrf, &browser.origin);
    let post = || browser.bare(Method::POST, path).json(&json!({}));
    let forbidden = (StatusCode::FORBIDDEN, "not_allowed");
    let unknown = (StatusCode::UNAUTHORIZED, "no_session");
    // Each with everything right but one thing.
    let name = cookie.split('=').next().unwrap();
    let other = Browser::open(&desk).await;
    let full = || browser.request(Method::POST, path).json(&json!({}));
    for (what, request, (status, problem)) in [
        ("no cookie", post().header("x-encoderd-csrf", csrf).header("origin", origin), unknown),
        ("no token", post().header("cookie", cookie).header("origin", origin), unknown),
        (
            "a made-up cookie",
            post().header("cookie", format!("{name}=x")).header("x-encoderd-csrf", csrf).header("origin", origin),
            unknown,
        ),
        (
            "another session's token",
            post().header("cookie", cookie).header("x-encoderd-csrf", &other.csrf).header("origin", origin),
            unknown,
        ),
        ("no origin", post().header("cookie", cookie).header("x-encoderd-csrf", csrf), forbidden),
        (
            "another origin",
            post().header("cookie", cookie).header("x-encoderd-csrf", csrf).header("origin", "http://evil.example"),
            forbidden,
        ),
        (
            "another program of this PC",
            post().header("cookie", cookie).header("x-encoderd-csrf", csrf).header("origin", "http://127.0.0.1:1"),
            forbidden,
        ),
        ("cross-site", full().header("sec-fetch-site", "cross-site"), forbidden),
        ("same-site", full().header("sec-fetch-site", "same-site"), forbidden),
        ("forwarded", full().header("forwarded", "for=203.0.113.7"), forbidden),
        ("via", full().header("via", "1.1 proxy"), forbidden),
        ("x-forwarded-for", full().header("x-forwarded-for", "203.0.113.7"), forbidden),
        ("x-forwarded-proto", full().header("x-forwarded-proto", "https"), forbidden),
        ("x-real-ip", full().header("x-real-ip", "203.0.113.7"), forbidden),
    ] {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status, "{what}");
        refused(answer, status, problem).await;
    }
    assert_eq!(full().send().await.unwrap().status(), 200, "and with everything right it works");
    // The daemon's actions have the same door.
    let bare = browser.bare(Method::POST, "/desk/encoders/unlink").json(&json!({"device": "Front Desk"}));
    refused(bare.header("cookie", cookie).header("origin", origin).send().await.unwrap(), unknown.0, unknown.1).await;
    let status = desk.live().await;
    assert!(status[0]["device_id"].is_string(), "nothing was unlinked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_begins_only_at_this_pc() {
    let desk = Desk::simple().await;
    let client = reqwest::Client::new();
    let port = desk.url.rsplit(':').next().unwrap().to_owned();
    let begin = || client.post(format!("{}/desk/session", desk.url));
    // Names and addresses that are this PC's.
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let host = format!("{host}:{port}");
        let answer = begin().header("host", &host).header("origin", format!("http://{host}")).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap()["mode"], "local", "{host}");
    }
    // Another page whose name leads to 127.0.0.1, and a proxy's browser: they get no session, only the offer to use a key.
    for (name, value) in [
        ("host", format!("desk.example.com:{port}")),
        ("host", format!("127.0.0.1.nip.io:{port}")),
        ("host", format!("192.168.1.10:{port}")),
        ("x-forwarded-host", "localhost".to_owned()),
        ("via", "1.1 x".to_owned()),
    ] {
        let request = begin().header(name, &value).header("origin", &desk.url);
        let answer = request.send().await.unwrap();
        assert!(answer.headers().get("set-cookie").is_none(), "{name}: {value}");
        assert_eq!(answer.json::<Value>().await.unwrap()["mode"], "key", "{name}: {value}");
    }
    for origin in [None, Some("http://evil.example"), Some("null")] {
        let request = origin.into_iter().fold(begin(), |request, origin| request.header("origin", origin));
        let answer = request.send().await.unwrap();
        assert!(answer.headers().get("set-cookie").is_none(), "{origin:?}");
        refused(answer, StatusCode::FORBIDDEN, "not_allowed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_end_and_with_the_daemon() {
    let mut desk = Desk::simple().await;
    desk.pin_port();
    let browser = Browser::open(&desk).await;
    let list = async |browser: &Browser<'_>| {
        browser.request(Method::POST, "/desk/api/acs/encoders/list").json(&json!({})).send().await.unwrap().status()
    };
    assert_eq!(list(&browser).await, 200);
    let (cookie, csrf, origin) = (browser.cookie.clone(), browser.csrf.clone(), browser.origin.clone());
    assert_eq!(browser.request(Method::DELETE, "/desk/session").send().await.unwrap().status(), 204);
    assert_eq!(list(&browser).await, 401);
    let second = Browser::open(&desk).await;
    let (second_cookie, second_csrf) = (second.cookie.clone(), second.csrf.clone());
    assert_ne!((&cookie, &csrf), (&second_cookie, &second_csrf));
    desk.kill();
    desk.start_daemon().await;
    let client = reqwest::Client::new();
    let again = Browser { desk: &desk, client, origin, cookie: second_cookie, csrf: second_csrf };
    assert_eq!(list(&again).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pin_is_asked_for_and_wrong_ones_cost_time() {
    let config = "[desk]\npin = \"739104628517\"\n";
    let desk = Desk::start(Setup { encoders: crate::WITHOUT_CARD, config, ..Setup::default() }).await;
    let client = reqwest::Client::new();
    let begin =
        |body: Value| client.post(format!("{}/desk/session", desk.url)).header("origin", &desk.url).json(&body).send();
    refused(begin(json!({})).await.unwrap(), StatusCode::UNAUTHORIZED, "pin_needed").await;
    refused(begin(json!({"pin": 7391})).await.unwrap(), StatusCode::BAD_REQUEST, "bad_request").await;
    let answer = begin(json!({"pin": "739104628517"})).await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["has_pin"], true);
    for _ in 0..5 {
        refused(begin(json!({"pin": "0000"})).await.unwrap(), StatusCode::UNAUTHORIZED, "pin_wrong").await;
    }
    let answer = begin(json!({"pin": "739104628517"})).await.unwrap();
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{wait}");
    refused(answer, StatusCode::TOO_MANY_REQUESTS, "too_many_tries").await;
    assert!(!desk.log().contains("739104628517"), "the PIN is in no log");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pages_files_come_with_a_strict_policy() {
    let desk = Desk::simple().await;
    for path in ["/", "/desk/app.js", "/desk/style.css", "/desk/words.json"] {
        let answer = reqwest::get(format!("{}{path}", desk.url)).await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap().to_owned();
        assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*') && !policy.contains("http"), "{policy}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    }
    let page = reqwest::get(&desk.url).await.unwrap().text().await.unwrap();
    assert!(!page.contains("style=") && !page.contains("<script>") && !page.contains("onclick"), "{page}");
    assert_eq!(reqwest::get(format!("{}/desk/secret.js", desk.url)).await.unwrap().status(), 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_card_that_is_meant_and_is_ours_is_erased() {
    let desk = Desk::simple().await;
    let browser = Browser::open(&desk).await;
    let erase = async |card: &str| {
        let body = json!({"device": "Front Desk", "card_number": card});
        let answer = browser.request(Method::POST, "/desk/encoders/erase").json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    // Blank, then a key, then another card's number.
    assert_eq!(erase("deadbeef").await.1["kind"], "card_without_credential");
    let (kept, erased) = (desk.credential(1).await, desk.credential(2).await);
    desk.encode_well(0, &erased).await;
    let before = desk.encoders[0].dump();
    assert_eq!(erase("0badcafe").await.1["kind"], "card_left");
    assert_eq!(erase("not hex").await.0, 409);
    assert_eq!(desk.encoders[0].dump(), before, "nothing was written");
    let (status, answer) = erase("deadbeef").await;
    assert_eq!((status, &answer["answer"], &answer["acs_credential_id"]), (200, &json!("erased"), &json!(erased)));
    let (status, _) = desk.call("/acs/credentials/get", json!({"acs_credential_id": erased})).await;
    assert_eq!(status, 404, "the hub has forgotten it");
    assert_eq!(desk.scan_well(0).await["acs_credential_on_encoder"], Value::Null);
    // It is personalised still, and takes another key; erasing what the hub has deleted already works too.
    let writes = desk.encoders[0].stats().writes;
    desk.encode_well(0, &kept).await;
    assert!(desk.encoders[0].stats().writes - writes < 12, "no trailer was written again");
    desk.get("/acs/credentials/delete", json!({"acs_credential_id": kept}), "ok").await;
    assert_eq!(erase("deadbeef").await.0, 200);
    // Two cards, and one of another system.
    desk.encoders[0].control("place classic-1k:0badcafe");
    desk.wait_for("two cards", |encoders| encoders[0]["presence"] == "several").await;
    assert_eq!(erase("deadbeef").await.1["kind"], "several_cards");
    desk.encoders[0].control("remove");
    desk.wait_for_card(0, None).await;
    assert_eq!(erase("deadbeef").await.1["kind"], "no_card");
    desk.encoders[0].control("place classic-1k:00c0ffee");
    let mut foreign = desk.encoders[0].dump();
    foreign[7 * 16] = 0x11;
    let file = desk.directory.path().join("foreign.mfd");
    std::fs::write(&file, &foreign).unwrap();
    desk.encoders[0].control(&format!("load {}", file.display()));
    desk.wait_for_card(0, Some("00c0ffee")).await;
    assert_eq!(erase("00c0ffee").await.1["kind"], "foreign_card");
    assert_eq!(desk.encoders[0].dump(), foreign);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_erasure_leaves_the_key_or_nothing_and_is_ended_by_the_next() {
    for write in 1..=12 {
        let desk = Desk::simple().await;
        let browser = Browser::open(&desk).await;
        let credential = desk.credential(17).await;
        desk.encode_well(0, &credential).await;
        let body = json!({"device": "Front Desk", "card_number": "deadbeef"});
        let erase = || browser.request(Method::POST, "/desk/encoders/erase").json(&body).send();
        desk.encoders[0].control(&format!("tear {write} partial"));
        let answer = erase().await.unwrap();
        assert_eq!(answer.status(), 409, "write {write}");
        assert_eq!(answer.json::<Value>().await.unwrap()["kind"], "card_left");
        let state = desk.credential_state(&credential).await;
        assert_eq!(state["is_issued"], true, "the hub does not forget what may still open doors");
        desk.encoders[0].control("place classic-1k:deadbeef");
        desk.wait_for_card(0, Some("deadbeef")).await;
        let found = desk.scan_well(0).await;
        let on_card = &found["acs_credential_on_seam"]["acs_credential_id"];
        assert!(*on_card == json!(credential) || found["acs_credential_on_encoder"].is_null(), "{found}");
        assert_eq!(erase().await.unwrap().status(), 200, "write {write}");
        assert_eq!(desk.scan_well(0).await["acs_credential_on_encoder"], Value::Null);
    }
}
