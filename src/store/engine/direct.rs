//! Whether there is a pooler between us and PostgreSQL.
//!
//! Statements may be prepared only where there is none: behind PgBouncer in transaction mode a named statement may be
//! somebody else's. A pooler looks like the server, so nobody can be asked; but the server tells the port that its
//! connection comes from, and where that is the port of a socket of this very process, nobody is in between.

use std::path::Path;

/// Whether this process has a TCP connection from `port`. Tells on Linux; elsewhere, and behind address translation, it
/// is no, which is safe.
pub(in crate::store) fn is_port_of_ours(port: u16) -> bool {
    // Each table takes the kernel some milliseconds: the second one only where the first has nothing.
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"].into_iter().any(|path| {
        let table = std::fs::read_to_string(path).unwrap_or_default();
        sockets_at(&table, port).iter().any(|inode| is_open_here(inode))
    })
}

fn is_open_here(inode: &str) -> bool {
    let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return false };
    files.flatten().any(|file| points_at(&file.path(), inode))
}

/// The inodes of established connections from this port, in the kernel's table (proc(5)): a head line, then `number
/// local-address:port remote-address:port state …`, the inode tenth, numbers in hexadecimal.
fn sockets_at(table: &str, port: u16) -> Vec<String> {
    const ESTABLISHED: &str = "01";
    let ending = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_it = fields.get(1)?.ends_with(&ending) && *fields.get(3)? == ESTABLISHED;
            is_it.then(|| (*fields.get(9).unwrap_or(&"")).to_owned())
        })
        .collect()
}

fn points_at(file: &Path, inode: &str) -> bool {
    std::fs::read_link(file).is_ok_and(|target| target.as_os_str() == format!("socket:[{inode}]").as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_of_this_process_counts() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let port = client.local_addr().unwrap().port();
        assert_eq!(is_port_of_ours(port), cfg!(target_os = "linux"));
        drop(client);
        assert!(!is_port_of_ours(port));
    }

    #[test]
    fn the_kernels_table_is_read_by_port_and_state() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   112        0 17 1\n\
             1: 0100007F:D431 0100007F:1538 01 00000000:00000000 02:00000001 00000000     0        0 4711 2\n";
        assert_eq!(sockets_at(table, 0xD431), ["4711"]);
        assert!(sockets_at(table, 0x1538).is_empty());
        assert!(sockets_at("", 1).is_empty());
    }
}
