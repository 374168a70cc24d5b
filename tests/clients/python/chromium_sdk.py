"""What the official SDK for Python publishes is heard by both clients in a browser, too."""

import unittest

import test_sdk


class SdkAndPusherJs(test_sdk.Sdk):
    PLACE = "chromium"


class SdkAndEcho(test_sdk.Sdk):
    KIND = "laravel-echo"
    PLACE = "chromium"


if __name__ == "__main__":
    unittest.main()
