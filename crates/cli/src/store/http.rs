//! The hub's protocol: what a file is, and its bytes from some place on.
//!
//! On `ureq` rather than `hf-hub` 1.0: that one starts every download from its first byte, needs
//! hf-xet and with it AWS-LC, which is C, and 200 crates more. The cache's layout is the hub's own.

use std::io::Read;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ureq::http::{Response, StatusCode, Uri};
use ureq::{Agent, Body};

use super::cache::{BRANCH, home};
use super::manifest::{Model, manifest};

/// Redirects that are followed.
const REDIRECTS: usize = 10;

/// A connection to the hub.
pub struct Hub {
    agent: Agent,
    endpoint: String,
    token: Option<String>,
}

/// What the hub says about a file.
#[derive(Debug)]
pub struct Remote {
    /// The commit that the branch stands at.
    pub commit: String,
    /// The hash of the file: SHA-256 for large ones, git's for small ones.
    pub hash: String,
    /// Its bytes.
    pub size: u64,
    /// Where the hub has it, at this commit. Not where that redirects to: such addresses are signed, and
    /// expire within the hour that a slow download takes.
    pub url: String,
}

impl Hub {
    /// The hub that `HF_ENDPOINT` names, with the token of `HF_TOKEN` or of the token file.
    pub fn from_environment() -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
        let file = || std::fs::read_to_string(home()?.join("token")).ok().filter(|t| !t.trim().is_empty());
        let config = Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(30)))
            .timeout_recv_response(Some(Duration::from_secs(60)))
            // A connection that went silent is taken up again rather than waited for.
            .timeout_per_read(Some(Duration::from_secs(60)))
            .user_agent(concat!("clarifier/", env!("CARGO_PKG_VERSION")));
        Self {
            agent: config.build().into(),
            endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| manifest().hub).trim_end_matches('/').into(),
            token: variable("HF_TOKEN").or_else(file).map(|t| t.trim().to_owned()),
        }
    }

    /// What the hub says about the model's file.
    pub fn look_up(&self, model: &Model) -> Result<Remote> {
        let at =
            |revision: &str| format!("{}/{}/resolve/{revision}/{}", self.endpoint, model.repo, model.file);
        let mut url = at(BRANCH);
        for _ in 0..REDIRECTS {
            let response = self.request("HEAD", &url, None)?;
            let header =
                |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
            let commit = header("x-repo-commit");
            let location = header("location");
            // The hub's own answer names the commit; a repository that moved only redirects.
            if let Some(commit) = commit {
                let hash = header("x-linked-etag")
                    .or_else(|| header("etag"))
                    .context("the hub does not state the file's hash")?;
                let hash = hash.trim_start_matches("W/").trim_matches('"').to_owned();
                check_name(&hash)?;
                check_name(&commit)?;
                let size =
                    header("x-linked-size").or_else(|| header("content-length")).and_then(|s| s.parse().ok());
                let size = size.context("the hub does not state the file's size")?;
                return Ok(Remote { url: at(&commit), commit, hash, size });
            }
            match location {
                Some(to) if response.status().is_redirection() => url = resolve(&url, &to)?,
                _ => return Err(refusal(response.status(), model)),
            }
        }
        bail!("the hub redirects without end")
    }

    /// The bytes of `url` from `start` on, and whether the server really started there.
    pub fn bytes(&self, url: &str, start: u64, model: &Model) -> Result<(bool, impl Read + use<>)> {
        let mut url = url.to_owned();
        for _ in 0..REDIRECTS {
            let response = self.request("GET", &url, (start > 0).then_some(start))?;
            let status = response.status();
            if status.is_redirection() {
                let to = response
                    .headers()
                    .get("location")
                    .and_then(|v| v.to_str().ok())
                    .context("a redirect to nowhere")?;
                url = resolve(&url, to)?;
                continue;
            }
            return match status {
                StatusCode::PARTIAL_CONTENT => {
                    let range = response
                        .headers()
                        .get("content-range")
                        .and_then(|v| v.to_str().ok())
                        .unwrap_or_default();
                    if !range.starts_with(&format!("bytes {start}-")) {
                        bail!("the server sent another part ({range:?}) than asked for");
                    }
                    Ok((true, response.into_body().into_reader()))
                }
                StatusCode::OK => Ok((start == 0, response.into_body().into_reader())),
                other => Err(refusal(other, model)),
            };
        }
        bail!("the server redirects without end")
    }

    fn request(&self, method: &str, url: &str, start: Option<u64>) -> Result<Response<Body>> {
        let mut request = if method == "HEAD" { self.agent.head(url) } else { self.agent.get(url) };
        // A size that differs from the file's would follow from compression on the way.
        request = request.header("accept-encoding", "identity");
        if let Some(start) = start {
            request = request.header("range", format!("bytes={start}-"));
        }
        if let Some(token) = self.token.as_ref().filter(|_| same_host(&self.endpoint, url)) {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        request
            .call()
            .with_context(|| format!("{} does not answer; check the connection, or HF_ENDPOINT", host(url)))
    }
}

fn host(url: &str) -> String {
    url.parse::<Uri>().ok().and_then(|u| u.authority().map(ToString::to_string)).unwrap_or_default()
}

/// Whether the token may be sent: only to the hub itself, never to where it redirects.
fn same_host(endpoint: &str, url: &str) -> bool {
    let parts = |url: &str| {
        url.parse::<Uri>()
            .ok()
            .map(|u| (u.scheme_str().map(str::to_owned), u.authority().map(ToString::to_string)))
    };
    parts(endpoint) == parts(url)
}

/// `to`, which may be relative, as seen from `from`.
fn resolve(from: &str, to: &str) -> Result<String> {
    if to.starts_with("http://") || to.starts_with("https://") {
        return Ok(to.to_owned());
    }
    let uri: Uri = from.parse()?;
    let root = format!("{}://{}", uri.scheme_str().unwrap_or("https"), host(from));
    match to.strip_prefix('/') {
        Some(path) => Ok(format!("{root}/{path}")),
        None => bail!("a redirect to {to:?}"),
    }
}

/// A hash or commit becomes a file's name: nothing else may hide in it.
fn check_name(name: &str) -> Result<()> {
    if name.is_empty()
        || name.len() > 128
        || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    {
        bail!("the hub states a strange hash or commit ({name:?})");
    }
    Ok(())
}

/// A server that may answer better in a while.
#[derive(Debug)]
pub struct ServerTrouble(StatusCode);

impl std::fmt::Display for ServerTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the hub is busy or in trouble ({}); try again later", self.0)
    }
}

impl std::error::Error for ServerTrouble {}

/// There are no bytes where they were asked for: what is here already is not of this file.
#[derive(Debug)]
pub struct PartRefused;

impl std::fmt::Display for PartRefused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the part already here is not of this file (416)")
    }
}

impl std::error::Error for PartRefused {}

fn refusal(status: StatusCode, model: &Model) -> anyhow::Error {
    let repo = &model.repo;
    match status.as_u16() {
        401 | 403 => anyhow::anyhow!(
            "the hub asks for permission ({status}): accept the licence at {repo}'s page and set HF_TOKEN"
        ),
        404 => anyhow::anyhow!("the hub has no {} in {repo} (404)", model.file),
        416 => PartRefused.into(),
        429 | 500.. => ServerTrouble(status).into(),
        _ => anyhow::anyhow!("the hub answers {status}"),
    }
}
