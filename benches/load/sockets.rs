//! What the kernel has counted for the server's connections: the segments with data that it sent. Asked over netlink
//! (`sock_diag(7)`), as `ss -ti` does; it needs no privilege and nothing of the server. On loopback one `send` makes one segment,
//! unless more waits for room; so frames per segment say how many frames a `send` carries.

use std::io::{self, Read as _, Write as _};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// `linux/netlink.h`, `linux/sock_diag.h`, `linux/inet_diag.h`.
const AF_NETLINK: i32 = 16;
const NETLINK_SOCK_DIAG: i32 = 4;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const INET_DIAG_INFO: u16 = 2;
const IPPROTO_TCP: u8 = 6;
const FAMILIES: [u8; 2] = [2, 10];

const HEADER_BYTES: usize = 16;
/// `struct inet_diag_req_v2`, and where in it the source port is.
const REQUEST_BYTES: usize = 56;
const REQUEST_PORT_AT: usize = 8;
/// `struct inet_diag_msg`; attributes follow it.
const ANSWER_BYTES: usize = 72;
/// `tcpi_data_segs_out` in `struct tcp_info`; kernels before 4.6 have none.
const DATA_SEGMENTS_OUT_AT: usize = 156;

/// The kernel answers in pieces of at most 32 KiB.
const BUFFER_BYTES: usize = 64 * 1024;
/// It answers at once; who waits longer is not being answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// Segments with data that all sockets of this local port have sent in their lives. Those of closed sockets are forgotten.
pub(crate) fn segments_sent(port: u16) -> io::Result<u64> {
    let mut sum = 0;
    for family in FAMILIES {
        let socket = Socket::new(
            Domain::from(AF_NETLINK),
            Type::RAW,
            Some(Protocol::from(NETLINK_SOCK_DIAG)),
        )?;
        socket.set_read_timeout(Some(PATIENCE))?;
        (&socket).write_all(&request(family, port))?;
        sum += read_dump(&socket)?;
    }
    Ok(sum)
}

fn request(family: u8, port: u16) -> Vec<u8> {
    let mut request = Vec::with_capacity(HEADER_BYTES + REQUEST_BYTES);
    request.extend_from_slice(&72_u32.to_ne_bytes());
    request.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    request.extend_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
    // A sequence number of our own, and "from this process", as the kernel numbers it.
    request.extend_from_slice(&[0; 8]);
    let mut body = [0; REQUEST_BYTES];
    body[0] = family;
    body[1] = IPPROTO_TCP;
    body[2] = 1 << (INET_DIAG_INFO - 1);
    body[4..8].fill(0xff); // sockets in any state
    body[REQUEST_PORT_AT..REQUEST_PORT_AT + 2].copy_from_slice(&port.to_be_bytes());
    request.extend_from_slice(&body);
    request
}

fn read_dump(mut socket: &Socket) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut sum = 0;
    loop {
        let count = socket.read(&mut buffer)?;
        let mut rest = &buffer[..count];
        while let Some((kind, body, next)) = piece(rest, HEADER_BYTES, 4) {
            match kind {
                NLMSG_DONE => return Ok(sum),
                NLMSG_ERROR => {
                    return Err(io::Error::other("the kernel lists no sockets (sock_diag)"));
                }
                _ => sum += segments_of(body.get(ANSWER_BYTES..).unwrap_or_default()),
            }
            rest = next;
        }
    }
}

/// The segments in one socket's attributes; 0 if it has none any more.
fn segments_of(mut attributes: &[u8]) -> u64 {
    while let Some((kind, body, next)) = piece(attributes, 4, 2) {
        if kind == INET_DIAG_INFO {
            return read_u32(body, DATA_SEGMENTS_OUT_AT).map_or(0, u64::from);
        }
        attributes = next;
    }
    0
}

/// Takes one message or attribute off the front: its kind, its body, and what is behind it. Its length comes first, in so many
/// bytes, then its kind; the next one begins at a multiple of four.
fn piece(bytes: &[u8], header: usize, length_bytes: usize) -> Option<(u16, &[u8], &[u8])> {
    let length = match length_bytes {
        4 => usize::try_from(read_u32(bytes, 0)?).ok()?,
        _ => usize::from(read_u16(bytes, 0)?),
    };
    let kind = read_u16(bytes, length_bytes)?;
    let body = bytes.get(header..length)?;
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, body, next))
}

fn read_u16(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
