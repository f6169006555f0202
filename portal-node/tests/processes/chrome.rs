//! A real Chromium without a window, with a client certificate in a key store of its own, driven
//! over the DevTools protocol: messages of JSON, each ended by a zero byte, on two pipes.
//!
//! What a person does is done here by the page's own events: nothing is sent past the page.

use std::{
    fs,
    io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _, pipe},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use certgen::{Issued, Password, Strength};
use serde_json::{Value, json};

use crate::tools::python;

const PATIENCE: Duration = Duration::from_secs(60);
const BEAT: Duration = Duration::from_millis(50);
/// As a person's screen; pictures are as tall as their page.
const WIDTH: u32 = 1280;

/// A browser. It ends when dropped.
pub struct Chrome {
    child: Child,
    say: PipeWriter,
    hear: BufReader<PipeReader>,
    session: Option<String>,
    said: u64,
    pictures: PathBuf,
}

impl Chrome {
    /// One that trusts `authority` (PEM), holds the certificate of `issued` as a person imports it,
    /// from its .p12, and lives in `home`.
    pub fn start(home: &Path, authority: &str, issued: &Issued, pictures: &Path) -> Self {
        key_store(home, authority, issued);
        fs::create_dir_all(pictures).unwrap();
        let ((from_us, say), (hear, from_it)) = (pipe().unwrap(), pipe().unwrap());
        let child = Command::new("sh")
            .args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null", "sh", &program()])
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-background-networking", "--lang=it"])
            .arg(format!("--user-data-dir={}", home.join("profile").display()))
            .args(["--remote-debugging-pipe", "about:blank"])
            .env("HOME", home)
            .env("LANGUAGE", "it")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("XDG_DATA_HOME")
            .stdin(from_us)
            .stdout(from_it)
            .stderr(fs::File::create(home.join("chromium.log")).unwrap())
            .spawn()
            .unwrap();
        let pictures = pictures.to_owned();
        let hear = BufReader::new(hear);
        let mut chrome = Self { child, say, hear, session: None, said: 0, pictures };
        let target = chrome.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let asked = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = chrome.call("Target.attachToTarget", &asked);
        chrome.session = Some(attached["sessionId"].as_str().unwrap().to_owned());
        chrome.call("Page.enable", &json!({}));
        chrome
    }

