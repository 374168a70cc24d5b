//! Gets servers, as the ordinary clients of their registries do, into `target/compare`; and knows how each is started.
//!
//! | peer | from | where |
//! |---|---|---|
//! | Bun, Node ws | `npm ci`, by the lock file beside our program | `NAME/node_modules` |
//! | nchan | the system's, or Debian's packages, unpacked and not installed | `nchan/root` |
//! | tokio-tungstenite, fastwebsockets | `cargo build` of a package of its own | `rust/` |
//! | Sockudo | `cargo install`, on request | `sockudo/bin` |
//! | Reverb, Ratchet | `composer install`, on request | `NAME/vendor` |
//!
//! Who cannot be had is told with the reason, and the others are measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::arguments::Plan;
use super::goals::{Goal, Work};
use super::load::version::{commit, said};
use super::peers::Peer;
use super::site::Site;

const SOCKUDO: &str = "5.2.0";
const NCHAN_MODULE: &str = "usr/lib/nginx/modules/ngx_nchan_module.so";
const NGINX: &str = "usr/sbin/nginx";
/// Where Debian's nginx keeps large bodies. nchan wants it whatever the settings say.
const NGINX_BODIES: &str = "/var/lib/nginx";

/// A server that is ready to be started, or why it is not.
#[derive(Clone, Debug)]
pub(crate) struct Entrant {
    pub(crate) peer: Peer,
    pub(crate) kit: Result<Kit, String>,
}

/// A server that is ready to be started.
#[derive(Clone, Debug)]
pub(crate) struct Kit {
    peer: Peer,
    pub(crate) version: String,
    /// The program, or the one that runs it.
    program: PathBuf,
    /// Where it runs.
    folder: PathBuf,
}

/// Gets everybody who is asked for and can do any of it.
pub(crate) fn collect(site: &Site, plan: &Plan, goals: &[Goal]) -> std::io::Result<Vec<Entrant>> {
    let works: Vec<Work> =
        goals.iter().flat_map(|goal| goal.scenarios()).map(|scenario| scenario.work).collect();
    let mut entrants = Vec::new();
    for peer in plan.entrants() {
        if works.iter().any(|work| peer.door(*work).is_some()) {
            let kit = kit(site, peer);
            if let Err(reason) = &kit {
                super::site::tell(&format!("{} cannot be had: {reason}", peer.title()));
            }
            entrants.push(Entrant { peer, kit });
        }
    }
    // Without ours there is nothing to compare.
    let ours = entrants.iter().find(|entrant| entrant.peer == Peer::Stentor);
    match ours.map(|entrant| &entrant.kit) {
        Some(Err(reason)) => Err(std::io::Error::other(format!("Stentor: {reason}"))),
        _ => Ok(entrants),
    }
}

