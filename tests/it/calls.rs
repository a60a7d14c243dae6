//! The admin listener: who may do what, bad input, lists, completing, erasing, and the explanation of it all.

use super::process::{ADMIN_TOKEN, APP_TOKEN, Server, headcount, run, text};
use super::provider::Provider;
use super::support::{Db, event, user};
use crate::on_each_database;
use serde_json::json;

on_each_database!(
    each_token_opens_its_own_doors,
    bad_input_is_told_what_is_wrong,
    an_application_reads_completes_and_follows,
    a_person_is_erased_for_good,
    an_operator_looks_and_acts,
    a_policy_is_carried_out_by_the_worker,
    a_token_is_made_where_none_is_set,
);

/// One after the other: ids follow the order in which users are made, and two appliers make two at a time.
pub async fn with_two(db: &Db) -> (Server, Vec<String>) {
    let server = Server::start(db).await;
    for (n, email) in [(1, Some("a@example.com")), (2, None)] {
        let person = user(&format!("user_{n}"), 0, email, Some(&format!("name{n}")), &format!("Name {n}"));
        server.deliver(&format!("msg_{n}"), &event("user.created", person, 0)).await;
        server.drained(db).await;
    }
    let (_, list) = server.call("GET", "/v1/users", APP_TOKEN, None).await;
    let ids = list["users"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap().to_owned());
    let ids = ids.collect();
    (server, ids)
}

async fn each_token_opens_its_own_doors(db: Db) {
    let (server, ids) = with_two(&db).await;
    for (method, path, app, admin) in [
        ("GET", "/v1/users".to_owned(), 200, 200),
        ("GET", "/openapi.json".to_owned(), 200, 200),
        ("GET", "/v1/changes".to_owned(), 200, 200),
        ("GET", "/v1/status".to_owned(), 403, 200),
        ("GET", "/v1/runs".to_owned(), 403, 200),
        ("GET", "/v1/events".to_owned(), 403, 200),
        ("POST", "/v1/events/99/retry".to_owned(), 403, 404),
        ("POST", "/v1/resync".to_owned(), 403, 400),
        ("DELETE", format!("/v1/users/{}", ids[0]), 403, 200),
        ("GET", "/v1/nothing".to_owned(), 404, 404),
        ("PUT", "/v1/users".to_owned(), 405, 405),
    ] {
        assert_eq!(server.call(method, &path, "a-wrong-token", None).await.0, 401, "{method} {path}");
        assert_eq!(server.call(method, &path, APP_TOKEN, None).await.0, app, "{method} {path}");
        assert_eq!(server.call(method, &path, ADMIN_TOKEN, None).await.0, admin, "{method} {path}");
    }
    for (name, value, expected) in [
        ("host", "evil.example.com", 421),
        ("origin", "https://evil.example.com", 403),
        ("origin", "null", 403),
        ("host", "headcount:8788", 200),
    ] {
        let request = server.client().get(format!("http://{}/v1/users", server.admin));
        let answer = request.bearer_auth(APP_TOKEN).header(name, value).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{name}: {value}");
        if expected != 200 {
            let problem: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.len() > 20));
        }
    }
    // Nothing of it is on the public listener.
    assert_eq!(server.get("/v1/users").await.map(|status| status.as_u16()), Some(404));
}

