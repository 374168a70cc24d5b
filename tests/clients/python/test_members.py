"""Members by the official SDK for Python: how many, and who."""

from peer import PeerTest


class Members(PeerTest):
    """Ann and Bob are members."""

    CHANNELS = ["presence-room"]

    def test_channels_with_the_number_of_members(self):
        answer = self.sdk().channels_info("presence-", ["user_count"])
        self.assertEqual(answer, {"channels": {"presence-room": {"user_count": 2}}})
        self.assertEqual(self.sdk().channel_info("presence-room", ["user_count"]), {"occupied": True, "user_count": 2})

    def test_the_users_of_a_presence_channel(self):
        users = self.sdk().users_info("presence-room")["users"]
        self.assertEqual(sorted(user["id"] for user in users), ["7", "8"])

