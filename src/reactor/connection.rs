//! One connection: bytes in, callbacks out, and how it ends.
//!
//! ```text
//!              request                 101                close frames exchanged,
//!   accept ─▶ Http ──▶ response ─┐ ──▶ Ws ───────────────▶ or the peer broke the rules ──▶ Ending ─▶ all written ─▶
//!              ▲─────────────────┘                                                                    │ our FIN
//!                                                         their FIN, or the deadline ◀── Finished ◀───┘
//! ```
//!
//! Who decides what a frame or a request means is `ws/protocol.rs` and `http/protocol.rs`; here is only what happens
//! to the connection then. Nothing here writes to a socket.

use std::io;

use super::audience::Lacking;
use super::handler::{ConnError, Handler, Upgrade};
use super::shard::{REQUEST_WORTH, Shard};
use super::slots::{Phase, Slot, Standing};
use super::stream::Stream;
use crate::fanout::conn_id::ConnId;
use crate::fanout::directory::Directory;
use crate::http::{self, Request, Response};
use crate::metrics::Counter;
use crate::ws::handshake::{self, Offer};
use crate::ws::{self, CloseFrame, Event, Input, Reply};

/// Connections read in one turn.
const READ_SLICE: usize = 512;

/// Where both wait, so many who are here are read before one who has just come.
const READS_PER_NEWCOMER: usize = 3;

/// Requests of one connection served in one turn. Their answers may be much larger than they are.
const REQUEST_SLICE: usize = 64;

/// What became of a request.
enum Served {
    /// It is answered, or will be.
    Request,
    /// The connection is a WebSocket now.
    Upgraded,
}

impl<S: Stream, D: Directory, H: Handler<D>> Shard<S, H, D> {
    /// Reads from the connections that are ready, as many as one turn may. True if there are more.
    pub(crate) fn read_ready(&mut self) -> bool {
        // While another core has no room for our posts, whoever causes them is not read. It is not asked for more turns
        // either: they would take the time that the other core needs.
        if self.core.outgoing.is_waiting() {
            if self.core.has_ready() {
                self.core.count(Counter::ReadsHeld);
            }
            return false;
        }
        let is_crowded = self.core.is_crowded();
        if !is_crowded {
            self.core.ready.extend(self.held.drain(..));
        }
        let held = self.held.len();
        // Who has more to say has it in the next turn.
        let (mut known, mut new) = (self.core.ready.len(), self.core.newcomers.len());
        let mut taken = 0;
        // What is read may be published, and begin a round.
        while taken < self.slice(READ_SLICE, REQUEST_WORTH) && !self.core.is_heavy() {
            taken += 1;
            let is_for_new = taken % (READS_PER_NEWCOMER + 1) == 0;
            let (left, queue) = if new > 0 && (is_for_new || known == 0) {
                (&mut new, &mut self.core.newcomers)
            } else {
                (&mut known, &mut self.core.ready)
            };
            if *left == 0 {
                break;
            }
            *left -= 1;
            let Some(slot) = queue.pop_front() else { break };
            let Some(conn) = self.core.id_of(slot) else { continue };
            // Back ends are told to come again; what a WebSocket has to say waits where it is.
            if is_crowded && self.core.slot(conn).is_some_and(|slot| slot.phase == Phase::Ws) {
                self.held.push(slot);
                continue;
            }
            self.core.slots[slot as usize].is_ready = false;
            self.read(conn);
        }
        if self.held.len() > held {
            self.core.count(Counter::ReadsHeld);
        }
        self.core.has_ready()
    }

    /// Whether some wait to be read until less is under way.
    pub(crate) fn holds_reads(&self) -> bool {
        !self.held.is_empty()
    }

