"""Webhooks, as the checker of the official SDK for Python judges them: every kind, from the real server."""

import unittest

from peer import SOON, Application, PeerTest

ROOM, CACHE = "presence-hooks", "cache-hooks"


class Webhooks(PeerTest):
    """Ann, and Bob whose id is a number, meet and leave; Ann says something, and both look at a cache channel."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.requests = []
        cls.order("subscribe", channel=ROOM)
        cls.order("subscribe", channel=CACHE)
        cls.order("whisper", channel=ROOM, event="typing", data={"on": True})
        heard = cls.line()
        if heard["event"] != "client-typing":
            raise RuntimeError(f"expected what Ann said, got {heard}")
        cls.order("unsubscribe", channel=CACHE)
        cls.order("unsubscribe", channel=ROOM)
        vacated = set()
        while not {ROOM, CACHE} <= vacated:
            request = Application.webhooks.get(timeout=SOON)
            cls.requests.append(request)
            events = cls.check(*request)["events"]
            vacated |= {event["channel"] for event in events if event["name"] == "channel_vacated"}

    @classmethod
    def check(cls, headers, body, **changes):
        """What the SDK makes of a request; nothing if it is not sound."""
        checker = cls.sdk(**changes)
        told = checker.validate_webhook(headers["X-Pusher-Key"], headers["X-Pusher-Signature"], body)
        if told is None and not changes:
            raise AssertionError(f"not sound: {body}")
        return told

    def test_every_kind_is_sound_and_in_order(self):
        events = [event for request in self.requests for event in self.check(*request)["events"]]
        # How many subscribers there are is told besides, a turn later; members count each other.
        counts = [event for event in events if event["name"] == "subscription_count"]
        self.assertNotIn(ROOM, {event["channel"] for event in counts})
        self.assertIn(2, [event["subscription_count"] for event in counts if event["channel"] == CACHE])
        events = [event for event in events if event["name"] != "subscription_count"]
        names = [(event["name"], event.get("user_id")) for event in events if event["channel"] == ROOM]
        # They leave on cores of their own, so that either may be the first.
        names[4:6] = sorted(names[4:6])
        expected = [
            ("channel_occupied", None),
            ("member_added", "7"),
            ("member_added", "8"),
            ("client_event", "7"),
            ("member_removed", "7"),
            ("member_removed", "8"),
            ("channel_vacated", None),
        ]
        self.assertEqual(names, expected)
        names = [event["name"] for event in events if event["channel"] == CACHE]
        self.assertEqual(names, ["channel_occupied", "cache_miss", "cache_miss", "channel_vacated"])

    def test_a_client_event_says_what_was_said_and_by_whom(self):
        events = [event for request in self.requests for event in self.check(*request)["events"]]
        (event,) = [event for event in events if event["name"] == "client_event"]
        self.assertEqual((event["event"], event["data"]), ("client-typing", '{"on":true}'))
        self.assertEqual(event["socket_id"], self.site["socket_ids"][0])

    def test_what_was_changed_on_the_way_is_refused(self):
        headers, body = self.requests[0]
        changed = body.replace("occupied", "vacated")
        key, signature = headers["X-Pusher-Key"], headers["X-Pusher-Signature"]
        self.assertIsNone(self.sdk().validate_webhook(key, signature, changed))
        self.assertIsNone(self.check(headers, body, secret="another"))


if __name__ == "__main__":
    unittest.main()