fn kit(site: &Site, peer: Peer) -> Result<Kit, String> {
    let name = peer.name();
    let folder = site.tools.join(name);
    let kit = |program: PathBuf, folder: &Path, version: String| Kit {
        peer,
        version,
        program,
        folder: folder.to_owned(),
    };
    match peer {
        Peer::Bare => Ok(kit(site.own.clone(), &site.root, "of this package".to_owned())),
        Peer::Stentor | Peer::StentorTwo => {
            let words = ["build", "--release", "--locked", "--bin", "stentor", "--example", "echo"];
            site.must("stentor", site.cargo(&words))?;
            let program = site.target.join("release/stentor");
            let version = env!("CARGO_PKG_VERSION").to_owned() + &commit();
            Ok(kit(program, &site.root, version))
        }
        Peer::Bun => {
            npm(site, name, &folder)?;
            let program = bun(&folder)?;
            let version = version(&program, &["--version"])?;
            Ok(kit(program, &folder, version))
        }
        Peer::NodeWs => {
            npm(site, name, &folder)?;
            let node = PathBuf::from("node");
            let version = version(&node, &["--version"])?;
            let ws = wanted(&site.source(name).join("package.json"), "ws");
            Ok(kit(node, &folder, format!("{ws}, Node {version}")))
        }
        Peer::Nchan => {
            let root = nchan(site, &folder)?;
            let program = root.join(NGINX);
            let version = version(&program, &["-v"])?;
            Ok(kit(program, &root, format!("Debian's libnginx-mod-nchan, {version}")))
        }
        Peer::TokioTungstenite | Peer::Fastwebsockets => {
            let manifest = site.source("rust").join("Cargo.toml");
            let target = site.tools.join("rust");
            let mut cargo = site.cargo(&["build", "--release", "--bin", name]);
            cargo.arg("--manifest-path").arg(&manifest).arg("--target-dir").arg(&target);
            site.must(name, cargo)?;
            Ok(kit(target.join("release").join(name), &site.root, wanted(&manifest, name)))
        }
        Peer::Sockudo => {
            let settings = site.source(name).join("environment.txt");
            let mut cargo = site.cargo(&["install", name, "--version", SOCKUDO, "--locked"]);
            cargo.args(["--no-default-features", "--features", "local", "--root"]).arg(&folder);
            site.once(&folder, std::slice::from_ref(&settings), || site.must(name, cargo))?;
            Ok(kit(folder.join("bin/sockudo"), &folder, SOCKUDO.to_owned()))
        }
        Peer::Reverb | Peer::Ratchet => {
            composer(site, name, &folder)?;
            let php = PathBuf::from("php");
            let version = version(&php, &["--version"])?;
            Ok(kit(php, &folder, format!("composer.json, {version}")))
        }
    }
}

impl Kit {
    /// What starts it.
    pub(crate) fn command(&self, site: &Site, work: Work, port: u16) -> Result<Command, String> {
        let port_word = port.to_string();
        let program = match (self.peer, work) {
            (Peer::Stentor, Work::Echo) => site.target.join("release/examples/echo"),
            _ => self.program.clone(),
        };
        let mut command = Command::new(program);
        command.current_dir(&self.folder);
        match (self.peer, work) {
            (Peer::Bare, Work::Connect) => command.args(["bare", "connect", &port_word]),
            (Peer::Bare, Work::Echo) => command.args(["bare", "echo", &port_word]),
            (Peer::Bare, _) => command.args(["bare", "fanout", &port_word]),
            (Peer::Stentor, Work::Echo) => command.args(["--cores", "1", "--port", &port_word]),
            (Peer::Stentor, _) => {
                command.args(["--cores", "1", "--log", "warn", "--port", &port_word])
            }
            (Peer::StentorTwo, _) => {
                command.args(["--cores", "2", "--log", "warn", "--port", &port_word])
            }
            (Peer::Bun | Peer::NodeWs, _) => command.args(["server.js", &port_word]),
            (Peer::Nchan, _) => {
                self.write_nginx_conf(site, &port_word)?;
                let folder = site.tools.join("nchan/run");
                command.arg("-p").arg(&folder).args(["-e", "error.log", "-c", "nginx.conf"])
            }
            (Peer::TokioTungstenite | Peer::Fastwebsockets, _) => command.arg(&port_word),
            (Peer::Sockudo, _) => {
                let settings = site.source(self.peer.name()).join("environment.txt");
                let settings = fs::read_to_string(settings).map_err(|error| error.to_string())?;
                let settings = settings.lines().filter_map(|line| line.split_once('='));
                command.envs(settings).env("PORT", &port_word)
            }
            (Peer::Reverb | Peer::Ratchet, _) => command.args(["server.php", &port_word]),
        };
        Ok(command)
    }

    fn write_nginx_conf(&self, site: &Site, port: &str) -> Result<(), String> {
        let write = || {
            let source = fs::read_to_string(site.source("nchan").join("nginx.conf"))?;
            let folder = site.tools.join("nchan/run");
            fs::create_dir_all(&folder)?;
            let module = self.folder.join(NCHAN_MODULE).display().to_string();
            let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
            let text =
                source.replace("MODULE", &module).replace("PORT", port).replace("USER", user);
            fs::write(folder.join("nginx.conf"), text)
        };
        write().map_err(|error| format!("nginx.conf: {error}"))
    }
}