    /// Sends one command and waits for its answer; events in between are not looked at.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.try_call(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn try_call(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        self.said += 1;
        let mut message = json!({ "id": self.said, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = serde_json::to_vec(&message).unwrap();
        bytes.push(0);
        self.say.write_all(&bytes).expect("chromium is there");
        loop {
            let mut bytes = Vec::new();
            self.hear.read_until(0, &mut bytes).unwrap();
            assert_eq!(bytes.pop(), Some(0), "chromium ended: see chromium.log in its home");
            let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
            if answer["id"] == self.said {
                return match answer.get("error") {
                    Some(error) => Err(error.clone()),
                    None => Ok(answer["result"].take()),
                };
            }
        }
    }

    /// What an expression is in the page; null while the page is being changed for another.
    pub fn look(&mut self, expression: &str) -> Value {
        let asked =
            json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        match self.try_call("Runtime.evaluate", &asked) {
            Ok(mut answer) if answer["exceptionDetails"].is_null() => {
                answer["result"]["value"].take()
            }
            _ => Value::Null,
        }
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, what: &str, expression: &str) {
        let begun = Instant::now();
        while self.look(expression) != json!(true) {
            if begun.elapsed() > PATIENCE {
                let page = self.look("document.title + '\\n' + document.body.innerText");
                panic!("waited in vain: {what}\n{}", page.as_str().unwrap_or("no page"));
            }
            std::thread::sleep(BEAT);
        }
    }

    /// Goes to an address and waits until its page is whole.
    pub fn open(&mut self, url: &str) {
        self.leave();
        let answer = self.call("Page.navigate", &json!({ "url": url }));
        assert!(answer["errorText"].is_null(), "{url}: {answer}");
        self.arrive(url);
    }

    /// Marks this page, so that the next one can be told from it.
    fn leave(&mut self) {
        self.look("window.left = true");
    }

    fn arrive(&mut self, what: &str) {
        self.until(what, "window.left !== true && document.readyState === 'complete'");
    }

    /// Types into a field, letter by letter as far as the page can tell.
    pub fn write(&mut self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        let done = self.look(&format!(
            "(() => {{ const field = document.querySelector({selector}); field.focus(); field.value = {text}; \
             for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {{ bubbles: true }})); \
             return true; }})()"
        ));
        assert_eq!(done, json!(true), "no field {selector} on {}", self.title());
    }

    /// Clicks something that stays on the page.
    pub fn tick(&mut self, selector: &str) {
        let done =
            self.look(&format!("(document.querySelector({}).click(), true)", json!(selector)));
        assert_eq!(done, json!(true), "nothing to click at {selector} on {}", self.title());
    }

    /// Clicks something that leads to another page, and waits for it.
    pub fn click(&mut self, selector: &str) {
        self.leave();
        self.tick(selector);
        self.arrive(selector);
    }

    /// Chooses a file in a form.
    pub fn choose(&mut self, selector: &str, path: &Path) {
        let document = self.call("DOM.getDocument", &json!({}));
        let asked = json!({ "nodeId": document["root"]["nodeId"], "selector": selector });
        let node = self.call("DOM.querySelector", &asked);
        let asked = json!({ "files": [path], "nodeId": node["nodeId"] });
        self.call("DOM.setFileInputFiles", &asked);
    }

    /// The text of something on the page.
    pub fn text(&mut self, selector: &str) -> String {
        let text = self.look(&format!(
            "document.querySelector({}).textContent.replace(/\\s+/g, ' ').trim()",
            json!(selector)
        ));
        text.as_str().unwrap_or_else(|| panic!("no {selector} on {}", self.title())).to_owned()
    }

    /// The title of the page.
    pub fn title(&mut self) -> String {
        self.look("document.title").as_str().unwrap_or_default().to_owned()
    }

    /// Puts a page in the place of this one.
    pub fn show(&mut self, page: &str) {
        self.look(&format!("document.open(), document.write({}), document.close()", json!(page)));
    }

    /// Whether pages run scripts, from the next one on: somebody may have shut JavaScript off.
    pub fn runs_script(&mut self, does: bool) {
        self.call("Emulation.setScriptExecutionDisabled", &json!({ "value": !does }));
    }

    /// Fails on what axe-core finds against WCAG 2.2 AA on this page, in the light and in the dark.
    pub fn accessible(&mut self) {
        let rules = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
        let asked = json!({ "runOnly": rules, "iframes": false, "resultTypes": ["violations"] });
        for scheme in ["light", "dark"] {
            let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
            self.call("Emulation.setEmulatedMedia", &json!({ "features": [feature] }));
            if self.look("typeof axe") != json!("object") {
                let source = fs::read_to_string(axe()).unwrap();
                self.call("Runtime.evaluate", &json!({ "expression": source }));
            }
            let found = self.look(&format!(
                "axe.run(document, {asked}).then(all => all.violations.map(found => found.id + ': ' + found.help \
                 + found.nodes.map(node => '\\n  ' + node.target + ' ' + node.failureSummary).join('')))"
            ));
            let found = found.as_array().expect("axe-core answers");
            let found: Vec<_> = found.iter().filter_map(Value::as_str).collect();
            assert!(found.is_empty(), "{} ({scheme}): {}", self.title(), found.join("\n"));
        }
        self.call("Emulation.setEmulatedMedia", &json!({ "features": [] }));
    }

    /// Takes a picture of the whole page.
    pub fn picture(&mut self, name: &str) {
        let mut height = 500;
        // As wide as it will be first, then as tall as it is then.
        for _ in 0..2 {
            let size = json!({
                "width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": false
            });
            self.call("Emulation.setDeviceMetricsOverride", &size);
            // What is drawn after the size changed: two frames.
            self.look(
                "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(true))))",
            );
            let whole = self.look("document.documentElement.scrollHeight").as_u64();
            height = whole.unwrap_or(height).min(3000);
        }
        let shot = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        self.call("Emulation.clearDeviceMetricsOverride", &json!({}));
        let bytes = STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        fs::write(self.pictures.join(name), bytes).unwrap();
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The store that Chromium reads under Linux (NSS), with nobody else's certificates in it.
fn key_store(home: &Path, authority: &str, issued: &Issued) {
    let store = home.join(".pki/nssdb");
    fs::create_dir_all(&store).unwrap();
    let at = format!("sql:{}", store.display());
    let ca = home.join("ca.pem");
    fs::write(&ca, authority).unwrap();
    let password = Password::generate().unwrap();
    let p12 = home.join("identity.p12");
    fs::write(&p12, issued.p12(&password, Strength::Current).unwrap().expose()).unwrap();
    let word = String::from_utf8(password.expose().to_vec()).unwrap();
    tool("certutil", &["-N", "-d", &at, "--empty-password"]);
    let ca = ca.to_str().unwrap();
    tool("certutil", &["-A", "-d", &at, "-n", "authority", "-t", "CT,,", "-i", ca]);
    tool("pk12util", &["-i", p12.to_str().unwrap(), "-d", &at, "-W", &word, "-K", ""]);
}

fn tool(name: &str, arguments: &[&str]) {
    let output = Command::new(name).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{name} (Debian's libnss3-tools) is needed: make tools installs it ({error})")
    });
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// axe-core as it comes with its package from PyPI.
fn axe() -> PathBuf {
    let home = python("python").parent().and_then(Path::parent).unwrap().join("lib");
    let versions = fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let mut found =
        versions.map(|path| path.join("site-packages/axe_playwright_python/axe.min.js"));
    found.find(|path| path.is_file()).expect("axe-core is there: make tools installs it")
}

/// Chromium, and the policy by which it shows the certificate without asking a person.
fn program() -> String {
    const POLICY: &str = "/etc/chromium/policies/managed/staffetta-tests.json";
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("chromium"));
    let found = found.find(|path| path.is_file()).filter(|_| Path::new(POLICY).is_file());
    let found = found.unwrap_or_else(|| {
        panic!("chromium and {POLICY} are needed for this test: make tools installs them")
    });
    found.display().to_string()
}
