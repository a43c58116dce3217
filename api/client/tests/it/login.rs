//! Signing in and out, and what a session is worth.

use crate::world::{mode, world};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_by_a_code_and_is_who_the_issuer_says() {
    let world = world().await;
    let amina = world.person("amina");
    amina.runs("whoami", &[]).await.refused(3, "nobody is signed in here");
    let done = amina.signs_in(&world.calm, &["--device"]).await;
    assert!(done.code == 0 && done.err.contains("as a:amina."), "{done:?}");
    assert_eq!(mode(&amina.session()), 0o600);
    let me = amina.runs("whoami -o json", &[]).await.json();
    assert_eq!((&me["subject"], &me["groups"]), (&json!("a:amina"), &json!(["a:treasury"])));
    let shown = amina.runs("whoami", &[]).await.ok();
    assert!(shown.contains("finance of kingdom"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_with_a_browser_and_out_again() {
    let world = world().await;
    let salma = world.person("salma");
    let done = salma.signs_in(&world.calm, &["--browser", "--no-open"]).await;
    assert!(done.code == 0 && done.err.contains("Go back to your terminal"), "{done:?}");
    assert_eq!(salma.runs("whoami -o json", &[]).await.json()["subject"], "a:salma");
    let session: Value = serde_json::from_str(&std::fs::read_to_string(salma.session()).unwrap()).unwrap();
    let refresh = session["refreshToken"].as_str().unwrap().to_owned();

    salma.runs("logout", &[]).await.ok();
    assert!(!salma.session().exists());
    salma.runs("whoami", &[]).await.refused(3, "nobody is signed in here");
    // The issuer was told: the refresh token that somebody may have copied is of no use.
    let mut old = session.clone();
    old["expiresAt"] = json!("2026-01-01T00:00:00Z");
    let copied = salma.session();
    std::fs::write(&copied, old.to_string()).unwrap();
    std::fs::set_permissions(&copied, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let done = salma.runs("whoami", &[]).await;
    assert!(!done.err.contains(&refresh), "a token is never printed");
    done.refused(3, "the session is over");
}

/// Makes the token of a session old, as time would.
fn age(session: &std::path::Path) {
    let mut held: Value = serde_json::from_str(&std::fs::read_to_string(session).unwrap()).unwrap();
    held["expiresAt"] = json!("2026-01-01T00:00:00Z");
    std::fs::write(session, held.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_token_is_renewed_once_however_many_programs_ask() {
    let world = world().await;
    let amina = world.person("amina");
    amina.signs_in(&world.calm, &["--browser", "--no-open"]).await.ok();
    let first = amina.runs("token", &[]).await.ok();
    age(&amina.session());
    let all = tokio::join!(amina.runs("token", &[]), amina.runs("token", &[]), amina.runs("token", &[]));
    let all = [all.0.ok(), all.1.ok(), all.2.ok()];
    assert!(all[0] != first && all[1] == all[0] && all[2] == all[0], "one renewal");
    assert_eq!(mode(&amina.session()), 0o600);
    // The issuer ends a session whose refresh token is used twice; here each is used once, and the session goes on.
    age(&amina.session());
    assert_eq!(amina.runs("whoami -o json", &[]).await.json()["subject"], "a:amina");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlives_its_tokens() {
    let world = world().await;
    let amina = world.person("amina");
    amina.signs_in(&world.hasty, &["--device"]).await.ok();
    let first = amina.runs("token", &[]).await.ok();
    assert_ne!(amina.runs("token", &[]).await.ok(), first, "twenty seconds are not enough to begin with");
    // The right of a group is that of its issuer.
    amina.runs("quota interior", &[]).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_whose_access_tokens_are_not_for_us_may_give_id_tokens() {
    let world = world().await;
    let amina = world.person("amina");
    let refused = amina.signs_in(&world.plain, &["--device"]).await;
    assert!(refused.code == 3 && refused.err.contains("the token is not accepted"), "{refused:?}");
    amina.signs_in(&world.plain, &["--device", "--id-token"]).await.ok();
    assert_eq!(amina.runs("whoami -o json", &[]).await.json()["subject"], "c:amina");
    // Made old, it is renewed as an ID token.
    age(&amina.session());
    assert_eq!(amina.runs("whoami -o json", &[]).await.json()["subject"], "c:amina");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_works_with_the_token_that_is_printed() {
    let world = world().await;
    let salma = world.person("salma");
    salma.signs_in(&world.calm, &["--device"]).await.ok();
    let token = salma.runs("token", &[]).await.ok();
    let file = salma.file("header", &format!("Authorization: Bearer {token}"));
    let port = world.server.rsplit_once(':').unwrap().1;
    let to = format!("::127.0.0.1:{port}");
    let done = tokio::process::Command::new("curl")
        .args(["--silent", "--noproxy", "*", "--connect-to", &to, "--cacert"])
        .arg(&world.ca)
        .arg("-H")
        .arg(format!("@{}", file.display()))
        .arg(format!("{}/v1/whoami", world.server))
        .output()
        .await
        .expect("the test needs curl: apt-get install curl");
    let me: Value = serde_json::from_slice(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"));
    assert_eq!(me["subject"], "a:salma");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_goes_only_where_it_is_for_and_nothing_is_kept_that_is_not_accepted() {
    let world = world().await;
    let omar = world.person("omar");
    let done = omar.signs_in(&world.calm, &["--device", "--resource", "urn:another:api"]).await;
    assert!(done.code == 3 && done.err.contains("the token is not accepted"), "{done:?}");
    assert!(!omar.session().exists());

    omar.signs_in(&world.calm, &["--device"]).await.ok();
    omar.runs("whoami --server https://other.example", &[]).await.refused(3, "you are signed in to");
    assert_eq!(omar.runs("tenants -o json", &[]).await.json(), json!([]), "no group, nothing to see");
    omar.runs("quota interior", &[]).await.refused(4, "not yours to see");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(omar.session(), open).unwrap();
    omar.runs("whoami", &[]).await.refused(1, "others can read");
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_bring_a_token_in_a_file() {
    let world = world().await;
    let robot = world.person("karim");
    let file = robot.file("token", &format!("{}\n", world.calm.token("karim", None).await));
    let (file, ca) = (file.to_str().unwrap(), world.ca.to_str().unwrap());
    let reach =
        ["--connect-to=127.0.0.1", "--server", &world.server, "--ca", ca, "--token-file", file, "-ojson"];
    let me = robot.runs("whoami", &reach).await.json();
    assert_eq!((&me["subject"], &me["platformRoles"]), (&json!("a:karim"), &json!(["auditor"])));
    robot.runs("whoami --token-file", &[file]).await.refused(2, "--token-file needs --server");
    let bad = robot.file("bad", "not.a.token");
    let with_bad = [&reach[..5], &["--token-file", bad.to_str().unwrap()]].concat();
    robot.runs("whoami", &with_bad).await.refused(3, "the token is not accepted");
    // Without its certificate authority the ledger proves nothing.
    let unproven = ["--connect-to=127.0.0.1", "--server", &world.server, "--token-file", file];
    robot.runs("whoami", &unproven).await.refused(6, "failed to reach");
    let plain = ["--server", "http://ledger.example", "--token-file", file];
    robot.runs("whoami", &plain).await.refused(2, "must begin with https://");
    let gone = ["--server", "https://127.0.0.1:1", "--token-file", file];
    robot.runs("whoami", &gone).await.refused(6, "failed to reach https://127.0.0.1:1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_must_be_named_as_it_names_itself() {
    let world = world().await;
    let amina = world.person("amina");
    let other = format!("{}/", world.calm.url);
    let line = ["--server", &world.server, "--device", "--issuer"];
    amina.runs("login", &[&line[..], &[&other]].concat()).await.refused(2, "calls itself");
    let away = [&line[..], &["https://127.0.0.1:1"]].concat();
    amina.runs("login", &away).await.refused(6, "failed to reach");
    let plain = [&line[..], &["http://id.example"]].concat();
    amina.runs("login", &plain).await.refused(2, "must begin with https://");
    let client = [&line[..], &[&world.calm.url, "--client-id", "unknown"]].concat();
    amina.runs("login", &client).await.refused(3, "");
}
