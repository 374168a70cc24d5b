//! `stentor listen CHANNEL…`: prints events as they come, and stays connected as pusher-js would.
//!
//! ```text
//!        ┌──────────────── 42xx: at once · 41xx, others, lost: after 1 s ───────────────┐
//!        ▼                                                                              │
//!   open socket ─▶ connection_established ─▶ subscribe ─▶ events ─▶ closed ─┬───────────┘
//!                                              silence: ping, then 30 s     └─ 40xx, 43xx and above: give up
//! ```

use std::borrow::Cow;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::address::Address;
use super::interrupt::Interrupt;
use super::socket::{Received, Socket};
use super::trust::{self, Trust};
use super::{Failure, TargetArgs, say, tell};
use crate::app::unix_seconds;
use crate::config::Config;
use crate::pusher::message::{self, ServerMessage};
use crate::pusher::signature::channel_signature;

/// How long any message may take after our ping.
const PONG_PATIENCE: Duration = Duration::from_secs(30);
/// How long the first message may take.
const GREETING_PATIENCE: Duration = Duration::from_secs(15);
/// The pause before a connection that was lost is opened again.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause between attempts that fail; it doubles up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(16);

/// What a server says to pages that `apps.allowed_origins` does not name.
const ORIGIN_REFUSED: &str = "Origin not allowed";

/// What the names of presence channels begin with.
const PRESENCE: &str = "presence-";

#[derive(Args, Debug)]
#[command(after_help = "\
Prints `12:00:01 channel event data`, times in UTC. Comes back when the
connection is lost; Ctrl-C ends it. Subscribes to private and presence
channels too, where the secret is known.

Examples:
  Two channels of the server here, until Ctrl-C:
    stentor listen news sport
  The next event as JSON:
    stentor listen news --json --count 1
  Those who come and go, and being one of them:
    stentor listen presence-room --user me
  A server elsewhere, by the key of its app:
    stentor listen news --url wss://ws.example.com --key k
  One whose certificate is by an authority of your own:
    stentor listen news --url wss://ws.internal --ca authority.pem")]
pub(super) struct ListenArgs {
    /// The channels to subscribe to
    #[arg(required = true)]
    channels: Vec<String>,
    /// Print one JSON object per line: time, channel, event, data
    #[arg(long)]
    json: bool,
    /// Join presence channels as this user; the others there see it come and go
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// The page to come from, where apps.allowed_origins lets only some in
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// End after this many events; what the protocol says itself does not count
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    target: TargetArgs,
}

pub(super) fn run(config: &Config, args: &ListenArgs) -> Result<(), Failure> {
    let is_presence = |channel: &&String| channel.starts_with(PRESENCE);
    if let (Some(channel), None) = (args.channels.iter().find(is_presence), &args.user) {
        return Err(Failure::Usage(format!(
            "{channel} is a presence channel, whose members see each other; say by --user ID as whom to join it"
        )));
    }
    let address = match &args.target.url {
        Some(url) => Address::parse(url).map_err(Failure::Usage)?,
        None => Address::of(config),
    };
    let trust = Trust::of(args.target.ca.as_deref(), &address)?;
    let app = config.apps().into_iter().next();
    let of_app =
        |given: &Option<String>, part: Option<String>| given.clone().or(part).unwrap_or_default();
    let interrupt = Interrupt::install()
        .map_err(|error| Failure::Run(format!("cannot wait for signals: {error}")))?;
    let mut listener = Listener {
        key: of_app(&args.target.key, app.as_ref().map(|app| app.key.clone())),
        secret: of_app(&args.target.secret, app.map(|app| app.secret.to_string())),
        address,
        trust,
        args,
        interrupt,
        left: args.count,
        refused: 0,
        has_connected: false,
    };
    listener.listen()
}

struct Listener<'a> {
    address: Address,
    trust: Trust,
    key: String,
    secret: String,
    args: &'a ListenArgs,
    interrupt: Interrupt,
    /// Events still to print; `None`: any number.
    left: Option<u64>,
    /// How many channels this connection was refused.
    refused: usize,
    /// Whether this address ever answered: if not, it is likely the wrong one, and trying again is no help.
    has_connected: bool,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// All is printed, or the user had enough.
    Done,
    /// Open it again after a pause.
    Again { pause: Duration, reason: String },
    /// Trying again would not help.
    GiveUp { reason: String },
}