fn version(program: &Path, words: &[&str]) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(words);
    said(command).ok_or_else(|| format!("{} does not run", program.display()))
}

/// The version that a manifest asks for, as `"name": "1.2.3"` or `name = "=1.2.3"` says it.
fn wanted(manifest: &Path, name: &str) -> String {
    let text = fs::read_to_string(manifest).unwrap_or_default();
    let line = text.lines().map(|line| line.trim().replace('"', "")).find_map(|line| {
        let (key, value) = line.split_once([':', '='])?;
        (key.trim() == name).then(|| value.trim().to_owned())
    });
    let version = line.unwrap_or_default();
    version.trim_matches(|c: char| !c.is_ascii_digit()).split(',').next().unwrap_or("").to_owned()
}

fn npm(site: &Site, name: &str, folder: &Path) -> Result<(), String> {
    let files = ["package.json", "package-lock.json", ".npmrc", "server.js"];
    let sources = files.map(|file| site.source(name).join(file));
    site.once(folder, &sources, || {
        for file in files {
            let copied = fs::copy(site.source(name).join(file), folder.join(file));
            copied.map_err(|error| format!("{file}: {error}"))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(folder);
        site.must(name, npm)
    })
}

/// The package for this machine; npm leaves out those for others.
fn bun(folder: &Path) -> Result<PathBuf, String> {
    let packages = fs::read_dir(folder.join("node_modules/@oven"));
    let packages = packages.map_err(|error| format!("node_modules/@oven: {error}"))?;
    let programs = packages.flatten().map(|package| package.path().join("bin/bun"));
    programs
        .into_iter()
        .find(|program| version(program, &["--version"]).is_ok())
        .ok_or_else(|| "npm has no bun that runs on this machine".to_owned())
}

/// The folder below which nginx and its module lie: `/`, or where Debian's packages are unpacked. Installing them would
/// start an nginx of the system's own.
fn nchan(site: &Site, folder: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(NGINX_BODIES).map_err(|error| format!("{NGINX_BODIES}: {error}"))?;
    let is_there = |root: &Path| root.join(NCHAN_MODULE).exists() && root.join(NGINX).exists();
    let unpacked = folder.join("root");
    if let Some(root) = [Path::new("/"), &unpacked].into_iter().find(|root| is_there(root)) {
        return Ok(root.to_owned());
    }
    fs::create_dir_all(&unpacked).map_err(|error| error.to_string())?;
    let apt = |words: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.arg("-q").args(words).current_dir(folder);
        site.must("nchan", apt)
    };
    let download = || apt(&["download", "nginx", "libnginx-mod-nchan"]);
    download().or_else(|_| apt(&["update"]).and_then(|()| download()))?;
    let packages = fs::read_dir(folder).map_err(|error| error.to_string())?;
    for package in packages.flatten().map(|entry| entry.path()) {
        if package.extension().is_some_and(|kind| kind == "deb") {
            let mut dpkg = Command::new("dpkg-deb");
            dpkg.arg("--extract").arg(&package).arg(&unpacked);
            site.must("nchan", dpkg)?;
        }
    }
    if is_there(&unpacked) {
        return Ok(unpacked);
    }
    Err("Debian's packages nginx and libnginx-mod-nchan lack nginx or its module".to_owned())
}

fn composer(site: &Site, name: &str, folder: &Path) -> Result<(), String> {
    let files = ["composer.json", "server.php"];
    let sources = files.map(|file| site.source(name).join(file));
    site.once(folder, &sources, || {
        for file in files {
            let copied = fs::copy(site.source(name).join(file), folder.join(file));
            copied.map_err(|error| format!("{file}: {error}"))?;
        }
        let mut composer = Command::new("composer");
        composer.args(["install", "--no-interaction", "--no-progress", "--no-dev"]);
        composer.current_dir(folder);
        site.must(name, composer)
    })
}
