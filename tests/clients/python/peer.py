"""A server under test, two clients, and an application that signs for them with the SDK for Python.

The server and the clients live in `support/python_peer.mjs`; the application is a web server in this process.
"""

import base64
import http.server
import json
import pathlib
import queue
import subprocess
import threading
import unittest
import urllib.parse

import pusher

PEER = pathlib.Path(__file__).parent.parent / "support" / "python_peer.mjs"
SOON = 20
MASTER_KEY = base64.b64encode(bytes([7]) * 32).decode()
#: Who may be logged in; the bearer token is the name.
USERS = {
    "ann": {"id": "7", "info": {"name": "Ann", "words": "Zürich / <b>"}},
    "bob": {"id": 8, "info": {"name": "Bob"}},
}


class Application(http.server.BaseHTTPRequestHandler):
    """Signs for channels and users, as `POST /broadcasting/auth` and `/broadcasting/user-auth` do. Takes webhooks."""

    #: Made once the peer has said which app there is.
    sdk = None
    #: The headers and the body of each webhook.
    webhooks = queue.Queue()

    def do_OPTIONS(self):
        """What a browser asks before its page may ask another origin."""
        self.send_response(204)
        self.allow_pages()
        self.end_headers()

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        if self.path == "/webhooks":
            self.webhooks.put((self.headers, self.rfile.read(length).decode()))
            self.send_response(204)
            self.end_headers()
            return
        fields = dict(urllib.parse.parse_qsl(self.rfile.read(length).decode()))
        user = USERS[self.headers["Authorization"].removeprefix("Bearer ")]
        if self.path.endswith("/user-auth"):
            signed = self.sdk.authenticate_user(fields["socket_id"], {"id": str(user["id"]), "user_info": user["info"]})
        else:
            channel = fields["channel_name"]
            is_presence = channel.startswith("presence-")
            member = {"user_id": user["id"], "user_info": user["info"]} if is_presence else None
            signed = self.sdk.authenticate(channel, fields["socket_id"], member)
        # The SDK gives the shared secret as bytes, which are not JSON.
        body = json.dumps(signed, default=bytes.decode).encode()
        self.send_response(200)
        self.allow_pages()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def allow_pages(self):
        for what, value in {"Origin": "*", "Methods": "POST", "Headers": "authorization, content-type"}.items():
            self.send_header(f"Access-Control-Allow-{what}", value)

    def log_message(self, *_):
        pass


class PeerTest(unittest.TestCase):
    """One server for all tests of a class; each test has channels of its own."""

    #: Both clients are on these.
    CHANNELS = []
    #: Which client they are: pusher-js or laravel-echo.
    KIND = "pusher-js"
    #: Where they live: node or chromium.
    PLACE = "node"

    @classmethod
    def setUpClass(cls):
        cls.application = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Application)
        threading.Thread(target=cls.application.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{cls.application.server_port}"
        cls.peer = subprocess.Popen(
            ["node", str(PEER), address, f"{address}/webhooks", cls.KIND, cls.PLACE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        cls.lines = queue.Queue()
        threading.Thread(target=cls.read, daemon=True).start()
        cls.site = cls.line()
        Application.sdk = cls.sdk()
        for channel in cls.CHANNELS:
            cls.order("subscribe", channel=channel)

    @classmethod
    def tearDownClass(cls):
        cls.peer.stdin.close()
        code = cls.peer.wait(timeout=SOON)
        cls.peer.stdout.close()
        cls.application.shutdown()
        cls.application.server_close()
        if code != 0:
            raise RuntimeError(f"the peer ended with {code}")

    @classmethod
    def read(cls):
        for line in cls.peer.stdout:
            cls.lines.put(json.loads(line))
        cls.lines.put(None)

    @classmethod
    def line(cls):
        """The next line of the peer."""
        line = cls.lines.get(timeout=SOON)
        if line is None:
            raise RuntimeError("the peer ended")
        return line

    @classmethod
    def order(cls, name, **values):
        """Has both clients do something; tells the answer."""
        cls.peer.stdin.write(json.dumps({"do": name, **values}) + "\n")
        cls.peer.stdin.flush()
        answer = cls.line()
        if answer.get("done") != name:
            raise RuntimeError(f"expected an answer to {name}, got {answer}")
        return answer

    @classmethod
    def sdk(cls, **changes):
        app = cls.site["apps"][0]
        settings = {"app_id": app["id"], "key": app["key"], "secret": app["secret"]}
        place = {"host": "127.0.0.1", "port": cls.site["port"], "ssl": False}
        return pusher.Pusher(encryption_master_key_base64=MASTER_KEY, **place, **{**settings, **changes})

    def heard(self, count):
        """The next events, by client, in the order in which each heard them."""
        by_client = {0: [], 1: []}
        for _ in range(count):
            line = self.line()
            by_client[line["client"]].append((line["channel"], line["event"], line.get("data")))
        return by_client

    def assert_both_heard(self, *expected):
        self.assertEqual(self.heard(2 * len(expected)), {0: [*expected], 1: [*expected]})
