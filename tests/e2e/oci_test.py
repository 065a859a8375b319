# SPDX-License-Identifier: Apache-2.0
"""Image archives: their content, and that they follow from their files alone."""

import gzip
import hashlib
import io
import json
import tarfile
import tempfile
import unittest
from pathlib import Path

from e2e import oci
from e2e.shell import Failure


def small_tree():
    tree = oci.Tree()
    tree.text("etc/motd", "hello\n")
    tree.link("bin", "usr/bin")
    tree.directory("tmp", 0o1777)
    return tree


class OciTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def write(self, name="a.tar", compress=False):
        output = self.directory / name
        oci.write(output, small_tree(), ["example.org/x:1", "example.org/x:2"], {"Entrypoint": ["/x"]}, compress)
        return output

    def test_every_blob_is_what_its_digest_says(self):
        with tarfile.open(self.write(compress=True)) as archive:
            blobs = [member for member in archive if member.name.startswith("blobs/sha256/")]
            self.assertEqual(len(blobs), 3)
            for blob in blobs:
                content = archive.extractfile(blob).read()
                self.assertEqual(hashlib.sha256(content).hexdigest(), Path(blob.name).name)

    def test_index_to_layer(self):
        with tarfile.open(self.write(compress=True)) as archive:
            def load(digest):
                return archive.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}").read()

            index = json.load(archive.extractfile("index.json"))
            names = [m["annotations"]["io.containerd.image.name"] for m in index["manifests"]]
            self.assertEqual(names, ["example.org/x:1", "example.org/x:2"])
            manifest = json.loads(load(index["manifests"][0]["digest"]))
            config = json.loads(load(manifest["config"]["digest"]))
            self.assertEqual(config["config"]["Entrypoint"], ["/x"])
            layer = gzip.decompress(load(manifest["layers"][0]["digest"]))
            self.assertEqual(config["rootfs"]["diff_ids"], [f"sha256:{hashlib.sha256(layer).hexdigest()}"])
        with tarfile.open(fileobj=io.BytesIO(layer)) as files:
            self.assertEqual(files.getnames(), ["bin", "etc", "etc/motd", "tmp"])
            self.assertEqual(files.getmember("bin").linkname, "usr/bin")
            self.assertEqual(files.getmember("tmp").mode, 0o1777)
            self.assertEqual(files.extractfile("etc/motd").read(), b"hello\n")

    def test_the_same_files_make_the_same_archive(self):
        self.assertEqual(self.write("a.tar").read_bytes(), self.write("b.tar").read_bytes())

    def test_a_program_brings_its_libraries_and_its_loader(self):
        tree = oci.Tree()
        tree.merged_usr()
        tree.program("usr/bin/sh", "/bin/sh")
        names = {Path(path).name for path in tree.files}
        self.assertIn("libc.so.6", names)
        self.assertTrue(any(name.startswith("ld-linux") for name in names), names)
        self.assertTrue(all(path.startswith("usr/") for path in tree.files if "libc.so" in path))

    def test_a_missing_file_is_named(self):
        with self.assertRaisesRegex(Failure, "/no/such/file"):
            oci.Tree().file("x", "/no/such/file")


if __name__ == "__main__":
    unittest.main()
