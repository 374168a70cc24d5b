//! The `stentor` command from outside: what it prints, how it ends. Needs the feature `pusher`.
#![cfg(feature = "pusher")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as the test does")]

mod stopping;
mod support;
mod tls;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use support::{PATIENCE, Place, Running, answer_once, apps_file, check, end_of, serve, signal};

#[test]
fn version_is_printed() {
    check(&Place::new(), &["version"], 0, &format!("stentor {}\n", env!("CARGO_PKG_VERSION")), "");
}

#[test]
fn help_shows_examples() {
    check(&Place::new(), &["--help"], 0, "stentor trigger news greeting", "");
    check(&Place::new(), &["listen", "--help"], 0, "stentor listen news --json --count 1", "");
}

#[test]
fn a_flag_nobody_knows_ends_with_2() {
    check(&Place::new(), &["--prot", "1"], 2, "", "unexpected argument '--prot'");
    check(&Place::new(), &["listen"], 2, "", "<CHANNELS>...");
}

#[test]
fn check_says_what_is_in_force_and_from_where() {
    let place = Place::new().with(".env", "REVERB_SERVER_PORT=6001\nREVERB_HOST=example.com\n");
    let ran = place.run(&["check", "--cores", "3"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let line = |name: &str| ran.out.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    assert!(
        line("server.port").contains("6001") && line("server.port").ends_with(".env:1"),
        "{ran:#?}"
    );
    assert!(line("server.cores").ends_with("flag --cores"), "{ran:#?}");
    assert!(line("apps.secret").contains("(hidden)"), "{ran:#?}");
    assert!(ran.out.contains("tells your application where to publish"), "{ran:#?}");
}

#[test]
fn check_shows_the_webhooks_of_an_app_and_nothing_secret() {
    let place = Place::new().with(
        "stentor.toml",
        "[[apps]]\nid = \"1\"\nkey = \"k\"\nsecret = \"hush-1\"\n[[apps.webhooks]]\n\
         url = \"https://example.com/hooks?token=hush-2\"\nevents = [\"cache_miss\"]\n\
         headers = { \"X-My\" = \"hush-3\" }\n[webhooks]\nwindow = 10\n",
    );
    let ran = place.run(&["check"]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let line = |name: &str| ran.out.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    let url = line("apps.webhooks.url");
    assert!(
        url.contains("https://example.com/hooks?…") && url.ends_with("stentor.toml:5"),
        "{url}"
    );
    assert!(line("apps.webhooks.events").ends_with(" cache_miss"), "{ran:#?}");
    assert!(line("apps.webhooks.headers").ends_with(" X-My: (hidden)"), "{ran:#?}");
    assert!(line("webhooks.window").ends_with("stentor.toml:10"), "{ran:#?}");
    assert!(!ran.out.contains("hush"), "{ran:#?}");
}

#[test]
fn an_unknown_key_names_the_nearest_with_its_line() {
    let place = Place::new().with("stentor.toml", "[server]\nprot = 1\n");
    check(
        &place,
        &["check"],
        2,
        "",
        "stentor.toml:2: unknown key `prot` in [server]; did you mean `port`?",
    );
}

#[test]
fn the_file_of_a_flag_is_read_and_must_be_there() {
    let place = Place::new().with("other.toml", "[server]\nport = 7\n");
    check(&place, &["check", "--config", "other.toml"], 0, "other.toml:2", "");
    check(&place, &["check", "--config", "none.toml"], 2, "", "none.toml: cannot be read");
}

#[test]
fn two_apps_with_one_key_are_refused() {
    let app = |id| format!("[[apps]]\nid = \"{id}\"\nkey = \"k\"\nsecret = \"s\"\n");
    let place = Place::new().with("stentor.toml", &(app(1) + &app(2)));
    check(&place, &["check"], 2, "", "two apps have the key `k`");
}

#[test]
fn a_public_address_with_the_development_secret_is_refused() {
    for command in ["serve", "check"] {
        check(&Place::new(), &[command, "--host", "0.0.0.0"], 2, "", "run `stentor secret`");
    }
}

#[test]
fn a_fresh_secret_makes_a_sound_file_for_a_public_address() {
    let fresh = Place::new().run(&["secret"]);
    let file = fresh.out.split("\n\n").next().unwrap();
    let place = Place::new().with("stentor.toml", file);
    check(&place, &["check", "--host", "0.0.0.0"], 0, "The settings are sound.", "");
}

#[test]
fn nobody_there_is_said_and_ends_with_1() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    check(
        &Place::new(),
        &["trigger", "a", "b", "c", "--url", &free],
        1,
        "",
        "nothing listens on http://127.0.0.1:",
    );
    check(
        &Place::new(),
        &["listen", "a", "--url", &free],
        1,
        "",
        "nothing listens on http://127.0.0.1:",
    );
}

#[test]
fn trigger_signs_and_prints_the_answer() {
    let (address, served) =
        answer_once("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}");
    check(
        &Place::new(),
        &["trigger", "news", "hi", "{}", "--url", &address, "--app-id", "7"],
        0,
        "{}\n",
        "",
    );
    let request = served.join().unwrap();
    assert!(
        request.starts_with("POST /apps/7/events?auth_key=app-key&auth_timestamp="),
        "{request}"
    );
    assert!(
        request.contains("&auth_signature=")
            && request.ends_with(r#"{"name":"hi","channels":["news"],"data":"{}"}"#)
    );
}

#[test]
fn trigger_shows_a_refusal_and_ends_with_1() {
    let answer =
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\nConnection: close\r\n\r\nwrong key";
    let (address, served) = answer_once(answer);
    check(
        &Place::new(),
        &["trigger", "a", "b", "c", "--url", &address],
        1,
        "",
        "answered 401: wrong key",
    );
    served.join().unwrap();
}

#[test]
fn serve_greets_and_ends_in_order_on_a_signal() {
    use rustix::process::Signal;
    for signal in [Signal::TERM, Signal::INT] {
        let (running, _) = serve(&Place::new());
        running.expect("REVERB_APP_SECRET=app-secret");
        running.signal(signal);
        assert_eq!(running.end(), Some(0));
    }
}

/// The number in the line that says how many connections the machine will bear.
#[track_caller]
fn bears(running: &Running) -> (u64, String) {
    let line = running.expect("This machine will bear about ");
    let digits = line.chars().filter(char::is_ascii_digit);
    let before = line.split("connections").next().unwrap();
    let count =
        digits.take(before.chars().filter(char::is_ascii_digit).count()).collect::<String>();
    (count.parse().unwrap(), line)
}

/// The command with these limits of open files, soft and hard.
fn with_open_files(place: &Place, soft: u64, hard: u64, arguments: &[&str]) -> Command {
    let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$0\" \"$@\"");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_stentor")]).args(arguments);
    command.current_dir(&place.0).stdin(Stdio::null()).env_clear();
    command
}

#[test]
fn serve_raises_the_soft_limit_of_open_files_and_says_what_it_came_to() {
    let place = Place::new();
    let serve = ["serve", "--port", "0", "--cores", "2"];
    let of_all = [&serve[..], &["--own-descriptor-tables=false"]].concat();
    // 64 for the process and 4 for each core.
    let each = 512 - 64 - 2 * 4;
    let (count, line) = bears(&Running::start(with_open_files(&place, 128, 512, &of_all)));
    assert_eq!(count, each, "{line}");
    let running = Running::start(with_open_files(&place, 128, 512, &serve));
    let (count, line) = bears(&running);
    // Linux has tables of descriptors for threads, unless a sandbox forbids them.
    assert_eq!(count, 2 * each, "{line}");
    assert!(line.contains("for each of 2 cores"), "{line}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", running.child.id())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<_> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["512", "512"], "soft and hard: {files}");
}

#[test]
fn with_tables_of_their_own_the_limit_counts_for_each_core() {
    let place = Place::new();
    let serve = ["serve", "--port", "0", "--cores", "64", "--own-descriptor-tables"];
    let running = Running::start(with_open_files(&place, 512, 512, &serve));
    let (count, line) = bears(&running);
    assert_eq!(count, 64 * (512 - 64 - 64 * 4), "{line}");
    assert!(line.contains("for each of 64 cores"), "{line}");
    running.signal(rustix::process::Signal::TERM);
    assert_eq!(running.end(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn pinned_cores_stay_on_one_cpu_each() {
    let place = Place::new();
    let running = Running::start(place.command(&["serve", "--port", "0", "--cores", "3", "--pin"]));
    let line = running.expect("listens on http://127.0.0.1:");
    let port = line.split("127.0.0.1:").nth(1).unwrap().split(' ').next().unwrap();
    // No core accepts before all are where they stay.
    let mut tcp = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    tcp.write_all(b"GET /up HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let mut pinned = 0;
    for task in std::fs::read_dir(format!("/proc/{}/task", running.child.id())).unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
            line.trim().to_owned()
        };
        if value("Name:").starts_with("stentor-") {
            let cpus = value("Cpus_allowed_list:");
            assert!(cpus.parse::<u32>().is_ok(), "one CPU, and not {cpus}");
            pinned += 1;
        }
    }
    assert_eq!(pinned, 3);
}

#[test]
fn serve_says_which_address_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    check(&Place::new(), &["serve", "--port", &port], 1, "", "another program listens there");
}

#[test]
fn an_event_that_is_triggered_is_heard() {
    let place = Place::new();
    let (server, port) = serve(&place);
    let url = format!("http://127.0.0.1:{port}");
    let listener =
        Running::start(place.command(&["listen", "news", "--json", "--count", "1", "--url", &url]));
    listener.expect("subscribed to news");
    check(&place, &["trigger", "news", "hi", "{\"n\":1}", "--url", &url], 0, "{}", "");
    let heard = listener.expect("\"event\"");
    assert!(heard.ends_with(r#""channel":"news","event":"hi","data":"{\"n\":1}"}"#), "{heard}");
    assert_eq!(listener.end(), Some(0));
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn listen_with_a_wrong_key_gives_up() {
    let place = Place::new();
    let (_server, port) = serve(&place);
    let url = format!("http://127.0.0.1:{port}");
    check(
        &place,
        &["listen", "news", "--key", "nobody", "--url", &url],
        1,
        "",
        "the server closed with 4001",
    );
}

#[test]
fn listen_ends_in_order_on_a_signal() {
    let place = Place::new();
    let (_server, port) = serve(&place);
    let url = format!("http://127.0.0.1:{port}");
    let listener = Running::start(place.command(&["listen", "news", "--url", &url]));
    listener.expect("subscribed to news");
    listener.signal(rustix::process::Signal::INT);
    assert_eq!(listener.end(), Some(0));
}

#[test]
fn listen_comes_back_when_the_server_does() {
    let place = Place::new();
    let (server, port) = serve(&place);
    let url = format!("http://127.0.0.1:{port}");
    let listener =
        Running::start(place.command(&["listen", "news", "--count", "1", "--url", &url]));
    listener.expect("subscribed to news");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.end(), Some(0));
    let _again = Running::start(place.command(&["serve", "--port", &port, "--cores", "2"]));
    listener.expect("connecting again");
    listener.expect("subscribed to news");
    check(&place, &["trigger", "news", "hi", "{}", "--url", &url], 0, "{}", "");
    assert_eq!(listener.end(), Some(0));
}

#[test]
fn a_reload_changes_the_apps_and_keeps_the_connections() {
    let before = apps_file(&[("1", "k1", "hush-1"), ("2", "k2", "hush-2")], "");
    let place = Place::new().with("stentor.toml", &before);
    let (server, port) = serve(&place);
    let url = format!("http://127.0.0.1:{port}");
    let listen = |key: &str| {
        let command = ["listen", "news", "--key", key, "--url", &url];
        let listener = Running::start(place.command(&command));
        listener.expect("subscribed to news");
        listener
    };
    let (stays, goes) = (listen("k1"), listen("k2"));
    let more = "[server]\nlog = \"warn\"\n[limits]\nkeep_alive = 7\n";
    let after = apps_file(
        &[("1", "k1", "hush-9\"\nmax_message_bytes = \"1MiB"), ("3", "k3", "hush-3")],
        more,
    )
    .replace("id = \"3\"", "id = \"3\"\nmax_subscriptions = 2000");
    std::fs::write(place.0.join("stentor.toml"), after).unwrap();
    server.signal(rustix::process::Signal::HUP);
    let line = server.expect("reloaded: ");
    assert!(
        line.ends_with(
            "reloaded: added app 3; removed app 2; changed app 1 (secret, max_message_bytes); \
             waiting for a restart: server.log, limits.keep_alive, apps.max_subscriptions"
        ),
        "{line}"
    );
    goes.expect("the server closed with 4001");
    let trigger = ["trigger", "news", "hi", "{}", "--app-id", "1", "--key", "k1", "--url", &url];
    let with = |secret| [&trigger[..], &["--secret", secret]].concat();
    check(&place, &with("hush-1"), 1, "", "answered 401");
    check(&place, &with("hush-9"), 0, "{}", "");
    stays.expect("hi");
    drop((stays, listen("k3")));
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn listen_joins_presence_channels_as_the_user_it_is_told() {
    let place = Place::new();
    let (_server, port) = serve(&place);
    let url = format!("http://127.0.0.1:{port}");
    check(&place, &["listen", "presence-r", "--url", &url], 2, "", "say by --user ID");
    let listen = ["listen", "presence-r", "--user", "a\"b", "--url", &url, "--count", "1"];
    let listener = Running::start(place.command(&listen));
    listener.expect("subscribed to presence-r");
    let other = ["listen", "presence-r", "--user", "other", "--url", &url];
    let other = Running::start(place.command(&other));
    listener.expect("member_added");
    check(&place, &["trigger", "presence-r", "hi", "{}", "--url", &url], 0, "{}", "");
    listener.expect("hi");
    assert_eq!(listener.end(), Some(0), "one event, besides what the protocol said");
    other.expect("hi");
}

#[test]
fn listen_ends_when_every_channel_is_refused() {
    let place = Place::new();
    let (_server, port) = serve(&place);
    let url = format!("http://127.0.0.1:{port}");
    let listen = ["listen", "private-a", "--secret", "nope", "--url", &url];
    check(&place, &listen, 1, "", "no channel is left to listen to");
}

#[test]
fn a_reload_without_the_file_of_the_start_changes_nothing() {
    let place = Place::new().with("stentor.toml", &apps_file(&[("1", "k1", "hush-1")], ""));
    let (server, _) = serve(&place);
    std::fs::rename(place.0.join("stentor.toml"), place.0.join("elsewhere")).unwrap();
    server.signal(rustix::process::Signal::HUP);
    let line = server.expect("not reloaded: ");
    assert!(line.contains("stentor.toml: it was read at the start and is gone"), "{line}");
    std::fs::rename(place.0.join("elsewhere"), place.0.join("stentor.toml")).unwrap();
    server.signal(rustix::process::Signal::HUP);
    server.expect("reloaded: nothing has changed");
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn webhooks_go_where_a_reload_says() {
    let (back_end, served) = answer_once("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let place = Place::new().with("stentor.toml", &apps_file(&[("1", "k1", "hush-1")], ""));
    let (server, port) = serve(&place);
    let with_target = format!(
        "{}[[apps.webhooks]]\nurl = \"http://{back_end}/\"\nevents = [\"channel_occupied\"]\n",
        apps_file(&[("1", "k1", "hush-1")], "")
    );
    std::fs::write(place.0.join("stentor.toml"), with_target).unwrap();
    server.signal(rustix::process::Signal::HUP);
    let line = server.expect("reloaded: ");
    assert!(line.ends_with("reloaded: changed app 1 (webhooks)"), "{line}");
    let listen = ["listen", "news", "--key", "k1", "--url", &format!("http://127.0.0.1:{port}")];
    let listener = Running::start(place.command(&listen));
    let (tell, told) = channel();
    thread::spawn(move || tell.send(served.join()));
    let request = told.recv_timeout(PATIENCE).expect("the webhook comes").unwrap();
    let events = r#""events":[{"name":"channel_occupied","channel":"news"}]"#;
    assert!(request.contains(events), "{request}");
    drop(listener);
    server.signal(rustix::process::Signal::TERM);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_reload_of_wrong_settings_says_every_mistake_and_changes_nothing() {
    let sound = apps_file(&[("1", "k1", "hush-1")], "");
    let place = Place::new().with("stentor.toml", &sound);
    let (server, port) = serve(&place);
    let url = format!("http://127.0.0.1:{port}");
    let listen = ["listen", "news", "--key", "k1", "--count", "1", "--url", &url];
    let listener = Running::start(place.command(&listen));
    listener.expect("subscribed to news");
    let wrong = [
        (
            apps_file(&[("2", "k2", "s")], "[server]\nprot = 1\n[limits]\nheaders = \"x\"\n"),
            &["limits.headers", "unknown key `prot`"][..],
        ),
        (apps_file(&[("1", "k", "s"), ("2", "k", "s")], ""), &["two apps have the key `k`"][..]),
        ("[[apps]\n".to_owned(), &["stentor.toml:1"][..]),
    ];
    for (text, mistakes) in wrong {
        std::fs::write(place.0.join("stentor.toml"), text).unwrap();
        server.signal(rustix::process::Signal::HUP);
        for mistake in mistakes {
            let line = server.expect(mistake);
            assert!(line.contains("ERROR") && line.contains("not reloaded: "), "{line}");
        }
        server.expect("the settings stay as they were");
    }
    // The file is wrong now; the command line says what the server still knows.
    let place = place.with("stentor.toml", &sound);
    let trigger = ["trigger", "news", "hi", "{}", "--url", &url];
    check(&place, &trigger, 0, "{}", "");
    listener.expect("hi");
    assert_eq!(listener.end(), Some(0));
    server.signal(rustix::process::Signal::HUP);
    server.expect("reloaded: nothing has changed");
}

#[test]
fn the_page_goes_with_the_development_app() {
    let place = Place::new();
    let (server, port) = serve(&place);
    let status = || {
        let mut tcp = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.write_all(
            b"GET /dashboard/apps HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(status().contains("app-key"));
    let place = place.with("stentor.toml", &apps_file(&[("1", "k1", "hush-1")], ""));
    server.signal(rustix::process::Signal::HUP);
    server.expect("reloaded: changed app 1 (key, secret)");
    assert!(status().starts_with("HTTP/1.1 404 "), "it would sign for an app of one's own");
    let on = apps_file(&[("1", "k2", "hush-2")], "[dashboard]\nenabled = true\n");
    let _place = place.with("stentor.toml", &on);
    server.signal(rustix::process::Signal::HUP);
    server.expect("changed dashboard.enabled");
    assert!(status().contains("k2"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_that_is_closed_ends_the_server_in_order() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let theirs = std::fs::File::options().read(true).write(true).open(name).unwrap();
    let place = Place::new();
    let mut command = place.command(&["serve", "--port", "0", "--cores", "2"]);
    command.stdin(theirs.try_clone().unwrap());
    command.stdout(theirs.try_clone().unwrap()).stderr(theirs);
    let child = command.spawn().unwrap();
    // Ours is the only other end.
    drop(command);
    let mut screen = BufReader::new(std::fs::File::from(ours));
    let mut line = String::new();
    while !line.contains("Ctrl-C ends it.") {
        line.clear();
        screen.read_line(&mut line).unwrap();
    }
    drop(screen);
    signal(&child, rustix::process::Signal::HUP);
    assert_eq!(end_of(child), Some(0));
}
