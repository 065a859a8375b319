#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command of the host inside a virtual machine with another kernel, and returns its exit status.

The machine is QEMU without KVM, network or disk: a Debian kernel and an initramfs made of busybox,
a few tools, the command, its shared libraries and the modules that Weir and its tests use.
"""

import argparse
import fcntl
import hashlib
import lzma
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# What the names of kernels mean: Debian's meta packages, which follow its updates.
KERNELS = {"6.1": "linux-image-cloud-amd64", "6.12": "linux-image-6.12-cloud-amd64"}

# Loaded at boot, with what they depend on; the others of MODULES_ON_DEMAND when the kernel asks.
MODULES = ["veth", "dummy", "sch_ingress", "cls_bpf"]
MODULES_ON_DEMAND = ["vxlan", "bridge", "tun", "sctp", "sctp_diag", "tcp_diag", "udp_diag", "inet_diag",
                     "nf_tables", "nft_ct", "nft_chain_nat", "nft_masq", "nft_reject_inet", "nft_counter",
                     "nft_fib_inet", "nft_limit", "nft_log", "sch_netem", "sch_fq", "sch_fq_codel", "vsock"]
TOOLS = ["ip", "tc", "ss", "nft", "bpftool", "ping", "nc", "nsenter", "unshare", "sysctl", "bash", "dash"]

EXIT_USAGE = 2
EXIT_NO_KERNEL = 77  # what ctest's SKIP_RETURN_CODE expects
EXIT_TIMEOUT = 124
EXIT_NO_STATUS = 125  # the machine ended without a word about the command

INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /root /var/run /busybox
/bin/busybox --install -s /busybox
export PATH=/usr/sbin:/usr/bin:/busybox HOME=/root TERM=dumb
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
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
ip link set lo up
echo 1 >/proc/sys/net/core/bpf_jit_enable
cd "$DIRECTORY" || cd /
/bin/sh /command.sh
echo "$?" >/dev/ttyS1
echo 0 >/proc/sys/kernel/printk # no farewell of the kernel in the command's output
poweroff -f
"""


class NoKernel(Exception):
    """The kernel cannot be had; the message says why."""


def cached_tools_key():
    """Changes when the base image would: this file, and the tools it copies."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for tool in TOOLS:
        path = shutil.which(tool)
        digest.update(f"{tool} {path and os.stat(path).st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def apt(arguments, **options):
    return subprocess.run(arguments, text=True, capture_output=True, check=False, **options)


def private_options(cache):
    """apt options of a configuration of our own, with fresh lists and backports; /etc stays as it is."""
    directory = cache / "apt"
    for part in ("lists/partial", "archives/partial"):
        (directory / part).mkdir(parents=True, exist_ok=True)
    signed = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    sources = directory / "sources.list"
    sources.write_text("".join(f"deb {signed} http://deb.debian.org/{suite} main\n" for suite in (
        "debian bookworm", "debian-security bookworm-security", "debian bookworm-backports")))
    options = ["-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=/dev/null",
               "-o", f"Dir::State::Lists={directory / 'lists'}", "-o", f"Dir::Cache={directory}"]
    apt(["apt-get", *options, "update", "-q"])
    return options


def try_download(name, cache, options):
    """The path of the fetched .deb, or the reason why there is none."""
    shown = apt(["apt-cache", *options, "depends", "--important", KERNELS[name]])
    match = re.search(r"Depends: (linux-image-\S+)", shown.stdout)
    if not match:
        return None, f"apt knows no package {KERNELS[name]}"
    package = match.group(1)
    print(f"vm: fetching {package}", file=sys.stderr)
    got = apt(["apt-get", *options, "download", "-q", package], cwd=cache / "deb")
    found = sorted((cache / "deb").glob(f"{package}_*.deb"))
    if got.returncode != 0 or not found:
        return None, f"apt-get download {package}: {' '.join(got.stderr.split())[-300:]}"
    return found[-1], ""


def download(name, cache):
    """The .deb of a kernel, fetched once: by the host's apt configuration or, failing that, our own."""
    (cache / "deb").mkdir(parents=True, exist_ok=True)
    found = sorted((cache / "deb").glob(f"linux-image-{name}.*-cloud-amd64_*.deb"))
    if found:
        return found[-1]
    package, reason = try_download(name, cache, [])
    if not package:
        package, reason = try_download(name, cache, private_options(cache))
    if not package:
        raise NoKernel(reason)
    return package


