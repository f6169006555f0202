//! One service as a process of its own: started, killed as a power cut would, stopped as a
//! person would. Its output goes to a log file; a process that is dropped is killed.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::packaged;

/// How long a service may take to stop when asked.
const STOP_PATIENCE: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// A service, running or not.
#[derive(Debug)]
pub struct Service {
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Service {
    /// The service `program` of the folder this program is in, not started yet.
    ///
    /// # Errors
    /// When the program is not there: `make demo` builds it.
    pub fn new(program: &str, config: &Path, log: &Path) -> io::Result<Self> {
        let program = program_path(program)?;
        Ok(Self { program, config: config.to_owned(), log: log.to_owned(), child: None })
    }

    /// Starts it, if it does not run.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn start(&mut self) -> io::Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.program)
            .envs(packaged::environment())
            .arg("run")
            .arg("--config")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for us: we stop our children one by one, by pid.
            .process_group(0)
            .spawn()?;
        self.child = Some(child);
        Ok(())
    }

    /// SIGKILL, as `kill -9`: nothing is flushed, nobody is told. Returns the pid it had.
    pub fn kill(&mut self) -> Option<u32> {
        let mut child = self.child.take()?;
        let pid = child.id();
        let _ = child.kill();
        let _ = child.wait();
        Some(pid)
    }

    /// SIGTERM, and SIGKILL for one that does not listen.
    pub fn stop(&mut self) {
        let Some(child) = &mut self.child else { return };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let asked = Instant::now();
        while asked.elapsed() < STOP_PATIENCE {
            if !matches!(child.try_wait(), Ok(None)) {
                self.child = None;
                return;
            }
            sleep(LOOK);
        }
        self.kill();
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.child.is_some()
    }

    /// The process it is, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The sentence to say if it ended without being told.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        let program = self.program.file_name().unwrap_or_default().to_string_lossy();
        let mut why = format!("{program} ended by itself ({status}): see {}", self.log.display());
        if let Some(line) = last_line(&self.log) {
            why.push_str(&format!("; it said: {line}"));
        }
        Some(why)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs one of the services' verbs, such as `admit`, to its end and gives what it printed.
///
/// # Errors
/// What it said on its standard error.
pub fn run(program: &str, arguments: &[&str]) -> io::Result<String> {
    let output = Command::new(program_path(program)?)
        .args(arguments)
        .stdin(Stdio::null())
        .process_group(0)
        .output()?;
    if output.status.success() {
        String::from_utf8(output.stdout).map_err(io::Error::other)
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

/// `program` in the folder of the running one.
fn program_path(program: &str) -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(program);
    File::open(&path).map_err(|_| {
        io::Error::other(format!("{} is not built: run `make demo`", path.display()))
    })?;
    Ok(path)
}

fn last_line(path: &Path) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned)
}
