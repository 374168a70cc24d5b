"""What the official SDK for Python publishes is heard by laravel-echo in Node, too."""

import unittest

import test_sdk


class SdkAndEcho(test_sdk.Sdk):
    KIND = "laravel-echo"


if __name__ == "__main__":
    unittest.main()
