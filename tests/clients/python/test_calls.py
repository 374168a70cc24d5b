"""Every call that the official SDK for Python has, at least once.

The list is the SDK's own: a version with one more fails here until it has a test.
"""

import hashlib
import hmac
import json
import os
import time
import unittest
import unittest.mock

import pusher

from peer import MASTER_KEY, PeerTest

SEALED = "private-encrypted-desk"
ROOM = "presence-room"
#: The vendor's own example, and the HMAC of its text as the vendor's document signs it.
VENDOR = {"app_id": "3", "key": "278d425bdf160c739803", "secret": "7ad3773142a6692b25b8"}
WEBHOOK = '{"time_ms":1327078148132,"events":[{"name":"channel_occupied","channel":"my-channel"}]}'
WEBHOOK_SIGNATURE = "c19001ae3963ccb13bf618e5b16ba9848e7e74df0993aa0689168e341c6833cf"


class Calls(PeerTest):
    """Ann and Bob are on each channel."""

    CHANNELS = ["orders", "private-desk", SEALED, ROOM]

    def place(self):
        """The server as a URL, without its port: the SDK has no way to read one there."""
        app = self.site["apps"][0]
        return f"http://{app['key']}:{app['secret']}@127.0.0.1/apps/{app['id']}"

    def test_trigger(self):
        self.assertEqual(self.sdk().trigger("orders", "one", {"id": 7}), {})
        self.assert_both_heard(("orders", "one", {"id": 7}))
        self.sdk().trigger(SEALED, "sealed", {"to": "Zoë"})
        self.assert_both_heard((SEALED, "sealed", {"to": "Zoë"}))
        self.sdk().trigger("orders", "excluded", 1, self.site["socket_ids"][1])
        self.assertEqual(self.heard(1), {0: [("orders", "excluded", 1)], 1: []})
        self.sdk().trigger(["private-desk", "nobody"], "several", "text")
        self.assert_both_heard(("private-desk", "several", "text"))

    def test_trigger_batch(self):
        batch = [{"channel": "orders", "name": f"batch-{i}", "data": {"i": i}} for i in range(2)]
        self.assertEqual(self.sdk().trigger_batch(batch), {})
        self.assert_both_heard(("orders", "batch-0", {"i": 0}), ("orders", "batch-1", {"i": 1}))
        encoded = [{"channel": "orders", "name": "encoded", "data": '{"by":"hand"}', "info": "subscription_count"}]
        answer = self.sdk().trigger_batch(encoded, already_encoded=True)
        self.assertEqual(answer, {"batch": [{"subscription_count": 2}]})
        self.assert_both_heard(("orders", "encoded", {"by": "hand"}))

    def test_channels_info(self):
        answer = self.sdk().channels_info("presence-room", ["user_count"])
        self.assertEqual(answer, {"channels": {ROOM: {"user_count": 2}}})
        self.assertEqual(self.sdk().channels_info("nobody"), {"channels": {}})

    def test_channel_info(self):
        answer = self.sdk().channel_info(ROOM, ["user_count"])
        self.assertEqual(answer, {"occupied": True, "user_count": 2})
        self.assertEqual(self.sdk().channel_info("nobody"), {"occupied": False})

    def test_users_info(self):
        users = self.sdk().users_info(ROOM)["users"]
        self.assertEqual(sorted(user["id"] for user in users), ["7", "8"])
        self.assertEqual(self.sdk().users_info("presence-nobody"), {"users": []})

    def test_authenticate(self):
        # Both clients get in with what the application has signed by this call: without members and with them.
        for channel in ["private-signed", "presence-signed", "private-encrypted-signed"]:
            self.order("subscribe", channel=channel)
        sdk = pusher.Pusher(encryption_master_key_base64=MASTER_KEY, **VENDOR)
        signature = "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4"
        self.assertEqual(sdk.authenticate("private-foobar", "1234.1234"), {"auth": f"{VENDOR['key']}:{signature}"})
        sealed = sdk.authenticate("private-encrypted-x", "1234.1234")
        self.assertEqual(sealed["shared_secret"], b"QBLmxUha0AEqZM0+A5PNJXDxZBx3jy3Nx0o1EY1y36I=")

    def test_validate_webhook(self):
        sdk = pusher.Pusher(**VENDOR)
        # The document's example is too old for the SDK by years; what it checks is the same text with a new time.
        self.assertIsNone(sdk.validate_webhook(VENDOR["key"], WEBHOOK_SIGNATURE, WEBHOOK))
        sign = lambda body: hmac.new(VENDOR["secret"].encode(), body.encode(), hashlib.sha256).hexdigest()
        self.assertEqual(sign(WEBHOOK), WEBHOOK_SIGNATURE)
        fresh = WEBHOOK.replace("1327078148132", str(int(time.time() * 1000)))
        self.assertEqual(sdk.validate_webhook(VENDOR["key"], sign(fresh), fresh), json.loads(fresh))
        self.assertIsNone(sdk.validate_webhook(VENDOR["key"], sign(fresh), fresh + " "))
        self.assertIsNone(sdk.validate_webhook("another", sign(fresh), fresh))

    def test_from_url(self):
        sdk = pusher.Pusher.from_url(self.place(), port=self.site["port"])
        self.assertEqual(sdk.trigger("orders", "by-url", 1), {})
        self.assert_both_heard(("orders", "by-url", 1))

    def test_from_env(self):
        with unittest.mock.patch.dict(os.environ, {"PUSHER_URL": self.place()}):
            sdk = pusher.Pusher.from_env(port=self.site["port"])
        self.assertEqual(sdk.trigger("orders", "by-environment", 1), {})
        self.assert_both_heard(("orders", "by-environment", 1))


class Users(PeerTest):
    """Ann and Bob are signed in."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.order("sign_in")

    def test_authenticate_user(self):
        # Both have signed in with what the application has signed by this call.
        signed = pusher.Pusher(**VENDOR).authenticate_user("1234.1234", {"id": "12345"})
        text = f"1234.1234::user::{signed['user_data']}"
        signature = hmac.new(VENDOR["secret"].encode(), text.encode(), hashlib.sha256).hexdigest()
        self.assertEqual(signed["auth"], f"{VENDOR['key']}:{signature}")

    def test_send_to_user(self):
        self.assertEqual(self.sdk().send_to_user("7", "letter", {"to": "Ann"}), {})
        self.assertEqual(self.heard(1), {0: [("user", "letter", {"to": "Ann"})], 1: []})
        self.assertEqual(self.sdk().send_to_user("8", "letter", {"to": "Bob"}), {})
        self.assertEqual(self.heard(1), {0: [], 1: [("user", "letter", {"to": "Bob"})]})


class Ends(PeerTest):
    """Ann and Bob are signed in until they are ended."""

    def test_terminate_user_connections(self):
        self.order("sign_in")
        # The SDK posts this one to a path without the app.
        for user in ["nobody", "zoe@example.com", "7", "8"]:
            self.assertEqual(self.sdk().terminate_user_connections(user), {})
        self.assertEqual(self.order("await_end")["codes"], [4009, 4009])


class Everything(unittest.TestCase):
    def test_every_call_of_the_sdk_has_a_test(self):
        known = {name for name in dir(pusher.Pusher) if not name.startswith("_")}
        tests = [name for group in (Calls, Users, Ends) for name in dir(group) if name.startswith("test_")]
        self.assertEqual({name.removeprefix("test_") for name in tests}, known)


if __name__ == "__main__":
    unittest.main()
