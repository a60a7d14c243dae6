//! Whether there is a pooler between us and PostgreSQL.
//!
//! Statements may be prepared only where there is none: behind PgBouncer in transaction mode a named statement may be
//! somebody else's. A pooler looks like the server, so nobody can be asked; but the server tells both ends of its
//! connection, and where this very process has a socket between them, nobody is in between.
//!
//! The port at our end alone does not tell: systems give one port to several connections at a time, as long as their other
//! ends differ, so the pooler's connection may have the number of ours.

use crate::store::engine::error::StoreError;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// Both ends of the connection, as the server sees them.
const ENDS: &str =
    "SELECT host(inet_client_addr()), inet_client_port(), host(inet_server_addr()), inet_server_port()";

/// Whether nobody is between us and the server.
pub(in crate::store) async fn is_direct(options: &PgConnectOptions) -> Result<bool, StoreError> {
    let mut connection = options.connect().await?;
    // Unnamed and by itself: there is nothing that could be mixed up.
    let seen = sqlx::raw_sql(ENDS).fetch_one(&mut connection).await?;
    let address = |ip: usize, port: usize| -> Result<Option<SocketAddr>, sqlx::Error> {
        let (ip, port): (Option<String>, Option<i32>) = (seen.try_get(ip)?, seen.try_get(port)?);
        let ip: Option<IpAddr> = ip.and_then(|ip| ip.parse().ok());
        Ok(ip.zip(port.and_then(|port| u16::try_from(port).ok())).map(SocketAddr::from))
    };
    let ends = address(0, 1)?.zip(address(2, 3)?).map(|(client, server)| Ends { client, server });
    let is_direct = ends.is_some_and(is_of_ours);
    connection.close().await?;
    Ok(is_direct)
}

/// A connection by its two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ends {
    client: SocketAddr,
    server: SocketAddr,
}

impl Ends {
    /// Whether both name one connection. On the way the address of one end may be translated, as a container's or a
    /// cluster service's is; a pooler has other addresses at both ends, or another port.
    fn is_same(self, other: Self) -> bool {
        let ports = |ends: Self| (ends.client.port(), ends.server.port());
        ports(self) == ports(other)
            && (self.client.ip() == other.client.ip() || self.server.ip() == other.server.ip())
    }
}

/// Whether this process has the client's socket of a connection that the server sees as `seen`. Tells on Linux;
/// elsewhere, and where a port is translated, it is no, which is safe.
fn is_of_ours(seen: Ends) -> bool {
    // Each table takes the kernel some milliseconds: the second one only where the first has nothing.
    ["/proc/self/net/tcp", "/proc/self/net/tcp6"].into_iter().any(|path| {
        let table = std::fs::read_to_string(path).unwrap_or_default();
        sockets(&table).any(|(ends, inode)| ends.is_same(seen) && is_open_here(inode))
    })
}

fn is_open_here(inode: &str) -> bool {
    let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return false };
    files.flatten().any(|file| points_at(&file.path(), inode))
}

/// The established connections of the kernel's table (proc(5)) with their inodes: a head line, then `number
/// local-address:port remote-address:port state …`, the inode tenth, numbers in hexadecimal.
fn sockets(table: &str) -> impl Iterator<Item = (Ends, &str)> {
    const ESTABLISHED: &str = "01";
    table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let (client, server) = (socket_address(fields.next()?)?, socket_address(fields.next()?)?);
        (fields.next()? == ESTABLISHED).then_some(())?;
        Some((Ends { client, server }, fields.nth(5)?))
    })
}

/// `address:port`; an address is one word of 32 bits or four, each in the machine's own order of bytes.
fn socket_address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = match address.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.as_flattened().try_into().ok()?;
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

fn points_at(file: &Path, inode: &str) -> bool {
    std::fs::read_link(file).is_ok_and(|target| target.as_os_str() == format!("socket:[{inode}]").as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ends of a connection as its client sees them.
    fn ends_of(client: &std::net::TcpStream) -> Ends {
        Ends { client: client.local_addr().unwrap(), server: client.peer_addr().unwrap() }
    }

    #[test]
    fn only_a_socket_of_this_process_counts() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = std::net::TcpListener::bind(address).unwrap();
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let ends = ends_of(&client);
            assert_eq!(is_of_ours(ends), cfg!(target_os = "linux"));
            drop(client);
            assert!(!is_of_ours(ends));
        }
    }

    #[test]
    fn a_pooler_whose_connection_has_the_number_of_ours_is_found_out() {
        let [pooler, server] = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let to_pooler = std::net::TcpStream::connect(pooler.local_addr().unwrap()).unwrap();
        let seen = Ends { client: to_pooler.local_addr().unwrap(), server: server.local_addr().unwrap() };
        assert!(!is_of_ours(seen));
    }

    #[test]
    fn one_end_may_be_translated_and_no_port() {
        let ends = |client: &str, server: &str| Ends {
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
        };
        let ours = ends("172.17.0.2:40000", "10.0.0.9:5432");
        assert!(
            ours.is_same(ends("192.168.1.4:40000", "10.0.0.9:5432")),
            "a container's address is translated"
        );
        assert!(ours.is_same(ends("172.17.0.2:40000", "10.1.1.1:5432")), "a service's address is translated");
        assert!(!ours.is_same(ends("10.0.0.9:40000", "10.0.0.7:5432")), "a pooler on a machine of its own");
        assert!(!ours.is_same(ends("172.17.0.2:40000", "10.0.0.9:6432")), "a pooler beside the server");
        assert!(!ours.is_same(ends("172.17.0.2:40001", "10.0.0.9:5432")), "another connection");
    }

    #[test]
    fn the_kernels_table_is_read() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000   112        0 17 1\n\
             1: 0100007F:D431 0200007F:1538 01 00000000:00000000 02:00000001 00000000     0        0 4711 2\n\
             2: 0000000000000000FFFF00000100007F:D432 00000000000000000000000001000000:1538 01 \
                00000000:00000000 02:00000001 00000000     0        0 4712 2\n";
        if cfg!(target_endian = "little") {
            let ends = |client: &str, server: &str| Ends {
                client: client.parse().unwrap(),
                server: server.parse().unwrap(),
            };
            let found: Vec<_> = sockets(table).collect();
            let mapped = ends("127.0.0.1:54322", "[::1]:5432");
            assert_eq!(found, [(ends("127.0.0.1:54321", "127.0.0.2:5432"), "4711"), (mapped, "4712")]);
        }
        assert_eq!(sockets("").count(), 0);
    }
}