    /// One read of one connection. A short one means that the socket is empty: the next bytes make an event.
    fn read(&mut self, conn: ConnId) {
        let Some(slot) = self.core.slot(conn) else { return };
        if slot.is_paused {
            return;
        }
        if slot.phase == Phase::Http {
            // Requests that came with an earlier one, and waited for its answer.
            self.serve_http(conn);
        }
        if self.core.slot(conn).is_none_or(|slot| slot.is_paused || slot.is_ready) {
            return;
        }
        let Some(Some(stream)) = self.streams.get_mut(conn.slot() as usize) else { return };
        let mut buffer = std::mem::take(&mut self.buffer);
        match stream.read(&mut buffer) {
            Ok(0) => self.on_end(conn),
            Ok(bytes) => {
                // The end of the peer's side comes as one event together with its last bytes.
                if bytes == buffer.len()
                    || self.core.slot(conn).is_some_and(|slot| slot.is_peer_done)
                {
                    self.core.make_ready(conn.slot());
                }
                self.receive(conn, &mut buffer[..bytes]);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.core.make_ready(conn.slot())
            }
            Err(error) => self.fail_io(conn, error),
        }
        self.buffer = buffer;
    }

    fn receive(&mut self, conn: ConnId, bytes: &mut [u8]) {
        // What a peer sent after something new was announced is judged by it.
        self.take_notice();
        self.core.timers.touch(conn.slot());
        let Some(slot) = self.core.slot_mut(conn) else { return };
        slot.is_pinged = false;
        match slot.phase {
            Phase::Http => {
                if let Some(http) = self.core.side(conn.slot()).and_then(|side| side.http.as_mut())
                {
                    http.receive(bytes);
                }
                self.serve_http(conn);
            }
            Phase::Ws => self.serve_ws(conn, bytes),
            Phase::Ending | Phase::Finished => {}
        }
    }

    // ── HTTP ──

