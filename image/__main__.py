# SPDX-License-Identifier: Apache-2.0
"""./dev image: an OCI archive of the agent, the CNI plugin and the CLI, of a release build and Debian's libraries."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from e2e import oci
from e2e.shell import Failure, progress, run

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("agent/weir-agent", "cni/weir-cni", "cli/weir")
REPOSITORY = "ghcr.io/weir/weir"
LIMIT = 60 << 20  # bytes of the compressed archive


def version():
    """The project's version, as CMake has it."""
    words = (ROOT / "CMakeLists.txt").read_text().split("project(weir VERSION ", 1)[1]
    return words.split()[0]


def package_of(library):
    """The Debian package that a library came from; its files may be known by their place before /usr was merged."""
    for path in (str(library), str(library).removeprefix("/usr")):
        found = run(["dpkg-query", "--search", path], check=False)
        if found:
            return found.split(":")[0]
    raise Failure(f"{library} belongs to no Debian package, so its licence is not known")


def add_package(tree, package):
    """What scanners and lawyers look for: the package's entry and its copyright."""
    tree.text(f"var/lib/dpkg/status.d/{package}", run(["dpkg-query", "--status", package]))
    tree.file(f"usr/share/doc/{package}/copyright", f"/usr/share/doc/{package}/copyright", 0o644)


def add_program(tree, source, name, scratch):
    """A program without its debugging information, with the libraries that it names; their paths."""
    stripped = scratch / name
    subprocess.run(["strip", "--strip-unneeded", "-o", stripped, source], check=True)
    tree.program(f"usr/bin/{name}", stripped)
    return [Path(library).resolve() for library in oci.libraries(stripped)]


def make_tree(build, scratch, agent="weir-agent"):
    """The image's files. agent: the program that becomes the image's agent."""
    tree = oci.Tree()
    tree.merged_usr()
    libraries = set()
    for program in PROGRAMS:
        name = Path(program).name
        source = (build / "src" / program).with_name(agent if name == "weir-agent" else name)
        if not source.is_file():
            raise Failure(f"there is no {source}: ./dev build release makes it")
        libraries.update(add_program(tree, source, name, scratch))
    for package in sorted({package_of(library) for library in libraries}):
        add_package(tree, package)
    tree.text("etc/passwd", "root:x:0:0:root:/:/usr/sbin/nologin\n")
    tree.text("etc/group", "root:x:0:\n")
    tree.text("etc/os-release", Path("/etc/os-release").read_text())
    tree.file("usr/share/doc/weir/LICENSE", ROOT / "LICENSE", 0o644)
    for text in sorted((ROOT / "bpf/LICENSES").iterdir()):
        tree.file(f"usr/share/doc/weir/{text.name}", text, 0o644)
    # Places of mounts: the root file system is read-only.
    for directory in ("etc/cni/net.d", "opt/cni/bin", "run/weir", "run/netns", "sys/fs/bpf", "sys/fs/cgroup", "etc/weir",
                      "host/proc/sys/net", "tmp", "proc"):
        tree.directory(directory)
    tree.link("var/run", "/run")  # runtimes name network namespaces by that path
    return tree


def write(tree, output, tag, compress=True):
    """The archive, under the name `tag`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    oci.write(output, tree, [tag], {
        "Entrypoint": ["/usr/bin/weir-agent"], "WorkingDir": "/",
        "Labels": {"org.opencontainers.image.title": "weir", "org.opencontainers.image.version": version(),
                   "org.opencontainers.image.licenses": "Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)"}},
        compress=compress)


def main():
    parser = argparse.ArgumentParser(prog="./dev image", description=__doc__.split(": ", 1)[1])
    parser.add_argument("--build", type=Path, default=ROOT / "build/release", help="tree (default %(default)s)")
    parser.add_argument("--output", type=Path, default=ROOT / "build/weir.tar", help="archive (default %(default)s)")
    parser.add_argument("--tag", default=f"{REPOSITORY}:{version()}", help="name (default %(default)s)")
    parser.add_argument("--root", type=Path, help="lay the image's files out in this directory instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        tree = make_tree(options.build.resolve(), Path(scratch))
        if options.root:
            tree.lay_out(options.root)
            return
        write(tree, options.output, options.tag)
    size = options.output.stat().st_size
    progress(f"{options.output}: {options.tag}, {size / (1 << 20):.1f} MiB")
    if size > LIMIT:
        raise Failure(f"the image has {size} bytes, more than {LIMIT}")


if __name__ == "__main__":
    try:
        main()
    except Failure as error:
        sys.exit(f"image: {error}")