def unpack(name, cache):
    """The unpacked package: a directory with boot/ and lib/modules/."""
    package = download(name, cache)
    directory = cache / package.name.removesuffix(".deb")
    if not directory.exists():
        temporary = cache / f"{directory.name}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        subprocess.run(["dpkg", "-x", package, temporary], check=True)
        temporary.rename(directory)
    return directory


def put(stage, path, source=None, mode=None):
    """Copies a file of the host to the same place below stage (directories resolved: no symlinked /lib)."""
    path = Path(path)
    target = stage / str(path.parent.resolve() / path.name).lstrip("/")
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source or path, target)
    if mode:
        target.chmod(mode)


def put_program(stage, path):
    """A program with every shared library that it names, and their libraries."""
    put(stage, path)
    listed = subprocess.run(["ldd", path], text=True, capture_output=True, check=False)
    for line in listed.stdout.splitlines():
        match = re.search(r"(/\S+) \(0x", line)
        if match:
            put(stage, match.group(1))
        elif "not found" in line:
            sys.exit(f"vm: {path} needs {line.strip()}")


def put_path(stage, path):
    """A file or a whole directory; libraries too where a file is a program."""
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    for file in files:
        with open(file, "rb") as opened:
            is_elf = opened.read(4) == b"\x7fELF"
        if is_elf and os.access(file, os.X_OK):
            put_program(stage, file)
        else:
            put(stage, file)


def module_files(modules):
    """Paths, relative to modules/, of the modules wanted and of what they depend on."""
    depends = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, needs = line.partition(":")
        depends[path] = needs.split()
    names = {re.sub(r"\.ko.*", "", Path(path).name): path for path in depends}
    wanted = []
    for name in MODULES + MODULES_ON_DEMAND:
        if name in names:
            wanted += [names[name], *depends[names[name]]]
    return sorted(set(wanted))


def put_modules(stage, kernel):
    """Uncompressed modules and the tables of modprobe."""
    release = next((kernel / "lib" / "modules").iterdir()).name
    modules = kernel / "lib" / "modules" / release
    if not (modules / "modules.dep").exists():
        subprocess.run(["depmod", "-b", kernel, release], check=True)
    target = stage / "usr/lib/modules" / release
    target.mkdir(parents=True)
    for path in module_files(modules):
        content = (modules / path).read_bytes()
        plain = target / path.removesuffix(".xz")
        plain.parent.mkdir(parents=True, exist_ok=True)
        plain.write_bytes(lzma.decompress(content) if path.endswith(".xz") else content)
    for table in ("modules.dep", "modules.alias"):
        text = (modules / table).read_text()
        (target / table).write_text(text.replace(".ko.xz", ".ko"))


def archive(stage, output):
    """A cpio archive the kernel unpacks at boot. Several may follow each other."""
    names = subprocess.run(["find", ".", "-mindepth", "1", "-print0"], cwd=stage, capture_output=True, check=True)
    with open(output, "ab") as opened:
        subprocess.run(["cpio", "--null", "--quiet", "-o", "-H", "newc"], cwd=stage, input=names.stdout,
                       stdout=opened, check=True)