impl Listener<'_> {
    fn listen(&mut self) -> Result<(), Failure> {
        let mut failures = 0;
        loop {
            let pause = match self.connect() {
                Ok(socket) => {
                    failures = 0;
                    match self.converse(socket)? {
                        End::Done => return Ok(()),
                        End::GiveUp { reason } => return Err(Failure::Run(reason)),
                        End::Again { pause, reason } => {
                            tell(&format!("stentor: {reason}; connecting again"));
                            pause
                        }
                    }
                }
                Err(_) if self.interrupt.is_set() => return Ok(()),
                Err(error) if !self.has_connected => {
                    return Err(Failure::Run(self.unreachable(&error)));
                }
                Err(error) => {
                    failures += 1;
                    tell(&format!("stentor: {}; trying again", self.unreachable(&error)));
                    pause_after(failures)
                }
            };
            self.interrupt.wait(pause);
            if self.interrupt.is_set() {
                return Ok(());
            }
        }
    }

    fn connect(&mut self) -> io::Result<Socket> {
        let version = env!("CARGO_PKG_VERSION");
        let target = format!(
            "{}/app/{}?protocol=7&client=stentor&version={version}",
            self.address.prefix, self.key
        );
        let origin = self.args.origin.as_deref();
        let guard = |tcp: &TcpStream| self.interrupt.guard(tcp);
        let socket = Socket::open(&self.address, &self.trust, &target, origin, guard)?;
        self.has_connected = true;
        Ok(socket)
    }

    fn unreachable(&self, error: &io::Error) -> String {
        let address = &self.address;
        match error.kind() {
            ErrorKind::ConnectionRefused => {
                format!("nothing listens on {address}; is the server running? --url names another")
            }
            ErrorKind::WouldBlock | ErrorKind::TimedOut => format!("{address} does not answer"),
            _ => format!("cannot connect to {address}: {error}{}", trust::hint(error)),
        }
    }

    /// One connection, from its first message to its end. An error is one of our own output.
    fn converse(&mut self, mut socket: Socket) -> Result<End, Failure> {
        let mut patience = Patience { activity: GREETING_PATIENCE, awaited: Awaited::Greeting };
        loop {
            let received = socket.receive(patience.time());
            if self.interrupt.is_set() {
                let _ = socket.close();
                return Ok(End::Done);
            }
            let text = match received {
                Ok(Received::Text(text)) => text,
                Ok(Received::Life) => continue,
                Ok(Received::Closed(frame)) => return Ok(end_of(frame)),
                Ok(Received::Silence) if patience.awaited == Awaited::Anything => {
                    patience.awaited = Awaited::Pong;
                    if socket.send(message::PING.as_bytes()).is_err() {
                        return Ok(lost("the connection is lost"));
                    }
                    continue;
                }
                Ok(Received::Silence) => {
                    let _ = socket.close();
                    return Ok(lost("the server is silent"));
                }
                Err(error) => return Ok(lost(&format!("the connection failed: {error}"))),
            };
            patience.awaited = Awaited::Anything;
            match self.take(&mut socket, &text, &mut patience)? {
                Some(End::Done) => {
                    let _ = socket.close();
                    return Ok(End::Done);
                }
                Some(end) => return Ok(end),
                None => {}
            }
        }
    }

    /// Handles one message. `None`: go on.
    fn take(
        &mut self,
        socket: &mut Socket,
        text: &str,
        patience: &mut Patience,
    ) -> Result<Option<End>, Failure> {
        let Ok(message) = ServerMessage::read(text) else {
            tell(&format!("stentor: not a message of the protocol: {text}"));
            return Ok(None);
        };
        let sent = match message.event.as_ref() {
            "pusher:connection_established" => match message.established() {
                Ok(established) => {
                    patience.activity =
                        Duration::from_secs(u64::from(established.activity_timeout.max(1)));
                    self.subscribe(socket, &established.socket_id)
                }
                Err(error) => {
                    return Ok(Some(End::GiveUp {
                        reason: format!("the server's greeting makes no sense: {error}"),
                    }));
                }
            },
            "pusher:ping" => socket.send(message::PONG.as_bytes()),
            "pusher:pong" => Ok(()),
            "pusher_internal:subscription_succeeded" => {
                tell(&format!(
                    "stentor: subscribed to {}",
                    message.channel.as_deref().unwrap_or("-")
                ));
                Ok(())
            }
            "pusher:subscription_error" => {
                tell(&format!("stentor: {}", complaint(&message)));
                self.refused += 1;
                if self.refused == self.args.channels.len() {
                    let reason = "no channel is left to listen to".to_owned();
                    return Ok(Some(End::GiveUp { reason }));
                }
                Ok(())
            }
            "pusher:error" => {
                tell(&format!("stentor: {}", complaint(&message)));
                Ok(())
            }
            _ => return self.print(&message),
        };
        Ok(sent.err().map(|_| lost("the connection is lost")))
    }

    fn subscribe(&mut self, socket: &mut Socket, socket_id: &str) -> io::Result<()> {
        self.refused = 0;
        for channel in &self.args.channels {
            let user = self.args.user.as_ref().filter(|_| channel.starts_with(PRESENCE));
            let member = user.map(|user| serde_json::json!({ "user_id": user }).to_string());
            let is_signed = channel.starts_with("private-") || member.is_some();
            let auth = (is_signed && !self.secret.is_empty()).then(|| {
                let member = member.as_deref();
                let signature = channel_signature(&self.secret, socket_id, channel, member);
                format!("{}:{signature}", self.key)
            });
            let mut out = Vec::new();
            message::write_subscribe(&mut out, channel, auth.as_deref(), member.as_deref());
            socket.send(&out)?;
        }
        Ok(())
    }

    fn print(&mut self, message: &ServerMessage<'_>) -> Result<Option<End>, Failure> {
        say(&line(message, self.args.json, unix_seconds()))?;
        let is_own =
            ["pusher:", "pusher_internal:"].iter().any(|own| message.event.starts_with(own));
        self.left = self.left.map(|left| left - u64::from(!is_own));
        Ok((self.left == Some(0)).then_some(End::Done))
    }
}