async fn bad_input_is_told_what_is_wrong(db: Db) {
    let (server, ids) = with_two(&db).await;
    let id = &ids[0];
    let many = vec![id.as_str(); 501].join(",");
    let unknown = "01900000-0000-7000-8000-000000000000";
    let ensure = "/v1/users/ensure".to_owned();
    let one = format!("/v1/users/{id}");
    for (method, path, body, status, word) in [
        ("GET", format!("/v1/users/{unknown}"), None, 404, "no such user"),
        ("GET", "/v1/users/what".to_owned(), None, 404, "no such user"),
        ("GET", "/v1/users?cursor=what".to_owned(), None, 400, "cursor"),
        ("GET", "/v1/users?cursor=YWZ0ZXI6eA".to_owned(), None, 400, "cursor"),
        ("GET", format!("/v1/users?ids={many}"), None, 400, "at most 500"),
        ("GET", "/v1/users?provider_ids=a".to_owned(), None, 400, "source"),
        ("GET", "/v1/users?state=angry".to_owned(), None, 400, "one of active"),
        ("GET", "/v1/users?limit=0".to_owned(), None, 400, "from 1 to 500"),
        ("GET", "/v1/users?stat=active".to_owned(), None, 400, "nearest is `state`"),
        ("GET", "/v1/users?limit=1&limit=2".to_owned(), None, 400, "twice"),
        ("GET", "/v1/changes?after=-1".to_owned(), None, 400, "`after`"),
        ("POST", ensure.clone(), None, 400, "JSON object"),
        ("POST", ensure.clone(), Some(json!({"source": "clerk"})), 400, "`provider_id`"),
        ("POST", ensure.clone(), Some(json!({"source": "clark", "provider_id": "x"})), 400, "no source"),
        ("POST", ensure.clone(), Some(json!({"source": "clerk", "provider_id": ""})), 400, "1 to 255 bytes"),
        (
            "POST",
            ensure.clone(),
            Some(json!({"source": "clerk", "provider_id": "x", "hint": {}})),
            400,
            "nearest is `hints`",
        ),
        (
            "POST",
            ensure.clone(),
            Some(json!({"source": "clerk", "provider_id": "x", "hints": {"emial": "x"}})),
            400,
            "nearest is `email`",
        ),
        (
            "POST",
            ensure.clone(),
            Some(json!({"source": "clerk", "provider_id": "x", "set": {"email": "x"}})),
            422,
            "provider's",
        ),
        (
            "POST",
            ensure,
            Some(json!({"source": "clerk", "provider_id": "x", "set": {"a": "x".repeat(70_000)}})),
            413,
            "larger",
        ),
        ("PATCH", one.clone(), Some(json!({})), 400, "nothing"),
        ("PATCH", one.clone(), Some(json!({"username": "a\u{7}b"})), 400, "control"),
        ("PATCH", one.clone(), Some(json!({"username": "a\u{202e}b"})), 400, "control"),
        ("PATCH", one.clone(), Some(json!({"username": 7})), 400, "type"),
        ("PATCH", one.clone(), Some(json!({"usernam": "x"})), 422, "nearest is `username`"),
        ("PATCH", one.clone(), Some(json!({"suspended": "yes"})), 400, "true or false"),
        ("PATCH", format!("/v1/users/{unknown}"), Some(json!({"username": "x"})), 404, "no such user"),
    ] {
        let (got, problem) = server.call(method, &path, APP_TOKEN, body).await;
        let detail = problem["detail"].as_str().unwrap_or_default();
        let shown = path.chars().take(80).collect::<String>();
        assert_eq!((got, detail.contains(word)), (status, true), "{method} {shown}: {detail}");
    }
    assert_eq!((db.count("users").await, db.count("headcount.identities").await), (2, 2));
}

