//! Memory used by this process, and memory still available to it.

use crate::shim::gpu_memory;
use cvhost::error::Error;
use cvhost::progress::gigabytes;
use std::path::Path;
use tch::Device;

/// The resident memory of this process in bytes.
pub fn resident() -> Option<u64> {
    kilobytes("/proc/self/status", "VmRSS:")
}

/// The peak resident memory of this process in bytes since its start or the last [`reset_peak`].
pub fn peak() -> Option<u64> {
    kilobytes("/proc/self/status", "VmHWM:")
}

/// Resets [`peak`]. Has no effect if the kernel forbids it.
pub fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The number of bytes that this process can still allocate without affecting others: the memory
/// that the machine has available, limited by what its control groups (a container, a batch job)
/// have left.
pub fn available() -> Option<u64> {
    let machine = kilobytes("/proc/meminfo", "MemAvailable:")?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(left_in_groups(Path::new("/sys/fs/cgroup"), &groups).map_or(machine, |left| left.min(machine)))
}

/// Describes the memory in use by a training on this device: of the GPU, else of this process.
/// Empty if the system doesn't report it.
pub fn in_use(device: Device) -> String {
    match device {
        Device::Cuda(_) => gpu_memory(device).map_or_else(
            |_| String::new(),
            |memory| {
                format!(
                    "GPU {} (peak {})",
                    gigabytes(memory.allocated),
                    gigabytes(memory.allocated_peak)
                )
            },
        ),
        _ => resident().map_or_else(String::new, gigabytes),
    }
}

/// Whether an error is an out-of-memory error of the CPU or a GPU. libtorch signals it only in the
/// message.
pub fn ran_out(error: &Error) -> bool {
    let text = error.to_string();
    ["out of memory", "can't allocate memory", "not enough memory"]
        .iter()
        .any(|words| text.contains(words))
}

/// Reads a value from a file of /proc, with lines such as `MemAvailable:   12345 kB`.
fn kilobytes(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    let number: u64 = line.split_whitespace().next()?.parse().ok()?;
    number.checked_mul(1024)
}

/// The bytes left by the control groups in `of_process` (the text of /proc/self/cgroup) and their
/// ancestors, for both cgroup versions. In a container, the path may be that of the host, and only
/// the root exists.
fn left_in_groups(root: &Path, of_process: &str) -> Option<u64> {
    let mut least: Option<u64> = None;
    for line in of_process.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        let files = match controllers {
            "" => &VERSION_2,
            some if some.split(',').any(|name| name == "memory") => &VERSION_1,
            _ => continue,
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let left = files.left(&root.join(files.folder).join(group));
            least = least.into_iter().chain(left).min();
        }
    }
    least
}

/// The files with limit and usage of a control group, in one cgroup version.
struct GroupFiles {
    folder: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// Key in `memory.stat` of page cache that was not used recently, which the kernel reclaims
    /// first.
    reclaimable: &'static str,
}

const VERSION_2: GroupFiles = GroupFiles {
    folder: "",
    limit: "memory.max",
    usage: "memory.current",
    reclaimable: "inactive_file ",
};
const VERSION_1: GroupFiles = GroupFiles {
    folder: "memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    reclaimable: "total_inactive_file ",
};

impl GroupFiles {
    /// The bytes left in a group; `None` for a group without a limit.
    fn left(&self, group: &Path) -> Option<u64> {
        let number = |name: &str| -> Option<u64> {
            let text = std::fs::read_to_string(group.join(name)).ok()?;
            text.trim().parse().ok() // `max` means no limit
        };
        let limit = number(self.limit)?;
        let statistics = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let reclaimable = statistics
            .lines()
            .find_map(|line| line.strip_prefix(self.reclaimable)?.trim().parse().ok())
            .unwrap_or(0);
        let used = number(self.usage)?.saturating_sub(reclaimable);
        Some(limit.saturating_sub(used))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_follows_allocations() {
        reset_peak();
        let before = peak().unwrap();
        let taken = std::hint::black_box(vec![1u8; 200 << 20]);
        assert!(peak().unwrap() >= before + (190 << 20));
        assert!(resident().unwrap() >= 200 << 20);
        drop(taken);
        assert!(available().unwrap() > 0);
    }

    fn group(root: &Path, path: &str, files: &[(&str, &str)]) {
        let folder = root.join(path);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in files {
            std::fs::write(folder.join(name), text).unwrap();
        }
    }

    #[test]
    fn the_tightest_group_limits() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let statistics = ("memory.stat", "anon 5\ninactive_file 100\nactive_file 7\n");
        group(
            root,
            "jobs",
            &[("memory.max", "1000\n"), ("memory.current", "300\n"), statistics],
        );
        group(
            root,
            "jobs/mine",
            &[("memory.max", "max\n"), ("memory.current", "300\n")],
        );
        assert_eq!(left_in_groups(root, "0::/jobs/mine\n"), Some(800));
        assert_eq!(left_in_groups(root, "0::/elsewhere\n"), None);
        assert_eq!(left_in_groups(root, "nonsense"), None);
        group(
            root,
            "memory/docker",
            &[
                ("memory.limit_in_bytes", "500"),
                ("memory.usage_in_bytes", "450"),
                ("memory.stat", "inactive_file 3\ntotal_inactive_file 50\n"),
            ],
        );
        let both = "5:cpu,cpuacct:/x\n4:memory:/docker\n0::/jobs/mine\n";
        assert_eq!(left_in_groups(root, both), Some(100));
        // Usage above the limit, which happens when the limit was lowered.
        group(root, "tight", &[("memory.max", "10"), ("memory.current", "20")]);
        assert_eq!(left_in_groups(root, "0::/tight"), Some(0));
    }
}
