//! A service that is reached through a proxy only, which asks for a password, and whose certificate only the
//! connection's bundle vouches for.
#![allow(clippy::unwrap_used, clippy::panic)] // It is all test code.

mod support;

use dayfly_client::{Client, Credential};
use dayfly_pool_service::testing::{ALL_SCOPES, PoolHandle};
use dayfly_pool_service::tls::Certificates;
use dayfly_wire::event::TaskResult;
use dayfly_wire::identity::ClaimedIdentity;
use dayfly_wire::job::builtin;
use dayfly_wire::proxy::Proxy;
use dayfly_wire::queue::GitRepository;
use serde_json::json;
use support::tasks::{TASK, definition, step};
use support::tunnel::Tunnels;
use support::{POOL, PROJECT, World, wait_for};

/// Nobody but the proxy knows where that is.
const HOST: &str = "pool.test:443";
const URL: &str = "https://pool.test/default";
const USER: &str = "agents";
const PASSWORD: &str = "canary-of-the-proxy";

/// The service, and the certificate that vouches for it.
async fn world() -> (World, String) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let directory = tempfile::tempdir().unwrap();
    let names = vec!["pool.test".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let pem = made.cert.pem();
    let (certificate, key) = (
        directory.path().join("tls.crt"),
        directory.path().join("tls.key"),
    );
    std::fs::write(&certificate, &pem).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let certificates = Certificates::open(&certificate, &key).unwrap();
    let pool = PoolHandle::builder().tls(certificates).public_url(URL);
    let pool = pool.start().await.unwrap();
    let pat = pool.pat(ALL_SCOPES).await.unwrap();
    let admin = Client::builder(pool.address())
        .credential(Credential::Pat(pat.duplicate()))
        .ca_bundle(Some(pem.clone()))
        .build()
        .unwrap();
    let pool_id = pool.create_pool(POOL).await.unwrap();
    let world = World {
        pool,
        admin,
        pat,
        pool_id,
        directory,
    };
    (world, pem)
}

async fn tunnels(world: &World) -> Tunnels {
    let address = world.pool.address();
    let address = address
        .trim_start_matches("https://")
        .trim_end_matches("/default");
    Tunnels::start(HOST, address, USER, PASSWORD).await
}

async fn identity(world: &World, pem: &str, proxy: &str, password: &str) -> ClaimedIdentity {
    let mut identity = world.identity("agent-1", false).await;
    identity.ca_bundle = Some(pem.to_owned());
    identity.proxy = Some(Proxy {
        http: None,
        https: Some(proxy.to_owned()),
        no_proxy: vec![".svc".to_owned(), "10.0.0.0/8".to_owned()],
        user: Some(USER.to_owned()),
        password: Some(password.into()),
    });
    identity
}

/// A repository with a file, pushed without the proxy.
async fn repository(world: &World) {
    let draft = GitRepository {
        name: "app".to_owned(),
        ..GitRepository::default()
    };
    world
        .admin
        .create_repository(PROJECT, &draft)
        .await
        .unwrap();
    let directory = world.directory.path().join("source-app");
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("words"), "from the repository").unwrap();
    let url = format!("{}/{PROJECT}/_git/app", world.pool.address());
    let url = url.replacen("://", &format!("://x:{}@", world.pat.expose()), 1);
    for arguments in [
        vec!["init", "-q", "-b", "main", "."],
        vec!["add", "-A"],
        vec!["commit", "-q", "-m", "one"],
        vec!["-c", "http.sslVerify=false", "push", "-q", &url, "main"],
    ] {
        world.git("app", &arguments);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_git_and_tasks_go_through_the_proxy_and_its_password_to_nobody_else() {
    let (world, pem) = world().await;
    let tunnels = tunnels(&world).await;
    repository(&world).await;
    world.upload(&definition(TASK)).await;
    let identity = identity(&world, &pem, &tunnels.url, PASSWORD).await;
    let mut agent = world.agent_with(&identity);
    let job = world
        .queue(json!({"repository": "app", "steps": [
            {"checkout": "self", "inputs": {"persistCredentials": "true"}},
            {"bash": "cat words; echo; echo \"proxy $HTTPS_PROXY $https_proxy but not for $NO_PROXY, [${HTTP_PROXY-}]\"; echo \"as $AGENT_PROXYUSERNAME $AGENT_PROXYURL $AGENT_PROXYBYPASSLIST\"; env | grep -c 'canar[y]'; grep -r 'canar[y]' .git | wc -l"},
            {"bash": "echo \"mapped ${#P} of $P\"", "env": {"P": "$(agent.proxypassword)"}},
            step(TASK, "surroundings", &json!({})),
            {"task": {"id": builtin::PUBLISH_ARTIFACT, "name": "Artifacts", "version": "1.250.0"},
                "inputs": {"targetPath": "words", "artifactName": "made"}},
        ]}))
        .await;
    let outcome = world.outcome(&job).await;
    assert_eq!(agent.exit().await.code(), Some(0));
    assert_eq!(outcome.result, TaskResult::Succeeded, "{}", outcome.log);
    let url = &tunnels.url;
    for text in [
        "Z from the repository".to_owned(),
        format!("proxy {url} {url} but not for .svc,10.0.0.0/8, []"),
        format!("as {USER} {url} [\".svc\",\"10.0.0.0/8\"]"),
        "Z mapped 19 of ***".to_owned(),
        format!("task sees {url} and a certificate"),
        "Z 0\n".to_owned(),
    ] {
        assert!(
            outcome.log.contains(&text),
            "{text:?} is missing in\n{}",
            outcome.log
        );
    }
    assert!(
        !outcome.everything.contains("canary"),
        "{}",
        outcome.everything
    );
    assert!(!agent.agent_log().contains("canary"));
    let opened = tunnels.opened();
    assert!(
        opened.iter().any(|client| client.starts_with("git")),
        "{opened:?}"
    );
    assert!(
        opened.iter().any(|client| !client.starts_with("git")),
        "{opened:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_does_not_know_the_agent_is_named_as_the_cause() {
    let (world, pem) = world().await;
    let tunnels = tunnels(&world).await;
    let identity = identity(&world, &pem, &tunnels.url, "another").await;
    let agent = world.agent_with(&identity);
    wait_for("the agent's word of the proxy", || async {
        agent
            .agent_log()
            .contains("proxy authorization required")
            .then_some(())
    })
    .await;
    assert!(tunnels.opened().is_empty());
}
