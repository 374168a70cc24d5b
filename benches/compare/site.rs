//! Where things lie, and how other programs are called: cargo, npm, apt. The only file that knows the build folder.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What cargo sets for the programs that it runs, by how the names begin. Build scripts that watch these would run again.
const CARGO_OWN: &[&str] =
    &["CARGO_BIN_", "CARGO_CRATE_", "CARGO_MANIFEST_", "CARGO_PKG_", "LD_LIBRARY_PATH", "OUT_DIR"];

/// The folders.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The package.
    pub(crate) root: PathBuf,
    /// Cargo's build folder.
    pub(crate) target: PathBuf,
    /// What is installed, and what runs leave behind.
    pub(crate) tools: PathBuf,
    /// This program.
    pub(crate) own: PathBuf,
}

impl Site {
    pub(crate) fn survey() -> io::Result<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        // This program is `TARGET/release/deps/compare-…`.
        let own = std::env::current_exe()?;
        let target = own.ancestors().nth(3).map(Path::to_path_buf);
        let target = target.ok_or_else(|| io::Error::other("this is not in a build folder"))?;
        let tools = target.join("compare");
        fs::create_dir_all(tools.join("logs"))?;
        Ok(Self { root, target, tools, own })
    }

    /// What we keep of a peer: its program, or how to get it.
    pub(crate) fn source(&self, peer: &str) -> PathBuf {
        self.root.join("benches/peers").join(peer)
    }

    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.tools.join("logs").join(format!("{name}.log"))
    }

    pub(crate) fn cargo(&self, words: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command.args(words).current_dir(&self.root);
        for (name, _) in std::env::vars_os() {
            if CARGO_OWN.iter().any(|own| name.as_encoded_bytes().starts_with(own.as_bytes())) {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs a command to its end; what it prints goes to a log, and the last of it is the reason if it fails.
    pub(crate) fn must(&self, name: &str, mut command: Command) -> Result<(), String> {
        let path = self.log(name);
        let program = command.get_program().to_string_lossy().into_owned();
        tell(&format!("{name}: {}", shown(&command)));
        let ended = File::create(&path).and_then(|log| {
            let errors = log.try_clone()?;
            command.stdin(Stdio::null()).stdout(log).stderr(errors).status()
        });
        match ended {
            Err(error) => Err(format!("{program}: {error}")),
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("{program}: {status}: {}", last_line(&path))),
        }
    }

    /// Does it unless the folder says that the same was wanted and done before. What was cut short leaves no such word.
    pub(crate) fn once(
        &self,
        folder: &Path,
        wanted: &str,
        install: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let stamp = folder.join("stamp");
        if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        let renew = || {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
            fs::create_dir_all(folder)
        };
        renew().map_err(|error| format!("{}: {error}", folder.display()))?;
        install()?;
        fs::write(stamp, wanted).map_err(|error| error.to_string())
    }

    /// Copies what we keep of a peer into a folder and installs there, unless it was done before for the same texts.
    pub(crate) fn copied(
        &self,
        peer: &str,
        files: &[&str],
        folder: &Path,
        install: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let told = |file: &str, error: io::Error| format!("{file}: {error}");
        let texts: Result<Vec<String>, String> = files
            .iter()
            .map(|file| {
                fs::read_to_string(self.source(peer).join(file)).map_err(|error| told(file, error))
            })
            .collect();
        let texts = texts?;
        self.once(folder, &texts.join("\n"), || {
            for (file, text) in files.iter().zip(&texts) {
                fs::write(folder.join(file), text).map_err(|error| told(file, error))?;
            }
            install()
        })
    }
}

/// The last line of a file that is not blank.
pub(crate) fn last_line(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.unwrap_or("it printed nothing").to_owned()
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// What is no result goes to standard error.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr(), "compare: {text}");
}
