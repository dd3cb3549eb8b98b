//! Who sees what: signing in, what a token may do, the keyboard, and text of strangers.

use crate::browser::Browser;
use crate::common::capabilities;
use crate::work::{Work, issue, signed_in, start};
use dayfly_wire::agent::Agent;
use dayfly_wire::event::TaskResult;
use dayfly_wire::timeline::IssueKind;
use serde_json::json;

#[tokio::test]
async fn a_wrong_token_is_told_and_a_right_one_opens_the_page() {
    let fixture = start().await;
    let url = fixture.service.url();
    let browser = Browser::open(url).await;
    browser.go(url, "pools").await;
    browser.see("h1", "Sign in").await;
    browser.pictures("sign-in").await;
    browser.sign_in("nonsense").await;
    browser.see("#problem", "does not count").await;
    assert!(
        browser.focused().await.starts_with("INPUT"),
        "the field is at hand"
    );
    browser.sign_in(fixture.pat.expose()).await;
    browser.see("h1", "Pools").await;
    browser.see(".card", "linux").await;
    browser.client.refresh().await.unwrap();
    browser.see(".card", "linux").await;

    browser.press("Sign out").await;
    browser.see("h1", "Sign in").await;
    browser.client.refresh().await.unwrap();
    browser.see("h1", "Sign in").await;
    let kept = "return JSON.stringify({...localStorage, ...sessionStorage}) + document.cookie";
    let kept = browser.run(kept, vec![]).await;
    assert!(!kept.as_str().unwrap().contains(fixture.pat.expose()));
    browser.close().await;
}

#[tokio::test]
async fn a_revoked_token_ends_what_its_page_shows() {
    let fixture = start().await;
    let browser = signed_in(&fixture).await;
    browser.press("Pools").await;
    browser.see(".card", "linux").await;
    fixture.service.revoke("test").await.unwrap();
    browser.see(".message", "Your session is over").await;
    browser.see("h1", "Sign in").await;
    browser.close().await;
}

#[tokio::test]
async fn a_reading_token_sees_no_button_that_would_be_refused() {
    let fixture = start().await;
    let work = Work::begin(&fixture, json!({"displayName": "Build it"})).await;
    let reader = fixture.service.pat("agentpools,build").await.unwrap();
    let browser = Browser::open(fixture.service.url()).await;
    browser.sign_in(reader.expose()).await;
    browser.see(".row", "Build it").await;
    browser.go(fixture.service.url(), &work.view()).await;
    browser.see(".hint", "lacks build_execute").await;
    browser
        .go(fixture.service.url(), &format!("pools/{}", fixture.pool))
        .await;
    browser.see(".hint", "lacks agentpools_manage").await;
    assert_eq!(browser.count("#cancel, .actions, button.danger").await, 0);
    browser.close().await;

    let pools_only = fixture.service.pat("agentpools").await.unwrap();
    let browser = Browser::open(fixture.service.url()).await;
    browser.sign_in(pools_only.expose()).await;
    browser.see(".failure", "lacks the scope build").await;
    browser.press("Queue").await;
    browser.see(".row", "Build it").await;
    browser.close().await;
}