/// How long silence may last.
struct Patience {
    activity: Duration,
    awaited: Awaited,
}

/// What the server owes us.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Awaited {
    /// Nothing: we ask for a sign of life once it was silent for the activity timeout.
    Anything,
    /// Its first message.
    Greeting,
    /// An answer to our ping; any message is one.
    Pong,
}

impl Patience {
    fn time(&self) -> Duration {
        match self.awaited {
            Awaited::Anything => self.activity,
            Awaited::Greeting => GREETING_PATIENCE,
            Awaited::Pong => PONG_PATIENCE,
        }
    }
}

fn lost(reason: &str) -> End {
    End::Again { pause: PAUSE, reason: reason.to_owned() }
}

/// What a close frame means to a client of the protocol.
fn end_of(frame: Option<(u16, String)>) -> End {
    let Some((code, text)) = frame else { return lost("the connection was cut") };
    // 4009 alone would not do: whoever does not sign in in time gets it, too.
    let hint = match text.as_str() {
        ORIGIN_REFUSED => "; --origin says whose page to come from",
        _ => "",
    };
    let text = if text.is_empty() { String::new() } else { format!(": {text}") };
    let reason = format!("the server closed with {code}{text}{hint}");
    match code {
        4000..=4099 | 4300..=4999 => End::GiveUp { reason },
        4200..=4299 => End::Again { pause: Duration::ZERO, reason },
        _ => End::Again { pause: PAUSE, reason },
    }
}

fn pause_after(failures: u32) -> Duration {
    PAUSE.saturating_mul(1 << failures.clamp(1, 5).saturating_sub(1)).min(LONGEST_PAUSE)
}

