# SPDX-License-Identifier: Apache-2.0
"""What is in Weir's image, with stand-ins for its programs."""

import importlib
import shutil
import tempfile
import unittest
from pathlib import Path

from e2e.shell import Failure

image = importlib.import_module("image.__main__")


class ImageTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.build = Path(directory.name) / "build"
        self.scratch = Path(directory.name) / "scratch"
        self.scratch.mkdir()
        for program in image.PROGRAMS:
            target = self.build / "src" / program
            target.parent.mkdir(parents=True)
            shutil.copy("/usr/bin/env", target)

    def files(self):
        return image.make_tree(self.build, self.scratch).files

    def test_programs_libraries_and_their_licences(self):
        files = self.files()
        for name in ("weir-agent", "weir-cni", "weir"):
            self.assertIn(f"usr/bin/{name}", files)
        self.assertIn("usr/share/doc/libc6/copyright", files)
        self.assertIn("var/lib/dpkg/status.d/libc6", files)
        self.assertTrue(any(path.endswith("/libc.so.6") for path in files))

    def test_nothing_that_runs_but_weir(self):
        programs = {path for path in self.files() if path.startswith(("usr/bin/", "usr/sbin/"))}
        self.assertEqual(programs, {"usr/bin/weir-agent", "usr/bin/weir-cni", "usr/bin/weir"})

    def test_every_mount_has_its_place(self):
        chart = (image.ROOT / "charts/weir/templates/daemonset.yaml").read_text()
        files = self.files()
        for line in chart.splitlines():
            if "mountPath: " in line:
                place = line.partition("mountPath: ")[2].strip("/ ")
                self.assertTrue(place in files or any(path.startswith(f"{place}/") for path in files), place)

    def test_namespaces_are_found_under_the_names_runtimes_use(self):
        self.assertEqual(self.files()["var/run"][2], "/run")

    def test_a_missing_program_is_named_with_what_to_do(self):
        (self.build / "src/cli/weir").unlink()
        with self.assertRaisesRegex(Failure, "cli/weir: ./dev build release"):
            self.files()

    def test_the_version_is_the_projects(self):
        self.assertRegex(image.version(), r"^\d+\.\d+\.\d+$")
        chart = (image.ROOT / "charts/weir/Chart.yaml").read_text()
        self.assertIn(f"appVersion: {image.version()}\n", chart)


if __name__ == "__main__":
    unittest.main()