async fn an_application_reads_completes_and_follows(db: Db) {
    db.execute("CREATE UNIQUE INDEX one_name ON users (username)").await;
    let (server, ids) = with_two(&db).await;
    let get = |path: String| {
        let server = &server;
        async move { server.call("GET", &path, APP_TOKEN, None).await.1 }
    };
    // In the order in which they were asked for; who is not there is left out.
    let asked = format!("/v1/users?ids={},01900000-0000-7000-8000-000000000000,what,{}", ids[1], ids[0]);
    let list = get(asked).await;
    let found: Vec<&str> =
        list["users"].as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap()).collect();
    assert_eq!(found, [&*ids[1], &*ids[0]]);
    let of = get("/v1/users?source=clerk&provider_ids=user_2,user_9".to_owned()).await;
    assert_eq!(of["users"][0]["identities"][0]["provider_id"], "user_2");
    let incomplete = get("/v1/users?state=incomplete".to_owned()).await;
    assert_eq!(
        (incomplete["users"][0]["id"].as_str(), incomplete["users"][0]["missing"][0].as_str()),
        (Some(&*ids[1]), Some("email"))
    );
    let first = get("/v1/users?limit=1".to_owned()).await;
    let second = get(format!("/v1/users?limit=1&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!(second["users"][0]["id"].as_str(), Some(&*ids[1]));
    // Taken, and then not.
    let one = format!("/v1/users/{}", ids[1]);
    let (status, problem) = server.call("PATCH", &one, APP_TOKEN, Some(json!({"username": "name1"}))).await;
    assert_eq!((status, problem["columns"][0].as_str()), (409, Some("username")), "{problem}");
    let (status, done) = server.call("PATCH", &one, APP_TOKEN, Some(json!({"username": "bob"}))).await;
    assert_eq!((status, done["username"].as_str()), (200, Some("bob")));
    let ban = json!({"suspended": true, "reason": "spam"});
    let (_, banned) = server.call("PATCH", &one, APP_TOKEN, Some(ban)).await;
    assert_eq!(banned["account_state"], "suspended");
    // Who has the newest answer is told so.
    let url = format!("http://{}{one}", server.admin);
    let answer = server.client().get(&url).bearer_auth(APP_TOKEN).send().await.unwrap();
    let tag = answer.headers()["etag"].clone();
    let again =
        server.client().get(&url).bearer_auth(APP_TOKEN).header("if-none-match", tag).send().await.unwrap();
    assert_eq!(again.status().as_u16(), 304);
    // The feed, in pieces, to its end.
    let (mut after, mut kinds) = (0, Vec::new());
    loop {
        let piece = get(format!("/v1/changes?after={after}&limit=1")).await;
        after = piece["next_after"].as_i64().unwrap();
        match piece["changes"].as_array().unwrap().first() {
            Some(change) => kinds.push(change["kind"].as_str().unwrap().to_owned()),
            None => break,
        }
    }
    assert_eq!(kinds, ["created", "created", "updated", "updated"]);
    // A cursor of another history is told from the end of this one.
    let page = get("/v1/changes?limit=1".to_owned()).await;
    let epoch = page["epoch"].as_str().unwrap();
    for (cursor, expected) in [
        (format!("after=4&epoch={epoch}"), 200),
        ("after=4".to_owned(), 200),
        ("after=5".to_owned(), 409),
        ("after=1&epoch=0123456789abcdef".to_owned(), 409),
    ] {
        let (status, answer) = server.call("GET", &format!("/v1/changes?{cursor}"), APP_TOKEN, None).await;
        assert_eq!(status, expected, "{cursor}: {answer}");
        let is_unknown = answer["type"].as_str().is_some_and(|kind| kind.ends_with("/unknown-cursor"));
        assert_eq!(is_unknown, expected == 409, "{answer}");
    }
    // Whoever was away for too long is told so, and where to go on.
    db.execute("UPDATE headcount.counters SET value = 2 WHERE name = 'changes_pruned'").await;
    let (status, problem) = server.call("GET", "/v1/changes?after=1", APP_TOKEN, None).await;
    assert!(status == 410 && problem["detail"].as_str().unwrap().contains("after 4"), "{problem}");
    assert_eq!(get("/v1/changes".to_owned()).await["changes"][0]["seq"], 3);
}

async fn a_person_is_erased_for_good(db: Db) {
    let provider = Provider::with_users(12).await;
    provider.resync(&db, &[]);
    let server = provider.server(&db).await;
    let gone = provider
        .simulator
        .truth()
        .into_iter()
        .find(|person| person.email.is_some() && !person.banned)
        .unwrap();
    let (_, found) = server
        .call("GET", &format!("/v1/users?source=clerk&provider_ids={}", gone.id), APP_TOKEN, None)
        .await;
    let id = found["users"][0]["id"].as_str().unwrap().to_owned();
    let (status, erasure) = server.call("DELETE", &format!("/v1/users/{id}"), ADMIN_TOKEN, None).await;
    assert_eq!(
        (status, erasure["removed"].as_bool(), erasure["left"].as_array().map(Vec::len)),
        (200, Some(false), Some(0))
    );
    // The source still has the person, says so, and is read in full.
    provider.simulator.edit(&gone.id, &json!({"first_name": "Erasemark"}));
    provider.simulator.delivered().await;
    server.drained(&db).await;
    let (code, run, _) = provider.resync(&db, &[]);
    assert_eq!((code, run["created"].as_u64(), run["revived"].as_u64()), (Some(0), Some(0), Some(0)));
    let (code, drift, _) = provider.resync(&db, &["--dry-run"]);
    assert_eq!(code, Some(0), "an erased person is no drift: {drift}");
    assert_eq!(server.ensure(&gone.id).await.0, 404);
    // Not even what nobody understands is kept of an erased person.
    provider.simulator.set_faults(|faults| faults.odd_every = 1);
    provider.resync(&db, &[]);
    assert_eq!(db.count("headcount.inbox WHERE status = 'dead'").await, 11);
    let email = gone.email.clone().unwrap();
    for table in headcount::store::own_table_names()
        .into_iter()
        .map(|name| format!("headcount.{name}"))
        .chain(["users".into()])
    {
        let rows = match db.backend {
            super::support::Backend::Sqlite => continue,
            _ => db.query(&format!("SELECT CAST(t AS text) FROM {table} t")).await,
        };
        for row in rows {
            let row = row[0].clone().unwrap_or_default();
            assert!(
                !row.contains(&gone.id) && !row.contains(&email) && !row.contains("Erasemark"),
                "{table}: {row}"
            );
        }
    }
    assert_eq!(db.count("users WHERE account_state = 'deleted'").await, 1);
    if db.backend == super::support::Backend::Sqlite {
        // While the worker runs still: in no byte of the file or of its log.
        let path = db.url.trim_start_matches("sqlite://").to_owned();
        for file in [path.clone(), format!("{path}-wal")] {
            let bytes = std::fs::read(&file).unwrap_or_default();
            for mark in [gone.id.as_str(), email.as_str(), "Erasemark"] {
                assert!(
                    !bytes.windows(mark.len()).any(|window| window == mark.as_bytes()),
                    "{mark} in {file}"
                );
            }
        }
    }
}

async fn an_operator_looks_and_acts(db: Db) {
    let provider = Provider::with_users(5).await;
    let server = provider.server(&db).await;
    let operator = |method: &'static str, path: String, body| {
        let server = &server;
        async move { server.call(method, &path, ADMIN_TOKEN, body).await }
    };
    let (status, begun) = operator("POST", "/v1/resync".into(), Some(json!({"source": "clerk"}))).await;
    assert_eq!((status, begun["status"].as_str()), (202, Some("begun")));
    server.until(|| async { db.count("headcount.runs WHERE status = 'succeeded'").await == 1 }).await;
    let (_, runs) = operator("GET", "/v1/runs?status=succeeded".into(), None).await;
    let run = runs["runs"][0].clone();
    assert_eq!((run["created"].as_u64(), run["mode"].as_str()), (Some(5), Some("full")));
    let (status, problem) =
        operator("POST", format!("/v1/runs/{}/approve", run["run"].as_str().unwrap()), None).await;
    assert_eq!(status, 409, "{problem}");
    assert_eq!(operator("POST", "/v1/runs/none/reject".into(), None).await.0, 404);
    let odd = event("user.updated", json!({"id": "user_odd"}), 0);
    server.deliver_signed(headcount::simulate::WEBHOOK_SECRET, "msg_odd", &odd).await;
    server.until(|| async { db.count("headcount.inbox WHERE status = 'dead'").await == 1 }).await;
    let (_, events) = operator("GET", "/v1/events?status=dead".into(), None).await;
    let seq = events["events"][0]["seq"].as_i64().unwrap();
    assert!(events["events"][0].get("body").is_none());
    assert_eq!(operator("POST", format!("/v1/events/{seq}/discard"), None).await.1["status"], "ignored");
    assert_eq!(operator("POST", format!("/v1/events/{seq}/discard"), None).await.0, 409);
    let (_, status) = operator("GET", "/v1/status".into(), None).await;
    assert_eq!(
        (
            status["users"]["active"].as_u64().unwrap_or(0)
                + status["users"]["incomplete"].as_u64().unwrap_or(0)
                + status["users"]["suspended"].as_u64().unwrap_or(0),
            status["sources"][0]["name"].as_str()
        ),
        (5, Some("clerk"))
    );
    for bad in [
        json!({"source": "clark"}),
        json!({"source": "clerk", "mode": "half"}),
        json!({"source": "clerk", "mode": "user"}),
    ] {
        assert_eq!(operator("POST", "/v1/resync".into(), Some(bad)).await.0, 400);
    }
}