fn complaint(message: &ServerMessage<'_>) -> String {
    let channel =
        message.channel.as_ref().map(|channel| format!(" on {channel}")).unwrap_or_default();
    match message.error() {
        Ok(error) => {
            let code = error.code.map(|code| format!(" {code}")).unwrap_or_default();
            format!("the server says error{code}{channel}: {}", error.message)
        }
        Err(_) => {
            format!("{}{channel}: {}", message.event, message.data.as_deref().unwrap_or_default())
        }
    }
}

/// One event as it is printed.
fn line(message: &ServerMessage<'_>, is_json: bool, now: u64) -> String {
    #[derive(Serialize)]
    struct Line<'l> {
        time: String,
        channel: Option<&'l Cow<'l, str>>,
        event: &'l Cow<'l, str>,
        data: Option<&'l Cow<'l, str>>,
    }
    let (channel, event, data) = (message.channel.as_ref(), &message.event, message.data.as_ref());
    if is_json {
        let line = Line { time: time_stamp(now), channel, event, data };
        return serde_json::to_string(&line).expect("text is JSON");
    }
    let shown =
        |part: Option<&Cow<'_, str>>| part.map_or_else(|| "-".to_owned(), |part| on_one_line(part));
    format!("{} {} {} {}", time_of_day(now), shown(channel), on_one_line(event), shown(data))
}

/// What others publish must not move the cursor of a terminal, nor look like a line of its own.
fn on_one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

fn time_of_day(unix_seconds: u64) -> String {
    let second = unix_seconds % 86_400;
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// RFC 3339, in UTC. The date is counted in years that begin in March, so that a leap day ends its year.
fn time_stamp(unix_seconds: u64) -> String {
    const DAYS_BEFORE_EPOCH: u64 = 719_468; // From 0000-03-01 to 1970-01-01.
    const DAYS_OF_ERA: u64 = 146_097; // 400 years.
    let days = unix_seconds / 86_400 + DAYS_BEFORE_EPOCH;
    let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day_of_month:02}T{}Z", time_of_day(unix_seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(data: &'static str) -> ServerMessage<'static> {
        ServerMessage {
            event: "greet".into(),
            data: Some(data.into()),
            channel: Some("news".into()),
        }
    }

    fn check_end(code: u16, expected: Option<Duration>) {
        let got = match end_of(Some((code, String::new()))) {
            End::Again { pause, .. } => Some(pause),
            _ => None,
        };
        assert_eq!(got, expected, "{code}");
    }

    #[test]
    fn close_codes_decide_when_to_come_back() {
        for code in [4000, 4001, 4009, 4099, 4301, 4999] {
            check_end(code, None);
        }
        for code in [1000, 1001, 1006, 1009, 4100, 4199] {
            check_end(code, Some(PAUSE));
        }
        for code in [4200, 4201, 4299] {
            check_end(code, Some(Duration::ZERO));
        }
        assert_eq!(end_of(None), lost("the connection was cut"));
        let refused = "the server closed with 4009: Origin not allowed; --origin says whose page to come from";
        let reason = refused.to_owned();
        assert_eq!(end_of(Some((4009, "Origin not allowed".to_owned()))), End::GiveUp { reason });
    }

    #[test]
    fn attempts_that_fail_wait_longer_and_longer() {
        let pauses: Vec<_> = (1..=7).map(|failures| pause_after(failures).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 16, 16]);
    }

    #[test]
    fn events_are_printed_with_time_channel_name_and_data() {
        assert_eq!(line(&message("{\"n\":1}"), false, 43_201), "12:00:01 news greet {\"n\":1}");
        let json = r#"{"time":"1970-01-01T12:00:01Z","channel":"news","event":"greet","data":"{\"n\":1}"}"#;
        assert_eq!(line(&message("{\"n\":1}"), true, 43_201), json);
    }

    #[test]
    fn what_others_publish_cannot_drive_the_terminal() {
        assert_eq!(
            line(&message("a\n\u{1b}[2Jb"), false, 0),
            "00:00:00 news greet a\\n\\u{1b}[2Jb"
        );
    }

    #[test]
    fn dates_are_right_at_the_borders_of_years_and_leap_days() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(time_stamp(seconds), expected);
        }
    }
}
