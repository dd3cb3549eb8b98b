//! A headless Chromium, driven as a person drives it.

use fantoccini::elements::Element;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// The longest that anything may take: a browser starts many processes, and the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(40);
/// How often the page is looked at while something is waited for.
const LOOK: Duration = Duration::from_millis(40);

pub(crate) struct Browser {
    pub(crate) client: Client,
    session: String,
    // Killed with the browser when the test ends, however it ends.
    _driver: Child,
}

impl Browser {
    /// Starts a browser that shows the sign-in of a service.
    pub(crate) async fn open(url: &str) -> Self {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("chromedriver: {error}; e2e/browser.sh installs it"));
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = within("chromedriver's port", async {
            while let Some(line) = lines.next_line().await.unwrap() {
                if let Some((_, port)) = line.split_once("successfully on port ") {
                    return port.trim_end_matches('.').to_owned();
                }
            }
            panic!("chromedriver ended");
        })
        .await;
        let capabilities = json!({
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": [
                "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                "--window-size=1280,860", "--force-prefers-reduced-motion",
                "--disable-background-networking", "--disable-component-update", "--no-first-run",
            ]},
        });
        let base = format!("http://127.0.0.1:{port}");
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities.as_object().unwrap().clone())
            .connect(&base)
            .await
            .unwrap();
        let id = client.session_id().await.unwrap().unwrap();
        let browser = Self {
            client,
            session: format!("{base}/session/{id}"),
            _driver: driver,
        };
        browser.client.goto(&format!("{url}/_web/")).await.unwrap();
        browser
    }

    /// Ends the browser; what its console said against the page fails the test.
    pub(crate) async fn close(self) {
        let complaints = self.complaints().await;
        self.client.clone().close().await.unwrap();
        assert!(complaints.is_empty(), "the console: {complaints:#?}");
    }

    /// Errors and warnings of the console: broken scripts, refused code, refused styles. A call that was answered with
    /// an error is none: the page shows it.
    async fn complaints(&self) -> Vec<String> {
        let log = self.command("se/log", json!({"type": "browser"})).await;
        let entries = log.as_array().unwrap().iter();
        entries
            .filter(|entry| {
                ["WARNING", "SEVERE"]
                    .iter()
                    .any(|bad| entry["level"] == *bad)
                    && entry["source"] != "network"
            })
            .map(|entry| entry["message"].to_string())
            .collect()
    }

    async fn command(&self, path: &str, body: Value) -> Value {
        let answer = super::common::http()
            .post(format!("{}/{path}", self.session))
            .json(&body)
            .send()
            .await
            .unwrap();
        let answer: Value = answer.json().await.unwrap();
        answer["value"].clone()
    }

    async fn developer(&self, command: &str, parameters: Value) {
        let body = json!({"cmd": command, "params": parameters});
        self.command("goog/cdp/execute", body).await;
    }

    pub(crate) async fn run(&self, script: &str, arguments: Vec<Value>) -> Value {
        self.client.execute(script, arguments).await.unwrap()
    }

    /// Waits until something that matches shows a text.
    pub(crate) async fn see(&self, css: &str, text: &str) {
        let what = format!("{text:?} in {css}");
        within(&what, async {
            while !self.shows(css, text).await {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    /// Waits until nothing that matches shows a text.
    pub(crate) async fn miss(&self, css: &str, text: &str) {
        let what = format!("{text:?} to be gone from {css}");
        within(&what, async {
            while self.shows(css, text).await {
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
    }

    /// Whether something that matches shows a text now.
    pub(crate) async fn shows(&self, css: &str, text: &str) -> bool {
        let script = "return [...document.querySelectorAll(arguments[0])]\
             .some(each => each.getClientRects().length > 0 && each.innerText.includes(arguments[1]))";
        let found = self.run(script, vec![css.into(), text.into()]).await;
        found == Value::Bool(true)
    }

    pub(crate) async fn count(&self, css: &str) -> u64 {
        let script = "return document.querySelectorAll(arguments[0]).length";
        self.run(script, vec![css.into()]).await.as_u64().unwrap()
    }

    async fn find(&self, css: &str) -> Element {
        within(
            css,
            self.client.wait().forever().for_element(Locator::Css(css)),
        )
        .await
        .unwrap()
    }

    /// Clicks the button or link that is called so.
    pub(crate) async fn press(&self, name: &str) {
        let path = format!(
            "//*[self::button or self::a or self::summary][normalize-space(.)={name:?} or @aria-label={name:?}]"
        );
        let found = self.client.wait().forever();
        let element = within(name, found.for_element(Locator::XPath(&path))).await;
        element.unwrap().click().await.unwrap();
    }

    /// Clicks the first thing that matches.
    pub(crate) async fn click(&self, css: &str) {
        self.find(css).await.click().await.unwrap();
    }

    pub(crate) async fn write(&self, css: &str, text: &str) {
        let field = self.find(css).await;
        field.clear().await.unwrap();
        field.send_keys(text).await.unwrap();
    }

    /// Types where the focus is.
    pub(crate) async fn keys(&self, keys: &str) {
        let focused = self.client.active_element().await.unwrap();
        focused.send_keys(keys).await.unwrap();
    }

    /// The text and the label of what has the focus.
    pub(crate) async fn focused(&self) -> String {
        let script = "const it = document.activeElement; \
             return `${it.tagName} ${it.getAttribute('aria-label') ?? it.innerText}`";
        let answer = self.run(script, vec![]).await;
        answer.as_str().unwrap_or_default().to_owned()
    }

    pub(crate) async fn sign_in(&self, token: &str) {
        self.write("#token", token).await;
        self.press("Sign in").await;
    }

    /// Goes to a view of the page, as a link in it does.
    pub(crate) async fn go(&self, url: &str, view: &str) {
        self.client
            .goto(&format!("{url}/_web/{view}"))
            .await
            .unwrap();
    }

    /// Keeps pictures of the page: light, dark, and as wide as a phone.
    pub(crate) async fn pictures(&self, name: &str) {
        for scheme in ["light", "dark"] {
            let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
            self.developer("Emulation.setEmulatedMedia", features).await;
            self.picture(&format!("{name}-{scheme}")).await;
        }
        let phone = json!({"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true});
        self.developer("Emulation.setDeviceMetricsOverride", phone)
            .await;
        let light = json!({"features": [{"name": "prefers-color-scheme", "value": "light"}]});
        self.developer("Emulation.setEmulatedMedia", light).await;
        let beyond = "return document.documentElement.scrollWidth - innerWidth";
        let beyond = self.run(beyond, vec![]).await.as_i64().unwrap();
        self.picture(&format!("{name}-phone")).await;
        self.developer("Emulation.clearDeviceMetricsOverride", json!({}))
            .await;
        assert!(beyond <= 0, "{name} is {beyond} pixels wider than a phone");
    }

    async fn picture(&self, name: &str) {
        // Two frames, so that what changed is drawn.
        let drawn = "const done = arguments[0]; \
             requestAnimationFrame(() => requestAnimationFrame(() => done(true)))";
        self.client.execute_async(drawn, vec![]).await.unwrap();
        let directory =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/web-screenshots");
        std::fs::create_dir_all(&directory).unwrap();
        let picture = self.client.screenshot().await.unwrap();
        std::fs::write(directory.join(format!("{name}.png")), picture).unwrap();
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future)
        .await
        .unwrap_or_else(|_| panic!("waited {DEADLINE:?} for {what}"))
}
