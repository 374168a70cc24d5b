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
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::arguments::Plan;
use super::goals::{Goal, Work};
use super::load::version::{commit, said};
use super::peers::Peer;
use super::site::{Site, tell};

const SOCKUDO: &str = "5.2.0";
/// All that is asked for, and so the stamp of what was built.
const SOCKUDO_WORDS: &[&str] = &[
    "install",
    "sockudo",
    "--version",
    SOCKUDO,
    "--locked",
    "--no-default-features",
    "--features",
    "local",
];
/// As PHP servers run where somebody cares for speed; PHP itself leaves both out on the command line.
const PHP_WORDS: &[&str] = &[
    "-d",
    "opcache.enable_cli=1",
    "-d",
    "opcache.jit_buffer_size=64M",
    "-d",
    "opcache.jit=tracing",
];
/// PHP's version, and whether what [`PHP_WORDS`] ask for is so: a PHP without the extension takes them without a word.
const PHP_VERSION: &str = "$opcache = function_exists('opcache_get_status') ? opcache_get_status(false) : false;\
    echo 'PHP ', PHP_VERSION, $opcache ? ' with opcache' : ' without opcache', \
    empty($opcache['jit']['on']) ? ' and without JIT' : ' and the tracing JIT';";
const NCHAN_MODULE: &str = "usr/lib/nginx/modules/ngx_nchan_module.so";
const NGINX: &str = "usr/sbin/nginx";
/// Where Debian's nginx keeps large bodies. nchan wants it whatever the settings say.
const NGINX_BODIES: &str = "/var/lib/nginx";
/// Below nchan's folder: that the one above is of our making.
const MADE_BODIES: &str = "made-bodies";

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
pub(crate) fn collect(site: &Site, plan: &Plan, goals: &[Goal]) -> io::Result<Vec<Entrant>> {
    let works: Vec<Work> =
        goals.iter().flat_map(|goal| goal.scenarios()).map(|scenario| scenario.work).collect();
    let mut entrants = Vec::new();
    for peer in plan.entrants() {
        if works.iter().any(|work| peer.door(*work).is_some()) {
            let kit = kit(site, peer);
            if let Err(reason) = &kit {
                tell(&format!("{} cannot be had: {reason}", peer.title()));
            }
            entrants.push(Entrant { peer, kit });
        }
    }
    // Without ours there is nothing to compare.
    let ours = entrants.iter().find(|entrant| entrant.peer == Peer::Stentor);
    match ours.map(|entrant| &entrant.kit) {
        Some(Err(reason)) => Err(io::Error::other(format!("Stentor: {reason}"))),
        _ => Ok(entrants),
    }
}

/// Removes what had to be made outside the build folder.
pub(crate) fn clear_away(site: &Site) {
    let mark = site.tools.join(Peer::Nchan.name()).join(MADE_BODIES);
    if let Err(error) = clear_bodies(Path::new(NGINX_BODIES), &mark) {
        tell(&format!("{NGINX_BODIES} was made for nchan and stays: {error}"));
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
            let package = site.source(name).join("package.json");
            let [ws, bufferutil] = ["ws", "bufferutil"].map(|name| wanted(&package, name));
            Ok(kit(node, &folder, format!("{ws} with bufferutil {bufferutil}, Node {version}")))
        }
        Peer::Nchan => {
            let root = nchan(site, &folder)?;
            let program = root.join(NGINX);
            let version = version(&program, &["-v"])?;
            let whose = if root == Path::new("/") { "the system's" } else { "Debian's" };
            Ok(kit(program, &root, format!("{whose} libnginx-mod-nchan, {version}")))
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
            let mut cargo = site.cargo(SOCKUDO_WORDS);
            cargo.arg("--root").arg(&folder);
            site.once(&folder, &SOCKUDO_WORDS.join(" "), || site.must(name, cargo))?;
            Ok(kit(folder.join("bin/sockudo"), &folder, SOCKUDO.to_owned()))
        }
        Peer::Reverb | Peer::Ratchet => {
            composer(site, name, &folder)?;
            let php = PathBuf::from("php");
            let php_version = version(&php, &[PHP_WORDS, &["-r", PHP_VERSION]].concat())?;
            let package = if peer == Peer::Reverb { "laravel/reverb" } else { "cboden/ratchet" };
            let version = fs::read_to_string(folder.join("vendor/composer/installed.json"));
            let version = version.ok().and_then(|text| installed(&text, package));
            let version = version.unwrap_or_else(|| "of unknown version".to_owned());
            Ok(kit(php, &folder, format!("{version}, {php_version}")))
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
            (Peer::Reverb | Peer::Ratchet, _) => {
                command.args(PHP_WORDS).args(["server.php", &port_word])
            }
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

/// The version of a package that Composer's own list of what it installed has.
pub(crate) fn installed(list: &str, package: &str) -> Option<String> {
    let list: Value = serde_json::from_str(list).ok()?;
    let mut packages = list["packages"].as_array()?.iter();
    let found = packages.find(|found| found["name"] == package)?;
    found["version"].as_str().map(|version| version.trim_start_matches('v').to_owned())
}

fn npm(site: &Site, name: &str, folder: &Path) -> Result<(), String> {
    let files = ["package.json", "package-lock.json", ".npmrc", "server.js"];
    site.copied(name, &files, folder, || {
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
    let made = make_bodies(Path::new(NGINX_BODIES), &folder.join(MADE_BODIES));
    made.map_err(|error| format!("{NGINX_BODIES}: {error}"))?;
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

/// Makes the folder unless it is there, and leaves a mark that it is of our making: a run that is cut short is cleared away
/// by the next one.
pub(crate) fn make_bodies(bodies: &Path, mark: &Path) -> io::Result<()> {
    if bodies.exists() {
        return Ok(());
    }
    mark.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(mark, "")?;
    fs::create_dir_all(bodies)
}

/// Removes that folder if the mark says that it is ours, with the empty ones that nginx makes in it. What holds anything else
/// stays.
pub(crate) fn clear_bodies(bodies: &Path, mark: &Path) -> io::Result<()> {
    if !mark.exists() {
        return Ok(());
    }
    for inner in fs::read_dir(bodies).into_iter().flatten().flatten() {
        let _ = fs::remove_dir(inner.path());
    }
    match fs::remove_dir(bodies) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => fs::remove_file(mark),
    }
}

fn composer(site: &Site, name: &str, folder: &Path) -> Result<(), String> {
    site.copied(name, &["composer.json", "server.php"], folder, || {
        let mut composer = Command::new("composer");
        composer.args(["install", "--no-interaction", "--no-progress", "--no-dev"]);
        composer.current_dir(folder);
        site.must(name, composer)
    })
}
