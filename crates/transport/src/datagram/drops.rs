//! The kernel's count of dropped datagrams, as the tables of `/proc/net` show it.
//!
//! With the datagrams themselves comes only the count at the time at which they were queued. What is dropped behind the
//! last one would stay unknown until another arrives.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use socket2::Socket;

/// Where to look a socket's count up.
#[derive(Debug)]
pub(super) struct DropCount {
    table: &'static str,
    inode: u64,
}

impl DropCount {
    /// None where the system has no such table.
    pub(super) fn of(socket: &Socket, local: &SocketAddr) -> Option<DropCount> {
        let table = if local.is_ipv6() { "/proc/net/udp6" } else { "/proc/net/udp" };
        let inode = std::fs::metadata(format!("/proc/self/fd/{}", socket.as_raw_fd())).ok()?.ino();
        let count = DropCount { table, inode };
        count.read().ok()??;
        Some(count)
    }

    /// The count now; none, if the table does not hold the socket.
    pub(super) fn read(&self) -> io::Result<Option<u32>> {
        Ok(find(&std::fs::read_to_string(self.table)?, self.inode))
    }
}

/// Finds the drops of the socket with this inode. The columns are those of `udp4_format_sock` in the kernel.
fn find(table: &str, inode: u64) -> Option<u32> {
    const INODE_COLUMN: usize = 9;
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let found: u64 = columns.nth(INODE_COLUMN)?.parse().ok()?;
        // The counter is signed where it is printed.
        let drops: i32 = columns.last()?.parse().ok()?;
        (found == inode).then_some(drops.cast_unsigned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  325: 0100007F:1FBD 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 24118 2 0000000000000000 17
  401: 00000000:0202 00000000:0000 07 00000000:00000A00 00:00000000 00000000  1000        0 9 2 0000000000000000 -1
";

    fn check(inode: u64, drops: Option<u32>) {
        assert_eq!(find(TABLE, inode), drops, "{inode}");
    }

    #[test]
    fn the_drops_of_a_socket_are_found_by_its_inode() {
        check(24118, Some(17));
        check(9, Some(u32::MAX));
        check(17, None);
        assert_eq!(find("", 9), None);
        assert_eq!(find("sl\n1: 2 3\n\n", 9), None);
    }
}
