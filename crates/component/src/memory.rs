//! How much memory the process holds and how much it may hold. Beside the clock, the one thing about the machine that
//! components ask for: it is read here, so that nobody else does.
//!
//! Sources: [`proc(5)`](https://man7.org/linux/man-pages/man5/proc.5.html), the memory controllers of
//! [cgroup v2](https://docs.kernel.org/admin-guide/cgroup-v2.html) and
//! [v1](https://docs.kernel.org/admin-guide/cgroup-v1/memory.html).

use std::fs;
use std::path::{Path, PathBuf};

/// The resident memory of the process, in bytes. `None` where the system does not say.
pub fn rss_bytes() -> Option<u64> {
    rss_bytes_in(Path::new("/"))
}

/// The memory that the process can have at most, in bytes: what the machine has, or the limit of its control groups if
/// that is less. `None` where the system does not say.
pub fn total_bytes() -> Option<u64> {
    total_bytes_in(Path::new("/"))
}

fn rss_bytes_in(root: &Path) -> Option<u64> {
    // Unlike `statm`, which counts in pages, this is in kB on every machine.
    kilobytes(&fs::read_to_string(root.join("proc/self/status")).ok()?, "VmRSS:")
}

fn total_bytes_in(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok().and_then(|text| kilobytes(&text, "MemTotal:"));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let limits = groups.lines().filter_map(|line| group_limit(root, line));
    machine.into_iter().chain(limits).min()
}

/// The value of a line such as `VmRSS:     5120 kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The limit of one line of `/proc/self/cgroup`, `hierarchy:controllers:path`, with those of the groups around it.
fn group_limit(root: &Path, line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':');
    let (hierarchy, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let (mount, file) = match hierarchy {
        "0" => (root.join("sys/fs/cgroup"), "memory.max"),
        _ if controllers.split(',').any(|name| name == "memory") => {
            (root.join("sys/fs/cgroup/memory"), "memory.limit_in_bytes")
        }
        _ => return None,
    };
    // In a container the path may be the host's, which is not to be seen: the group is then the mount itself. A path
    // with `..` leads to a group outside of the namespace.
    let inner = path.trim_start_matches('/');
    let inner = if inner.split('/').any(|part| part == "..") { "" } else { inner };
    let groups = Path::new(inner).ancestors().map(|group| mount.join(group));
    groups.filter_map(|group: PathBuf| limit(&group.join(file))).min()
}

/// A limit in bytes; none when it is `max`. Version 1 writes a number beyond any machine instead, which the total of
/// the machine is always below.
fn limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn check_total(files: &[(&str, &str)], expected: Option<u64>) {
        assert_eq!(total_bytes_in(machine(files).path()), expected);
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:        4096000 kB\nMemFree:  1 kB\n");

    #[test]
    fn resident_memory_is_what_the_kernel_says() {
        let root = machine(&[("proc/self/status", "Name:\tx\nVmHWM:\t  9999 kB\nVmRSS:\t    2048 kB\n")]);
        assert_eq!(rss_bytes_in(root.path()), Some(2 * MIB));
        assert_eq!(rss_bytes_in(machine(&[]).path()), None);
    }

    #[test]
    fn without_limits_the_machine_is_the_limit() {
        check_total(&[MEMINFO], Some(4000 * MIB));
        check_total(
            &[MEMINFO, ("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/memory.max", "max\n")],
            Some(4000 * MIB),
        );
    }

    #[test]
    fn the_tightest_group_is_the_limit() {
        check_total(
            &[
                MEMINFO,
                ("proc/self/cgroup", "0::/kube/pod/container\n"),
                ("sys/fs/cgroup/kube/memory.max", "2097152000\n"),
                ("sys/fs/cgroup/kube/pod/memory.max", "1048576000\n"),
                ("sys/fs/cgroup/kube/pod/container/memory.max", "max\n"),
            ],
            Some(1000 * MIB),
        );
    }

    #[test]
    fn a_container_that_sees_its_own_group_as_the_root_is_limited() {
        let own = ("sys/fs/cgroup/memory.max", "536870912\n");
        check_total(&[MEMINFO, ("proc/self/cgroup", "0::/\n"), own], Some(512 * MIB));
        check_total(&[MEMINFO, ("proc/self/cgroup", "0::/../host/path\n"), own], Some(512 * MIB));
        check_total(&[MEMINFO, ("proc/self/cgroup", "0::/docker/of/the/host\n"), own], Some(512 * MIB));
    }

    #[test]
    fn the_first_version_of_groups_counts_too() {
        let group = ("proc/self/cgroup", "12:cpu,cpuacct:/a\n5:memory:/a\n1:name=systemd:/a\n");
        check_total(
            &[MEMINFO, group, ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "104857600\n")],
            Some(100 * MIB),
        );
        let unlimited = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        check_total(&[MEMINFO, group, unlimited], Some(4000 * MIB));
    }

    #[test]
    fn a_system_that_says_nothing_has_no_limit() {
        check_total(&[], None);
        check_total(&[("proc/meminfo", "MemTotal: lots\n")], None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory() {
        let (rss, total) = (rss_bytes().unwrap(), total_bytes().unwrap());
        assert!(rss > 0 && rss < total, "{rss} of {total}");
    }
}
