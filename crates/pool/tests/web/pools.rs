//! Pools and their agents.

use crate::work::{Work, signed_in, start};
use dayfly_wire::event::TaskResult;
use serde_json::json;

#[tokio::test]
async fn pools_and_agents_are_shown_as_they_stand() {
    let fixture = start().await;
    fixture.service.create_pool("windows").await.unwrap();
    fixture.register("sleeper-2").await;
    let work = Work::begin(&fixture, json!({"displayName": "Build it"})).await;
    let browser = signed_in(&fixture).await;
    browser.press("Pools").await;
    browser
        .see(".card", "1\nonline\n2\nagents\n1\nrunning")
        .await;
    browser.pictures("pools").await;
    browser.press("linux").await;
    browser.see(".row", "builder-1").await;
    browser.see(".row", "Busy").await;
    browser.see(".row", "runs Build it").await;
    browser.see(".row", "Offline").await;
    browser
        .see(
            ".summary",
            "2 agents: 1 busy, 0 idle, 1 offline, 0 disabled",
        )
        .await;
    browser.press("2 capabilities").await;
    browser.see(".pairs", "27.1").await;
    browser.pictures("agents").await;
    work.taken.complete(&fixture, TaskResult::Succeeded).await;
    browser.see(".summary", "0 busy, 1 idle, 1 offline").await;
    assert!(
        browser.shows(".pairs", "27.1").await,
        "what was opened stays open"
    );
    browser.close().await;
}

#[tokio::test]
async fn an_agent_is_disabled_and_removed_on_the_page() {
    let fixture = start().await;
    let agent = fixture.register("one").await;
    let session = agent.open().await;
    let browser = signed_in(&fixture).await;
    browser
        .go(fixture.service.url(), &format!("pools/{}", fixture.pool))
        .await;
    browser.press("Disable one").await;
    browser.see(".row", "Disabled").await;
    let read = || async { fixture.admin.agent(fixture.pool, agent.record.id).await };
    assert_eq!(read().await.unwrap().enabled, Some(false));
    browser.press("Enable one").await;
    browser.miss(".row", "Disabled").await;

    browser.press("Remove one").await;
    browser.see("dialog", "Remove one?").await;
    browser.press("Go back").await;
    assert!(read().await.is_ok());
    browser.press("Remove one").await;
    browser.press("Remove agent").await;
    browser.see(".empty", "No agents are registered").await;
    assert!(read().await.is_err());
    let polled = agent
        .client
        .next_message(fixture.pool, session.id, None)
        .await;
    assert!(polled.is_err(), "a removed agent is told, and stops");
    browser.close().await;
}

#[tokio::test]
async fn a_busy_agent_stays_and_the_page_says_why() {
    let fixture = start().await;
    let work = Work::begin(&fixture, json!({})).await;
    let browser = signed_in(&fixture).await;
    browser
        .go(fixture.service.url(), &format!("pools/{}", fixture.pool))
        .await;
    browser.press("Remove builder-1").await;
    browser.see("dialog", "Cancel the run first").await;
    browser.press("Remove agent").await;
    browser.see("dialog .problem", "cannot be deleted").await;
    work.taken.complete(&fixture, TaskResult::Succeeded).await;
    browser.press("Remove agent").await;
    browser.see(".empty", "No agents are registered").await;
    browser.close().await;
}