    /// Serves the requests that have come whole.
    fn serve_http(&mut self, conn: ConnId) {
        let options = self.core.options.clone();
        for _ in 0..REQUEST_SLICE {
            let slot = conn.slot();
            let Some(mut http) = self.core.side(slot).and_then(|side| side.http.take()) else {
                return;
            };
            let served = match http.next(&options.http) {
                Ok(Some(request)) => Ok(Some(self.serve_request(conn, &request))),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            if let Ok(Some(Served::Upgraded)) = served {
                // The WebSocket's side record has no need of HTTP; what came behind the request is its first bytes.
                let mut rest = http.into_rest();
                if let Some(side) = self.core.side(slot).filter(|side| side.deadline.is_none()) {
                    // What stands in the heap was about requests: nothing is kept for it.
                    side.in_heap = None;
                }
                self.core.drop_idle_side(slot);
                self.settle();
                return self.serve_ws(conn, &mut rest);
            }
            let interim = http.take_output();
            if let Some(side) = self.core.side(slot) {
                side.http = Some(http);
            }
            if let Some(interim) = interim {
                self.core.append(slot, interim);
            }
            match served {
                Ok(Some(_)) => self.settle(),
                Ok(None) => return self.mind_request_deadline(conn),
                Err(error) => return self.fail_http(conn, error),
            }
            if !self.is_next_request_due(conn) {
                return;
            }
        }
        // The next turn goes on before it reads more.
        self.core.make_ready(conn.slot());
    }

    /// After a request: whether the next one may be read. One that waits for its answer is not read past a limit.
    fn is_next_request_due(&mut self, conn: ConnId) -> bool {
        if self.core.slot(conn).is_none_or(|slot| slot.phase != Phase::Http) {
            return false;
        }
        let Some(http) = self.core.side(conn.slot()).and_then(|side| side.http.as_ref()) else {
            return false;
        };
        if http.is_awaiting_response() {
            // `answer_request` goes on from here.
            self.core.slots[conn.slot() as usize].is_paused = true;
            return false;
        }
        true
    }

    fn serve_request(&mut self, conn: ConnId, request: &Request<'_>) -> Served {
        self.core.count(Counter::HttpRequests);
        if let Some(side) = self.core.side(conn.slot()) {
            (side.deadline, side.is_request_begun, side.has_asked) = (None, false, true);
        }
        if !handshake::is_upgrade(request) {
            self.call_unsettled(conn, request);
            return Served::Request;
        }
        let mut offer = match Offer::read(request) {
            Ok(offer) => offer,
            Err(error) => {
                self.core.count(Counter::HandshakesRefused);
                self.core.respond(conn, error.response());
                return Served::Request;
            }
        };
        match self.ask_upgrade(conn, request) {
            Upgrade::Refuse(response) => {
                self.core.count(Counter::UpgradesRefused);
                self.core.respond(conn, response);
                Served::Request
            }
            Upgrade::Accept { subprotocol, headers } => {
                let headers: Vec<_> =
                    headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                let slot = &mut self.core.slots[conn.slot() as usize];
                (slot.phase, slot.standing) = (Phase::Ws, Standing::In);
                if self.core.options.compression.is_some() {
                    slot.ws =
                        ws::Protocol::new(ws::Role::Server).with_deflate(offer.agree_to_deflate());
                }
                self.core.chains.append_own(conn.slot(), &mut slot.chain, |out| {
                    offer.accept(subprotocol.as_deref(), &headers, out);
                });
                self.core.count(Counter::WsOpened);
                self.call(conn, Some(request), |handler, conn| handler.on_open(conn));
                self.learn_patience(conn);
                Served::Upgraded
            }
        }
    }

    fn call_unsettled(&mut self, conn: ConnId, request: &Request<'_>) {
        self.call_only(conn, None, |handler, conn| handler.on_request(conn, request));
    }

    fn ask_upgrade(&mut self, conn: ConnId, request: &Request<'_>) -> Upgrade {
        let mut upgrade = Upgrade::Refuse(Response::text(500, "internal error\n").closing());
        self.call_only(conn, None, |handler, _| upgrade = handler.on_upgrade(request));
        upgrade
    }

    /// Writes the answer to the request in hand, and goes on to the next one.
    pub(super) fn answer_request(&mut self, conn: ConnId, response: &Response) {
        if self.core.slot(conn).is_none_or(|slot| slot.phase != Phase::Http) {
            return;
        }
        let Some(mut http) = self.core.side(conn.slot()).and_then(|side| side.http.take()) else {
            return;
        };
        let is_expected = http.is_awaiting_response();
        let mut is_closing = http.is_closing();
        if is_expected {
            let slot = &mut self.core.slots[conn.slot() as usize];
            self.core
                .chains
                .append_own(conn.slot(), &mut slot.chain, |out| http.respond(response, out));
            is_closing = http.is_closing() || self.core.is_stopping;
        }
        let is_interim = http.is_awaiting_response();
        let most = self.core.options.outbox_bytes / 4;
        let Some(side) = self.core.side(conn.slot()) else { return };
        side.http = Some(http);
        // With more than that waiting, `flush_outbox` goes on from here.
        let is_small = side.outbox.held_bytes() <= most;
        if is_closing {
            self.end(conn);
        } else if is_expected && !is_interim {
            self.mind_request_deadline(conn);
            if is_small {
                self.core.unpause(conn.slot());
            }
        }
    }

    /// A request that has begun must arrive in time; between requests, a longer time runs.
    fn mind_request_deadline(&mut self, conn: ConnId) {
        let Some(side) = self.core.side(conn.slot()) else { return };
        let Some(http) = side.http.as_ref() else { return };
        let is_begun = http.is_mid_request();
        let was_begun = std::mem::replace(&mut side.is_request_begun, is_begun);
        let is_set = side.deadline.is_some();
        let options = &self.core.options;
        let patience = match (was_begun, is_begun) {
            (true, true) => return,
            (false, true) => options.request_deadline,
            // The deadline that `accept` set, or an earlier answer.
            (false, false) if is_set => return,
            (_, false) => options.keep_alive,
        };
        let deadline = self.core.now.instant + patience;
        self.core.set_deadline(conn, deadline);
    }

    /// Answers an HTTP error with its status and ends the connection.
    pub(super) fn fail_http(&mut self, conn: ConnId, error: http::ProtocolError) {
        self.core.count(Counter::HttpErrors);
        self.call(conn, None, |handler, conn| handler.on_error(conn, &ConnError::Http(error)));
        let Some(mut http) = self.core.side(conn.slot()).and_then(|side| side.http.take()) else {
            return;
        };
        let slot = &mut self.core.slots[conn.slot() as usize];
        self.core.chains.append_own(conn.slot(), &mut slot.chain, |out| http.refuse(&error, out));
        self.end(conn);
    }

    /// Ends a connection between requests, after the answers that are still to be written.
    pub(super) fn end_http(&mut self, conn: ConnId) {
        let is_unsent =
            self.core.slot(conn).is_some_and(|slot| !slot.chain.is_empty() || slot.has_outbox);
        if is_unsent { self.end(conn) } else { self.drop_connection(conn, None) }
    }

    // ── WebSocket ──

    fn serve_ws(&mut self, conn: ConnId, bytes: &mut [u8]) {
        let limits = self.message_limits(conn);
        let mut input = Input { bytes };
        let mut is_new = false;
        loop {
            let scratch = &mut self.scratch;
            let Some(slot) = self.core.slot_mut(conn).filter(|slot| slot.phase == Phase::Ws) else {
                return;
            };
            let was_open = slot.ws.state() == ws::State::Open;
            scratch.clear();
            let mut reply = Reply { bytes: scratch, masking_key: [0; 4] };
            let inflater = &mut self.inflater;
            let event = slot.ws.receive_with(inflater, &mut input, &limits, &mut reply);
            // A control frame between two fragments ends nothing.
            is_new |= !slot.ws.is_mid_message();
            match event {
                Ok(None) => return self.mind_message_deadline(conn, is_new),
                Ok(Some(Event::Message(message))) => {
                    self.core.count(Counter::WsMessages);
                    self.call(conn, None, |handler, conn| handler.on_message(conn, message));
                    // The messages of one read may each be an event for everybody here.
                    if self.core.is_heavy() {
                        self.flush();
                    }
                }
                Ok(Some(Event::Ping(_))) => {
                    self.core.count(Counter::PingsReceived);
                    self.append_scratch(conn);
                }
                Ok(Some(Event::Pong(_))) => slot.answers_pings = true,
                Ok(Some(Event::Close(frame))) => return self.end_ws(conn, frame.as_ref()),
                Err(error) => return self.fail_ws(conn, error, was_open),
            }
        }
    }

    fn message_limits(&mut self, conn: ConnId) -> ws::Limits {
        let mut bytes = None;
        if let Some(tag) = self.core.slot(conn).map(|slot| slot.tag) {
            self.call_only(conn, None, |handler, _| bytes = handler.message_bytes(tag));
        }
        bytes.map_or_else(
            || self.core.options.ws.clone(),
            |message_bytes| ws::Limits { message_bytes },
        )
    }

    fn append_scratch(&mut self, conn: ConnId) {
        if let Some(slot) = self.core.slots.get_mut(conn.slot() as usize) {
            let scratch = &self.scratch;
            self.core
                .chains
                .append_own(conn.slot(), &mut slot.chain, |out| out.extend_from_slice(scratch));
        }
    }

    /// Both close frames are exchanged, ours with what is flushed next.
    fn end_ws(&mut self, conn: ConnId, frame: Option<&CloseFrame<'_>>) {
        self.append_scratch(conn);
        self.tell_closed(conn, frame);
        self.end(conn);
    }

    /// The peer broke the rules. The handler may say something first; then our close frame follows, and the end.
    pub(super) fn fail_ws(&mut self, conn: ConnId, error: ws::ProtocolError, was_open: bool) {
        self.core.count(Counter::WsErrors);
        self.core.leave_all(conn, Lacking::Dropped);
        let close_frame = std::mem::take(&mut self.scratch);
        let is_closed_by_handler = self.last_words(conn, &ConnError::Ws(error), was_open);
        self.scratch = close_frame;
        if !is_closed_by_handler {
            self.append_scratch(conn);
        }
        self.tell_closed(conn, None);
        self.end(conn);
    }

    /// Tells the handler about an error. If our close frame is not sent yet, the handler may still send something,
    /// although the protocol has ended. True if it sent a close frame of its own.
    fn last_words(&mut self, conn: ConnId, error: &ConnError, may_send: bool) -> bool {
        let Some(slot) = self.core.slot_mut(conn) else { return false };
        if may_send {
            slot.ws = ws::Protocol::new(ws::Role::Server);
        }
        self.call(conn, None, |handler, conn| handler.on_error(conn, error));
        may_send && self.core.slot(conn).is_some_and(|slot| slot.ws.state() != ws::State::Open)
    }

    // ── the end ──

    /// Nothing more will be said to this connection but what is queued.
    fn end(&mut self, conn: ConnId) {
        let Some(slot) = self.core.slot_mut(conn) else { return };
        slot.phase = Phase::Ending;
        slot.is_paused = false;
        let is_silent = slot.chain.is_empty() && !slot.has_outbox;
        self.core.make_ready(conn.slot());
        if let Some(side) = self.core.side(conn.slot()) {
            side.http = None;
        }
        self.core.set_deadline(conn, self.core.now.instant + self.core.options.closing_deadline);
        if is_silent {
            self.finish(conn);
        }
    }

    /// All is written: our side is finished. The peer's end, or the deadline, drops the connection.
    pub(super) fn finish(&mut self, conn: ConnId) {
        let Some(Some(stream)) = self.streams.get_mut(conn.slot() as usize) else { return };
        let Some(slot) = self.core.slot_mut(conn) else { return };
        let is_peer_done = slot.is_peer_done;
        slot.phase = Phase::Finished;
        stream.finish();
        if is_peer_done {
            // Its end may stand behind bytes that nobody has read: they are, and then the end is found.
            self.core.make_ready(conn.slot());
        }
    }

    /// The peer finished its side.
    fn on_end(&mut self, conn: ConnId) {
        let Some(slot) = self.core.slot_mut(conn) else { return };
        slot.is_peer_done = true;
        let is_unsent = !slot.chain.is_empty() || slot.has_outbox;
        match slot.phase {
            // A client may half-close and still wait for its answer.
            Phase::Http => self.end_http(conn),
            Phase::Ending if is_unsent => {}
            _ => self.drop_connection(conn, None),
        }
    }

    /// The socket failed.
    pub(super) fn fail_io(&mut self, conn: ConnId, error: io::Error) {
        // A peer that vanishes is the way of the world, not an error of the application.
        let is_gone = matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::ConnectionAborted
        );
        self.core.count(Counter::SocketErrors);
        if !is_gone && self.core.slot(conn).is_some_and(Slot::is_open) {
            self.call(conn, None, |handler, conn| handler.on_error(conn, &ConnError::Io(error)));
        }
        self.drop_connection(conn, None);
    }

    /// The peer does not read: what has not begun to be written is dropped, and the connection closed.
    pub(super) fn fail_slow(&mut self, conn: ConnId, limit: usize) {
        let Some(queued) = self.core.side(conn.slot()).map(|side| side.outbox.held_bytes()) else {
            return;
        };
        self.core.count(Counter::SlowConsumers);
        self.core.leave_all(conn, Lacking::Dropped);
        if let Some(side) = self.core.side(conn.slot()) {
            side.outbox.keep_begun();
        }
        self.call(conn, None, |handler, conn| {
            handler.on_error(conn, &ConnError::SlowConsumer { queued, limit })
        });
        let code = self.core.options.slow_consumer_code;
        self.core.close(conn, code, "the connection does not keep up");
        self.tell_closed(conn, None);
        self.end(conn);
    }
}