def base_image(name, cache, kernel):
    """Everything but the command, made once for each kernel package."""
    image = cache / f"base-{kernel.name}-{cached_tools_key()}.cpio"
    if image.exists():
        return image
    for old in cache.glob(f"base-{kernel.name}-*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    stage = cache / f"stage-{kernel.name}"
    shutil.rmtree(stage, ignore_errors=True)
    for directory in ("usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "etc", "tmp", "proc", "sys", "dev"):
        (stage / directory).mkdir(parents=True)
    for link in ("bin", "sbin", "lib", "lib64"):
        (stage / link).symlink_to(f"usr/{link}")
    put(stage, "/usr/bin/busybox", source=shutil.which("busybox"))
    (stage / "usr/bin/sh").symlink_to("dash")  # busybox's would take its own ip, nc and so on
    (stage / "usr/sbin/modprobe").symlink_to("/bin/busybox")
    for tool in TOOLS:
        if shutil.which(tool):
            put_program(stage, shutil.which(tool))
    put(stage, "/etc/protocols")
    put_modules(stage, kernel)
    (stage / "init").write_text(INIT)
    (stage / "init").chmod(0o755)
    archive(stage, image.with_suffix(".tmp"))
    image.with_suffix(".tmp").rename(image)
    shutil.rmtree(stage)
    return image


def command_image(options, scratch):
    """The command with its files, to be put after the base image."""
    stage = scratch / "stage"
    stage.mkdir()
    program = shutil.which(options.command[0])
    if program is None:
        sys.exit(f"vm: no program {options.command[0]}")
    program = os.path.abspath(program)
    put_path(stage, Path(program))
    for file in options.file:
        if not Path(file).exists():
            sys.exit(f"vm: no file {file}")
        put_path(stage, Path(file).absolute())
    environment = "".join(f"export {shlex.quote(item)}\n" for item in options.env)
    (stage / "command.sh").write_text(f"{environment}exec {shlex.join([program, *options.command[1:]])}\n")
    (stage / "boot.sh").write_text(f"MODULES='{' '.join(MODULES)}'\nDIRECTORY={shlex.quote(os.getcwd())}\n")
    (stage / os.getcwd().lstrip("/")).mkdir(parents=True, exist_ok=True)
    archive(stage, scratch / "initrd")


def boot(kernel, options, scratch):
    """Runs the machine, its console on our stdout; the command's exit status, None if there is none."""
    image = next((kernel / "boot").glob("vmlinuz-*"))
    arguments = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
                 "-m", str(options.memory), "-nodefaults", "-no-reboot", "-display", "none", "-net", "none",
                 "-serial", "stdio", "-serial", f"file:{scratch / 'status'}",
                 "-kernel", image, "-initrd", scratch / "initrd",
                 "-append", "console=ttyS0 quiet loglevel=2 panic=-1 oops=panic mitigations=off"]
    started = time.monotonic()
    machine = subprocess.Popen(arguments, stdin=subprocess.DEVNULL)
    try:
        machine.wait(options.timeout)
    except subprocess.TimeoutExpired:
        print(f"vm: no end after {options.timeout} s, machine stopped", file=sys.stderr)
        return EXIT_TIMEOUT
    finally:
        machine.kill()
        machine.wait()
    print(f"vm: Linux {image.name.removeprefix('vmlinuz-')}, {time.monotonic() - started:.1f} s", file=sys.stderr)
    text = (scratch / "status").read_text().strip()
    if not text.isdigit():
        print("vm: the machine ended before the command did; see its console above", file=sys.stderr)
        return EXIT_NO_STATUS
    return int(text)


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="./dev vm", usage="%(prog)s [OPTION...] KERNEL -- COMMAND [ARGUMENT...]", description=__doc__,
        epilog=f"Exit status: the command's; {EXIT_NO_KERNEL} if the kernel cannot be fetched, {EXIT_TIMEOUT} after "
               f"--timeout, {EXIT_NO_STATUS} if the machine died.")
    parser.add_argument("kernel", choices=KERNELS, help="Debian's kernel of that series")
    parser.add_argument("command", nargs="+", help="a program of the host; its libraries come along")
    parser.add_argument("--file", action="append", default=[], metavar="PATH",
                        help="a further file or directory the command needs, put at the same path; repeatable")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="repeatable")
    parser.add_argument("--timeout", type=int, default=600, help="seconds, boot included (default %(default)s)")
    parser.add_argument("--memory", type=int, default=2048, help="MiB (default %(default)s)")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "vm", help="default %(default)s")
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    options.cache.mkdir(parents=True, exist_ok=True)
    with open(options.cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side; packages and images are made once
        try:
            kernel = unpack(options.kernel, options.cache)
        except NoKernel as error:
            print(f"vm: SKIPPED, no kernel {options.kernel}: {error}", file=sys.stderr)
            return EXIT_NO_KERNEL
        base = base_image(options.kernel, options.cache, kernel)
    scratch = options.cache / f"run-{os.getpid()}"
    scratch.mkdir()
    try:
        shutil.copyfile(base, scratch / "initrd")
        command_image(options, scratch)
        return boot(kernel, options, scratch)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    sys.exit(main())
