# SPDX-License-Identifier: Apache-2.0
"""Process 1 of a machine, as an ordinary process: services start, come back, and stay away when told to."""

import json
import os
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

from e2e import init


class InitTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)
        for name, value in (("SERVICES", self.directory), ("LOGS", self.directory),
                            ("SOCKET", str(self.directory / "init.sock")), ("RESTART_DELAY", 0.05)):
            patch = mock.patch.object(init, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.init = init.Init()
        self.addCleanup(self.init.listener.close)

    def define(self, name, *argv):
        (self.directory / f"{name}.json").write_text(json.dumps({"argv": argv, "env": {"WORD": "set"}}))

    def until(self, condition, seconds=20):
        """Does init's work until something holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline, "it did not come about in time")
            self.init.reap()
            for name, when in list(self.init.due.items()):
                if when <= time.monotonic():
                    self.init.spawn(name)
            time.sleep(0.01)

    def test_a_service_runs_with_its_environment_and_log(self):
        self.define("talker", "sh", "-c", 'echo "word $WORD"; echo oops >&2; exec sleep 60')
        self.init.command("start talker")
        self.until(lambda: (self.directory / "talker.log").read_text() == "word set\noops\n")
        self.init.command("stop talker")
        self.until(lambda: not self.init.pids)

    def test_what_ends_is_started_again_until_it_is_stopped(self):
        self.define("short", "sleep", "60")
        first = json.loads(self.init.command("start short"))["short"]
        self.init.command("kill short")
        self.until(lambda: self.init.pids.get("short", first) != first)
        self.init.command("stop short")
        self.until(lambda: not self.init.pids)
        self.assertFalse(self.init.due)

    def test_a_stopped_service_that_waits_for_its_restart_stays_away(self):
        self.define("short", "false")
        self.init.command("start short")
        self.until(lambda: "short" in self.init.due)
        self.init.command("stop short")
        self.assertFalse(self.init.due)

    def test_starting_twice_is_starting_once(self):
        self.define("one", "sleep", "60")
        self.assertEqual(self.init.command("start one"), self.init.command("start one"))
        self.init.command("stop one")
        self.until(lambda: not self.init.pids)

    def test_a_broken_service_is_told_in_its_log_and_tried_again(self):
        self.define("broken", "/no/such/program")
        self.init.command("start broken")
        self.assertIn("cannot be started", (self.directory / "broken.log").read_text())
        self.define("broken", "sleep", "60")
        self.until(lambda: "broken" in self.init.pids)
        self.init.command("stop broken")
        self.until(lambda: not self.init.pids)

    def test_an_orphan_is_collected(self):
        child = os.fork()
        if child == 0:
            os._exit(0)
        self.until(lambda: not Path(f"/proc/{child}").exists())

    def test_an_unknown_command_changes_nothing(self):
        self.assertEqual(self.init.command("dance all"), "no command dance")


if __name__ == "__main__":
    unittest.main()
