#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command of the host inside a virtual machine with another kernel, and returns its exit status.

The machine is QEMU without KVM, network or disk: a Debian kernel, and an initramfs made of the host's packages, the
modules that Weir and its tests use, and the command with its shared libraries. COMMAND is a program of the host, or the
word "demo": the whole demonstration, with the programs of a release build.
"""

import argparse
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from image import base_image, command_image
from kernel import KERNELS, NoKernel, unpack

ROOT = Path(__file__).resolve().parents[2]

EXIT_NO_KERNEL = 77  # what ctest's SKIP_RETURN_CODE expects
EXIT_TIMEOUT = 124
EXIT_NO_STATUS = 125  # the machine ended without a word about the command


def demo(build):
    """The demonstration's command line, and what it needs besides. Emulated, a request takes some 10 ms of both CPUs:
    fewer of them, and ten times the grace; the checks are those of any other machine."""
    programs = ["src/agent/weir-agent", "src/agent/weir-agent-next", "src/cli/weir", "src/cni/weir-cni",
                "examples/shop"]
    script = ROOT / "examples/shop/demo.sh"
    return [str(script), str(build), "--once", "--requests", "1200", "--slow", "10"], [script.parent / "objects", *(build / name for name in programs)]


def follow(machine, deadline, silence):
    """Copies the console to our stdout until the machine ends; why that was not waited for, if it was not."""
    console = machine.stdout.fileno()
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return "no end in sight"
        ready, _, _ = select.select([console], [], [], min(left, silence))
        if not ready:
            return f"not a word for {silence} s"
        text = os.read(console, 65536)
        if not text:
            return None
        sys.stdout.buffer.write(text)
        sys.stdout.buffer.flush()


def boot(kernel, options, scratch):
    """Runs the machine, its console on our stdout; the command's exit status."""
    image = next((kernel / "boot").glob("vmlinuz-*"))
    arguments = ["qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
                 "-m", str(options.memory), "-nodefaults", "-no-reboot", "-display", "none", "-net", "none",
                 "-serial", "stdio", "-serial", f"file:{scratch / 'status'}",
                 "-kernel", image, "-initrd", scratch / "initrd",
                 "-append", "console=ttyS0 quiet loglevel=2 panic=-1 oops=panic mitigations=off"]
    started = time.monotonic()
    machine = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        reason = follow(machine, started + options.timeout, options.silence)
    finally:
        machine.kill()
        machine.wait()
    if reason:
        print(f"vm: {reason}, machine stopped", file=sys.stderr)
        return EXIT_TIMEOUT
    print(f"vm: Linux {image.name.removeprefix('vmlinuz-')}, {time.monotonic() - started:.1f} s", file=sys.stderr)
    text = (scratch / "status").read_text().strip()
    if not text.isdigit():
        print("vm: the machine ended before the command did; see its console above", file=sys.stderr)
        return EXIT_NO_STATUS
    return int(text)


def parse(arguments):
    parser = argparse.ArgumentParser(
        prog="./dev vm", usage="%(prog)s [OPTION...] KERNEL -- COMMAND [ARGUMENT...]", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"Exit status: the command's; {EXIT_NO_KERNEL} if the kernel cannot be fetched, {EXIT_TIMEOUT} after "
               f"--silence or --timeout, {EXIT_NO_STATUS} if the machine died.")
    parser.add_argument("kernel", choices=KERNELS, help="Debian's kernel of that series")
    parser.add_argument("command", nargs="+", help="a program of the host, its libraries come along; or demo")
    parser.add_argument("--file", action="append", default=[], metavar="PATH",
                        help="a further file or directory the command needs, put at the same path; repeatable")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="repeatable")
    parser.add_argument("--build", type=Path, default=ROOT / "build" / "release",
                        help="the build that demo shows (default %(default)s)")
    parser.add_argument("--silence", type=int, default=300,
                        help="seconds without output after which the machine is stopped (default %(default)s)")
    parser.add_argument("--timeout", type=int, default=1700,
                        help="seconds in all, boot included (default %(default)s)")
    parser.add_argument("--memory", type=int, default=2048, help="MiB (default %(default)s)")
    parser.add_argument("--cache", type=Path, default=ROOT / "build" / "vm", help="default %(default)s")
    return parser.parse_args(arguments)


def main():
    options = parse(sys.argv[1:])
    command, files = options.command, options.file
    if command == ["demo"]:
        command, programs = demo(options.build.absolute())
        files = [*files, *programs]
    options.cache.mkdir(parents=True, exist_ok=True)
    with open(options.cache / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side; packages and images are made once
        try:
            kernel = unpack(options.kernel, options.cache)
        except NoKernel as error:
            print(f"vm: SKIPPED, no kernel {options.kernel}: {error}", file=sys.stderr)
            return EXIT_NO_KERNEL
        base = base_image(options.cache, kernel)
    scratch = options.cache / f"run-{os.getpid()}"
    scratch.mkdir()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # nothing is left behind
    try:
        shutil.copyfile(base, scratch / "initrd")
        command_image(scratch / "stage", scratch / "initrd", command, files, options.env)
        return boot(kernel, options, scratch)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    sys.exit(main())
