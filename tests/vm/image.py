# SPDX-License-Identifier: Apache-2.0
"""The machine's root file system: an initramfs of the host's own packages, and of what the command needs."""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from kernel import MODULES, put_modules

# Their programs, with the shared libraries that those name.
PACKAGES = ["bash", "bpftool", "coreutils", "curl", "dash", "diffutils", "ethtool", "findutils", "grep", "hostname",
            "iproute2", "iputils-ping", "jq", "kmod", "mawk", "mount", "netcat-openbsd", "nftables", "procps", "sed",
            "util-linux"]
ALTERNATIVES = ["awk", "nc"]  # names that the packages themselves do not have
FILES = ["/etc/protocols", "/etc/services", "/etc/nsswitch.conf", "/etc/passwd", "/etc/group"]

INIT = r"""#!/bin/sh
export PATH=/usr/sbin:/usr/bin HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ln -s /proc/self/fd /dev/fd
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t tmpfs run /run
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup2 /sys/fs/cgroup
stty -F /dev/ttyS0 raw -echo
exec </dev/null >/dev/ttyS0 2>&1
. /boot.sh
for module in $MODULES; do
    modprobe "$module" || echo "vm: module $module does not load" >&2
done
hostname vm
ip link set lo up
echo 1 >/proc/sys/net/core/bpf_jit_enable
cd "$DIRECTORY" || cd /
/bin/sh /command.sh
echo "$?" >/dev/ttyS1
echo 0 >/proc/sys/kernel/printk # no farewell of the kernel in the command's output
busybox poweroff -f
"""


def put(stage, path, source=None):
    """Copies a file of the host to the same place below stage (directories resolved: no symlinked /lib)."""
    path = Path(path)
    target = stage / str(path.parent.resolve() / path.name).lstrip("/")
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source or path, target)


def libraries(programs):
    """Every shared library that the programs name, and their libraries."""
    listed = subprocess.run(["ldd", *programs], text=True, capture_output=True, check=False)
    for line in listed.stdout.splitlines():
        match = re.search(r"(/\S+) \(0x", line)
        if match:
            yield match.group(1)
        elif "not found" in line:
            sys.exit(f"vm: {' or '.join(map(str, programs))} needs {line.strip()}")


def is_elf(path):
    with open(path, "rb") as opened:
        return opened.read(4) == b"\x7fELF"


def put_paths(stage, paths):
    """Files and whole directories; libraries too where a file is a program."""
    files = []
    for path in paths:
        files += [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    programs = [file for file in files if os.access(file, os.X_OK) and is_elf(file)]
    for file in files:
        put(stage, file)
    for library in set(libraries(programs)) if programs else ():
        put(stage, library)


def host_programs():
    """The programs of PACKAGES as dpkg lists them, and those of ALTERNATIVES."""
    listed = subprocess.run(["dpkg", "-L", *PACKAGES], text=True, capture_output=True, check=False)
    if listed.returncode != 0:
        sys.exit(f"vm: {listed.stderr.strip()}")
    paths = {Path(line) for line in listed.stdout.splitlines() if re.fullmatch(r"(/usr)?/s?bin/[^/]+", line)}
    return sorted(path for path in paths | {Path(shutil.which(name)) for name in ALTERNATIVES} if path.is_file())


def base_key():
    """Changes when the base image would: this code, and the versions of the packages it copies from."""
    digest = hashlib.sha256()
    for source in ("image.py", "kernel.py"):
        digest.update((Path(__file__).parent / source).read_bytes())
    versions = subprocess.run(["dpkg-query", "-W", *PACKAGES, "libc6", "busybox-static"], capture_output=True, check=False)
    digest.update(versions.stdout)
    return digest.hexdigest()[:16]


def archive(stage, output):
    """Appends a cpio archive; the kernel unpacks several that follow each other."""
    names = subprocess.run(["find", ".", "-mindepth", "1", "-print0"], cwd=stage, capture_output=True, check=True)
    with open(output, "ab") as opened:
        subprocess.run(["cpio", "--null", "--quiet", "-o", "-H", "newc"], cwd=stage, input=names.stdout,
                       stdout=opened, check=True)


def base_image(cache, kernel):
    """Everything but the command, made once for each kernel package."""
    image = cache / f"base-{kernel.name}-{base_key()}.cpio"
    if image.exists():
        return image
    for old in cache.glob(f"base-{kernel.name}-*"):
        old.unlink()
    stage = cache / f"stage-{kernel.name}"
    shutil.rmtree(stage, ignore_errors=True)
    for directory in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "opt", "root", "tmp", "var", "proc", "sys",
                      "dev", "run"):
        (stage / directory).mkdir(parents=True)
    for link in ("bin", "sbin", "lib", "lib64"):
        (stage / link).symlink_to(f"usr/{link}")
    (stage / "var/run").symlink_to("/run")
    put_paths(stage, host_programs())
    (stage / "usr/bin/sh").unlink(missing_ok=True)
    (stage / "usr/bin/sh").symlink_to("dash")
    put(stage, "/usr/bin/busybox", source=shutil.which("busybox"))
    for file in FILES:
        put(stage, file)
    put_modules(stage, kernel)
    (stage / "init").write_text(INIT)
    (stage / "init").chmod(0o755)
    archive(stage, image.with_suffix(".tmp"))
    image.with_suffix(".tmp").rename(image)
    shutil.rmtree(stage)
    return image


def command_image(stage, output, command, files, environment):
    """Appends the command with its files to an image. `files`: at the same paths in the machine."""
    stage.mkdir()
    program = shutil.which(command[0])
    if program is None:
        sys.exit(f"vm: no program {command[0]}")
    program = os.path.abspath(program)
    paths = [Path(path).absolute() for path in (program, *files)]
    for path in paths:
        if not path.exists():
            sys.exit(f"vm: no file {path}")
    put_paths(stage, paths)
    exports = "".join(f"export {shlex.quote(item)}\n" for item in environment)
    (stage / "command.sh").write_text(f"{exports}exec {shlex.join([program, *command[1:]])}\n")
    (stage / "boot.sh").write_text(f"MODULES='{' '.join(MODULES)}'\nDIRECTORY={shlex.quote(os.getcwd())}\n")
    (stage / os.getcwd().lstrip("/")).mkdir(parents=True, exist_ok=True)
    archive(stage, output)
