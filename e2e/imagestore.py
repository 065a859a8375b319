# SPDX-License-Identifier: Apache-2.0
"""Images unpacked once: a containerd directory that every new node gets a copy of, by hard links where they do.

Unpacking a few hundred megabytes on each node would be most of a cluster's start.
"""

import os
import shutil
import subprocess
from pathlib import Path

from . import images
from .shell import progress, run, wait_until

# Only what `ctr images import` needs.
CONFIGURATION = """\
version = 2
root = "{root}"
state = "{state}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{socket}"
"""


def build():
    """The directory of a containerd that knows every image, made if it is not there."""
    archives = images.build()
    store = archives / "store"
    if store.exists():
        return store
    progress("unpacking images")
    scratch = archives / f"store.{os.getpid()}"
    state = scratch.with_suffix(f".{os.getpid()}.state")
    scratch.mkdir()
    state.mkdir()
    try:
        unpack(sorted(archives.glob("*.tar")), scratch, state)
        scratch.rename(store)
    finally:
        shutil.rmtree(state, ignore_errors=True)
        shutil.rmtree(scratch, ignore_errors=True)
    return store


def unpack(archives, root, state):
    """Imports archives by a containerd of our own, in a mount namespace of its own."""
    socket = state / "containerd.sock"
    configuration = state / "containerd.toml"
    configuration.write_text(CONFIGURATION.format(root=root, state=state / "run", socket=socket))
    with open(state / "log", "wb") as log:
        daemon = subprocess.Popen(["unshare", "--mount", "containerd", "--config", str(configuration)],
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until("containerd listens to unpack images", socket.exists, 60, every=0.05)
        for archive in archives:
            run(["ctr", f"--address={socket}", "--namespace=k8s.io", "images", "import", archive], timeout=300)
    finally:
        daemon.terminate()
        daemon.wait(30)


def copy(store, target):
    """Gives a node its own copy. Layers and blobs are never written in place, so links do; databases are copied."""
    shutil.copytree(store, target, symlinks=True, copy_function=link_or_copy)


def link_or_copy(source, target, follow_symlinks=True):
    if Path(source).suffix == ".db" or os.path.islink(source):
        return shutil.copy2(source, target, follow_symlinks=False)
    try:
        os.link(source, target, follow_symlinks=False)
        return target
    except OSError:  # another file system
        return shutil.copy2(source, target, follow_symlinks=follow_symlinks)
