//! Which other program has a port open, as far as this user may know.
//!
//! Linux shows a user the open files of the user's own processes, and root those of all. A modem manager that runs as root is not found.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The first other process that has the port of that name open, `screen (process 1234)`.
pub fn holder_of(port: &str) -> Option<String> {
    holder_below(Path::new("/proc"), &fs::canonicalize(port).ok()?)
}

fn holder_below(proc: &Path, port: &Path) -> Option<String> {
    let own = std::process::id();
    let processes = fs::read_dir(proc).ok()?.flatten();
    let mut ids: Vec<u32> = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    ids.sort_unstable();
    ids.into_iter().filter(|id| *id != own).find_map(|id| {
        let home = proc.join(id.to_string());
        let is_open = descriptors(&home).any(|(_, target)| target == port);
        (is_open && !is_device(&home, port)).then(|| {
            let name = fs::read_to_string(home.join("comm")).unwrap_or_default();
            format!("`{}` (process {id})", crate::printer::printable(name.trim()))
        })
    })
}

/// The open files of a process: the name of each descriptor, and what it is.
fn descriptors(process: &Path) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(process.join("fd")).ok().into_iter().flatten().flatten();
    entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, fs::read_link(entry.path()).ok()?)))
}

/// True if the process is the device itself: it has the other end of this pseudo-terminal.
fn is_device(process: &Path, port: &Path) -> bool {
    let Some(number) = port.strip_prefix("/dev/pts").ok().and_then(Path::to_str) else { return false };
    descriptors(process).filter(|(_, target)| target.ends_with("ptmx")).any(|(descriptor, _)| {
        let info = fs::read_to_string(process.join("fdinfo").join(descriptor)).unwrap_or_default();
        info.lines().filter_map(|line| line.strip_prefix("tty-index:")).any(|index| index.trim() == number)
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A process of that number with these descriptors; `/dev/ptmx` with the number of its other end.
    fn process(proc: &Path, id: u32, name: &str, open: &[(&str, Option<u32>)]) {
        let home = proc.join(id.to_string());
        fs::create_dir_all(home.join("fd")).expect("a folder");
        fs::create_dir_all(home.join("fdinfo")).expect("a folder");
        fs::write(home.join("comm"), format!("{name}\n")).expect("is written");
        for (at, (target, index)) in open.iter().enumerate() {
            symlink(target, home.join("fd").join(at.to_string())).expect("a link");
            let index = index.map_or(String::new(), |index| format!("tty-index:\t{index}\n"));
            fs::write(home.join("fdinfo").join(at.to_string()), format!("pos:\t0\n{index}")).expect("is written");
        }
    }

    #[test]
    fn another_program_at_the_port_is_named_and_the_device_itself_is_not() {
        let proc = tempfile::tempdir().expect("a folder");
        process(proc.path(), 7, "button", &[("/dev/ptmx", Some(3)), ("/dev/pts/3", None)]);
        process(proc.path(), 8, "other", &[("/dev/ptmx", Some(4)), ("/dev/pts/4", None)]);
        process(proc.path(), std::process::id(), "qdrs", &[("/dev/pts/3", None), ("/dev/ttyUSB0", None)]);
        assert_eq!(holder_below(proc.path(), Path::new("/dev/pts/3")), None);
        process(proc.path(), 99, "screen", &[("/dev/null", None), ("/dev/pts/3", None), ("/dev/ttyUSB0", None)]);
        for port in ["/dev/pts/3", "/dev/ttyUSB0"] {
            assert_eq!(holder_below(proc.path(), Path::new(port)).as_deref(), Some("`screen` (process 99)"));
        }
        assert_eq!(holder_below(proc.path(), Path::new("/dev/ttyUSB1")), None);
    }
}
