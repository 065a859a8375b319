# SPDX-License-Identifier: Apache-2.0
"""Writes container images as OCI archives, byte for byte the same from the same files. Needs no daemon."""

import gzip
import hashlib
import io
import json
import os
import stat
import tarfile
from pathlib import Path

from .shell import Failure, run

EPOCH = "1970-01-01T00:00:00Z"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Tree:
    """The files of an image, by path without leading slash."""

    def __init__(self):
        self.files = {}  # path -> (mode, bytes or path of a source, or link target)

    def directory(self, path, mode=0o755):
        self.files[path.strip("/")] = ("directory", mode, None)

    def text(self, path, content, mode=0o644):
        self.files[path.strip("/")] = ("data", mode, content.encode())

    def link(self, path, target):
        self.files[path.strip("/")] = ("link", 0o777, target)

    def file(self, path, source, mode=None):
        source = Path(source)
        if not source.is_file():
            raise Failure(f"image: there is no file {source}")
        self.files[path.strip("/")] = ("file", mode or stat.S_IMODE(source.stat().st_mode), source)

    def merged_usr(self):
        """/bin, /sbin and /lib* as links into /usr, as Debian has them."""
        for name in ("bin", "sbin", "lib", "lib64"):
            self.directory(f"usr/{name}")
            self.link(name, f"usr/{name}")

    def program(self, path, source):
        """A program with every shared library that it names."""
        source = Path(source).resolve()
        self.file(path, source, 0o755)
        for library in libraries(source):
            self.library(library)

    def library(self, name):
        """A library at the place where the loader looks for it, its own symlinks followed."""
        directory = Path(name).parent.resolve()
        self.file(str(directory / Path(name).name), Path(name).resolve(), 0o755)

    def tar(self):
        """One layer: sorted, owned by root, without times."""
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for path in sorted({*self.files, *self.parents()}):
                kind, mode, content = self.files.get(path, ("directory", 0o755, None))
                add(archive, path, kind, mode, content)
        return buffer.getvalue()

    def lay_out(self, root):
        """The same files as a directory."""
        with tarfile.open(fileobj=io.BytesIO(self.tar())) as archive:
            archive.extractall(root)

    def parents(self):
        return {str(parent) for path in self.files for parent in Path(path).parents} - {"."}


def add(archive, path, kind, mode, content):
    entry = tarfile.TarInfo(path)
    entry.mode = mode
    if kind == "directory":
        entry.type = tarfile.DIRTYPE
        archive.addfile(entry)
    elif kind == "link":
        entry.type, entry.linkname = tarfile.SYMTYPE, content
        archive.addfile(entry)
    else:
        data = content if kind == "data" else content.read_bytes()
        entry.size = len(data)
        archive.addfile(entry, io.BytesIO(data))


def libraries(program):
    """Paths of the shared libraries of a program, the loader among them; none for a static one."""
    listed = run(["ldd", program], check=False)
    found = []
    for line in listed.splitlines():
        words = line.split()
        if "not found" in line:
            raise Failure(f"{program} needs {words[0]}, which is not installed: run ./dev setup")
        if "=>" in words and len(words) > 2 and words[2].startswith("/"):
            found.append(words[2])
        elif words and words[0].startswith("/") and words[-1].startswith("(0x"):
            found.append(words[0])
    return found


def descriptor(kind, data, **more):
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data), **more}


def write(output, tree, names, config, compress=False):
    """An archive that `ctr images import`, podman, skopeo and new dockers load under each of the names.

    config is the image's run configuration: Entrypoint, Cmd, Env and so on.
    """
    plain = tree.tar()
    layer = gzip.compress(plain, 9, mtime=0) if compress else plain
    image = json.dumps({
        "architecture": run(["dpkg", "--print-architecture"]).strip(), "os": "linux", "created": EPOCH,
        "config": {"Env": [PATH], **config},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"]},
        "history": [{"created": EPOCH}]}, sort_keys=True).encode()
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, image),
        "layers": [descriptor(LAYER + ("+gzip" if compress else ""), layer)]}, sort_keys=True).encode()
    index = json.dumps({
        "schemaVersion": 2, "mediaType": INDEX,
        "manifests": [descriptor(MANIFEST, manifest, annotations={
            "io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}) for name in names],
    }, sort_keys=True).encode()
    blobs = {f"blobs/sha256/{hashlib.sha256(data).hexdigest()}": data for data in (layer, image, manifest)}
    temporary = Path(f"{output}.{os.getpid()}")
    with tarfile.open(temporary, "w", format=tarfile.GNU_FORMAT) as archive:
        for path in ("blobs", "blobs/sha256"):
            add(archive, path, "directory", 0o755, None)
        for path, data in {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index, **blobs}.items():
            add(archive, path, "data", 0o644, data)
    temporary.rename(output)