async fn a_policy_is_carried_out_by_the_worker(db: Db) {
    let policy = [("HEADCOUNT_ON_DELETE", "anonymize"), ("HEADCOUNT_ERASE_AFTER", "1ms")];
    let server = Server::start_with(&db, &[], &policy).await;
    let person = user("user_1", 0, Some("a@example.com"), Some("ann"), "Erasemark");
    server.deliver("msg_1", &event("user.created", person, 0)).await;
    server.deliver("msg_2", &event("user.deleted", json!({"id": "user_1"}), 1)).await;
    server.until(|| async { db.count("headcount.identities WHERE deleted_by = 'erase'").await == 1 }).await;
    assert_eq!(db.count("users WHERE account_state = 'deleted' AND display_name IS NULL").await, 1);
    assert_eq!(db.count("headcount.identities WHERE provider_id = 'user_1'").await, 0);
    assert_eq!(db.count("headcount.inbox WHERE body IS NOT NULL").await, 0);
}

async fn a_token_is_made_where_none_is_set(db: Db) {
    if db.backend != super::support::Backend::Sqlite {
        // Beside the database's file; elsewhere it would be in a folder that all tests share.
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start_with(&db, &[], &[("HEADCOUNT_ADMIN_TOKEN", "")]).await;
    let file =
        std::path::Path::new(db.url.trim_start_matches("sqlite://")).with_file_name("headcount-admin-token");
    let token = std::fs::read_to_string(&file).unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(server.call("GET", "/v1/status", token.trim(), None).await.0, 200);
    assert!(!std::fs::read_to_string(&server.log).unwrap().contains(token.trim()), "it is in no log");
    drop(server);
    let again = Server::start_with(&db, &[], &[("HEADCOUNT_ADMIN_TOKEN", "")]).await;
    assert_eq!(again.call("GET", "/v1/status", token.trim(), None).await.0, 200, "and stays the same");
    drop(again);
    let database = std::path::Path::new(db.url.trim_start_matches("sqlite://"));
    assert_eq!(std::fs::metadata(database).unwrap().permissions().mode() & 0o777, 0o600, "it has addresses");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = Server::start_with(&db, &[], &[("HEADCOUNT_ADMIN_TOKEN", "")]).await;
    assert_eq!(open.call("GET", "/v1/status", token.trim(), None).await.0, 401, "others can read it");
    assert!(std::fs::read_to_string(&open.log).unwrap().contains("chmod 600"));
    let mut command = headcount(&db.url);
    command.env("HEADCOUNT_ADMIN_TOKEN", APP_TOKEN).env("HEADCOUNT_APP_TOKEN", APP_TOKEN).arg("status");
    let output = run(&mut command);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("set another one") && !text(&output.stderr).contains(APP_TOKEN));
}
