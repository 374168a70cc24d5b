"""What the official SDK for Python asks of the server. It sends a `body_md5` with every GET."""

import pusher

from peer import PeerTest


class Queries(PeerTest):
    """Two clients on each channel."""

    CHANNELS = ["orders", "private-desk"]

    def test_all_channels_that_somebody_is_on(self):
        self.assertEqual(self.sdk().channels_info(), {"channels": {"orders": {}, "private-desk": {}}})

    def test_channels_by_prefix(self):
        self.assertEqual(self.sdk().channels_info("private-"), {"channels": {"private-desk": {}}})
        self.assertEqual(self.sdk().channels_info("presence-", ["user_count"]), {"channels": {}})

    def test_one_channel_with_what_is_asked_for(self):
        answer = self.sdk().channel_info("orders", ["subscription_count"])
        self.assertEqual(answer, {"occupied": True, "subscription_count": 2})

    def test_a_channel_that_nobody_is_on(self):
        self.assertEqual(self.sdk().channel_info("nobody"), {"occupied": False})

    def test_the_users_of_a_channel_without_members_are_refused(self):
        with self.assertRaises(pusher.errors.PusherBadRequest):
            self.sdk().users_info("orders")

    def test_a_query_with_a_wrong_secret_is_refused(self):
        with self.assertRaises(pusher.errors.PusherBadAuth):
            self.sdk(secret="wrong").channels_info()
