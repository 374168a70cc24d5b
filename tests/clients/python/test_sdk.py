"""The official SDK for Python publishes; pusher-js clients in Node hear it."""

import unittest

import pusher

from peer import PeerTest


class Sdk(PeerTest):
    CHANNELS = ["orders", "news", "shapes", "batch", "others", "private-orders", "private-encrypted-orders"]

    def test_a_trigger_reaches_every_subscriber(self):
        self.assertEqual(self.sdk().trigger("orders", "shipped", {"id": 7}), {})
        self.assert_both_heard(("orders", "shipped", {"id": 7}))

    def test_one_trigger_reaches_several_channels(self):
        self.sdk().trigger(["orders", "news", "nobody"], "several", "text")
        heard = self.heard(4)
        expected = [("news", "several", "text"), ("orders", "several", "text")]
        self.assertEqual({client: sorted(events) for client, events in heard.items()}, {0: expected, 1: expected})

    def test_data_arrives_as_it_was_sent(self):
        shapes = [
            "plain text",
            {"nested": [1, 2.5, None, True, {}], "unicode": "Grüße, 你好, שלום, 👩‍👩‍👧‍👦"},
            {"escapes": "\" \\ / </script> \u0000 \u001f \r\n\t \u2028\u2029"},
            [],
        ]
        for shape in shapes:
            self.sdk().trigger("shapes", "shape", shape)
        self.assert_both_heard(*(("shapes", "shape", shape) for shape in shapes))

    def test_a_batch_arrives_whole_and_in_order(self):
        self.sdk().trigger_batch([{"channel": "batch", "name": f"event-{i}", "data": {"i": i}} for i in range(10)])
        self.assert_both_heard(*(("batch", f"event-{i}", {"i": i}) for i in range(10)))

    def test_the_excluded_socket_hears_nothing(self):
        self.sdk().trigger("others", "moved", 1, self.site["socket_ids"][0])
        self.sdk().trigger("others", "fence", 2)
        expected = {0: [("others", "fence", 2)], 1: [("others", "moved", 1), ("others", "fence", 2)]}
        self.assertEqual(self.heard(3), expected)

    def test_a_private_channel_is_joined_with_its_signature(self):
        self.sdk().trigger("private-orders", "shipped", {"id": 8})
        self.assert_both_heard(("private-orders", "shipped", {"id": 8}))

    def test_an_encrypted_channel_is_read_with_its_key(self):
        channel = "private-encrypted-orders"
        self.sdk().trigger(channel, "shipped", {"to": "Zoë"})
        self.sdk().trigger_batch([{"channel": channel, "name": "packed", "data": {"id": 9}}])
        self.assert_both_heard((channel, "shipped", {"to": "Zoë"}), (channel, "packed", {"id": 9}))

    def test_a_wrong_secret_is_refused_with_a_reason(self):
        with self.assertRaisesRegex(pusher.errors.PusherBadAuth, "(?i)signature"):
            self.sdk(secret="wrong").trigger("orders", "never", 1)

    def test_an_unknown_app_is_refused_with_404(self):
        with self.assertRaisesRegex(pusher.errors.PusherBadStatus, "404.*999"):
            self.sdk(app_id="999").trigger("orders", "never", 1)


if __name__ == "__main__":
    unittest.main()