#[tokio::test]
async fn everything_is_reached_by_keyboard() {
    const TAB: &str = "\u{e004}";
    const ENTER: &str = "\u{e007}";
    const ESCAPE: &str = "\u{e00c}";
    let fixture = start().await;
    let work = Work::begin(
        &fixture,
        json!({"name": "nightly", "steps": [{"script": "a"}, {"script": "b"}]}),
    )
    .await;
    let log = work.begin_step(0, "Compile").await;
    work.store(&log, "one needle\ntwo\nthree needle\n".to_owned())
        .await;
    work.end_step(0, TaskResult::Succeeded, Vec::new()).await;
    work.begin_step(1, "Test").await;
    let browser = Browser::open(fixture.service.url()).await;
    browser.see("h1", "Sign in").await;
    browser.keys(fixture.pat.expose()).await;
    browser.keys(ENTER).await;
    browser.see(".row", "nightly").await;
    browser.client.refresh().await.unwrap();
    browser.see(".row", "nightly").await;
    browser.keys(TAB).await;
    assert_eq!(browser.focused().await, "BUTTON Skip to content");
    browser.keys(ENTER).await;
    browser.keys("j").await;
    assert!(browser.focused().await.starts_with("A nightly"));
    browser.keys(ENTER).await;
    browser.see(".log-head", "Test").await;
    browser.keys("k").await;
    assert!(browser.focused().await.contains("Compile"));
    browser.keys(ENTER).await;
    browser.see(".log-head", "Compile").await;
    browser.see(".log-state", "3 lines").await;
    browser.keys("/").await;
    browser.keys("needle").await;
    browser.see(".matches", "1 of 2").await;
    browser.keys(ENTER).await;
    browser.see(".matches", "2 of 2").await;
    browser.see(".line.target", "three needle").await;
    browser.keys(ESCAPE).await;
    browser.keys("?").await;
    browser.see("dialog", "Keyboard shortcuts").await;
    browser.pictures("shortcuts").await;
    browser.keys(ESCAPE).await;
    browser.miss("dialog", "Keyboard shortcuts").await;
    browser.keys("g").await;
    browser.keys("p").await;
    browser.see("h1", "Pools").await;
    let outline = "document.getElementById('sign-out').focus(); \
         return getComputedStyle(document.activeElement).outlineStyle";
    assert_eq!(
        browser.run(outline, vec![]).await,
        "solid",
        "the focus is visible"
    );
    browser.close().await;
}

#[tokio::test]
async fn hostile_text_is_shown_and_does_nothing() {
    const EVIL: &str = "<img src=x onerror=\"window.hit=1\"><script>window.hit=1</script>\u{202e}";
    let fixture = start().await;
    let draft = Agent {
        user_capabilities: capabilities(&[(EVIL, EVIL)]),
        os_description: Some(EVIL.to_owned()),
        ..Agent::default()
    };
    fixture.register_as("evil", draft).await;
    let work = Work::begin(&fixture, json!({"displayName": EVIL, "name": EVIL})).await;
    let log = work.begin_step(0, EVIL).await;
    work.store(&log, format!("{EVIL}\n##[group]{EVIL}\n\u{1b}]8;;javascript:alert(1)\u{7}click\u{1b}]8;;\u{7}\n\u{1b}[38;2;1;2;3;\"><b>m\n")).await;
    work.live(0, 5, &[EVIL]).await;
    let issues = vec![issue(IssueKind::Error, EVIL)];
    work.end_step(0, TaskResult::Failed, issues).await;
    let browser = signed_in(&fixture).await;
    for (view, css) in [
        ("runs".to_owned(), ".row"),
        ("queue".to_owned(), ".row"),
        (format!("pools/{}", fixture.pool), ".row"),
        (work.view(), ".line .text"),
        (work.view(), ".issues"),
        (work.view(), ".tree"),
    ] {
        browser.go(fixture.service.url(), &view).await;
        browser.see(css, "<img src=x").await;
        assert_eq!(
            browser.count("main img, main script, main b").await,
            0,
            "{view}"
        );
    }
    browser.see(".line .text", "click").await;
    assert_eq!(browser.count(".log a[href^=javascript]").await, 0);
    browser.write(".log-tools input", "onerror").await;
    browser.see("mark", "onerror").await;
    assert!(browser.run("return window.hit", vec![]).await.is_null());
    // The browser itself refuses to make markup out of text on this page.
    let refused = "try { document.body.innerHTML = 'x'; return false } catch { return true }";
    assert_eq!(browser.run(refused, vec![]).await, true);
    work.taken.complete(&fixture, TaskResult::Failed).await;
    browser.client.clone().close().await.unwrap();
}
