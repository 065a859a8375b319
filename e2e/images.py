# SPDX-License-Identifier: Apache-2.0
"""The images that a cluster and the suites need, made of this host's programs; there is no registry."""

import hashlib
import inspect
import os
import shutil
from pathlib import Path

from . import components, oci
from .shell import Failure, progress, run

E2E = "registry.k8s.io/e2e-test-images"
PROGRAMS = ("bash", "curl", "dig", "dash", "getent", "host", "hostname", "ip", "iperf3", "nc", "nslookup", "ping", "ss")

# What a pod of the suites may call besides, from busybox.
APPLETS = ("[", "arp", "awk", "base64", "basename", "cat", "chmod", "chown", "clear", "cmp", "cp", "cut", "date", "dd",
           "df", "dirname", "du", "echo", "egrep", "env", "expr", "false", "find", "free", "grep", "gunzip", "gzip",
           "head", "httpd", "id", "ifconfig", "ip", "kill", "killall", "less", "ln", "ls", "md5sum", "mkdir", "mkfifo",
           "mktemp", "more", "mount", "mv", "nc", "netstat", "nslookup", "od", "pgrep", "pidof", "ping", "ping6",
           "pkill", "printf", "ps", "pwd", "readlink", "realpath", "rm", "rmdir", "route", "sed", "seq", "sh",
           "sha256sum", "sleep", "sort", "stat", "stty", "sync", "tail", "tar", "tee", "telnet", "test", "time",
           "timeout", "top", "touch", "tr", "traceroute", "true", "tty", "umount", "uname", "uniq", "unzip", "uptime",
           "vi", "watch", "wc", "wget", "which", "whoami", "xargs", "yes")

PAUSE_SOURCE = """\
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0) {} }
static void stop(int s) { (void)s; _exit(0); }
int main(void) {
    signal(SIGCHLD, reap);
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    for (;;) pause();
}
"""


def program(name):
    path = shutil.which(name)
    if not path:
        raise Failure(f"image: there is no program {name}: run ./dev setup")
    return path


def with_busybox(tree):
    """A static busybox under the names of its applets that are not taken yet."""
    tree.file("usr/bin/busybox", program("busybox"), 0o755)
    for applet in APPLETS:
        if f"usr/bin/{applet}" not in tree.files:
            tree.link(f"usr/bin/{applet}", "busybox")
    tree.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n")
    tree.text("etc/group", "root:x:0:\nnogroup:x:65534:\n")
    tree.text("etc/nsswitch.conf", "hosts: files dns\n")
    tree.text("etc/services", Path("/etc/services").read_text())
    tree.text("etc/protocols", Path("/etc/protocols").read_text())
    tree.directory("tmp", 0o1777)
    tree.directory("root", 0o700)


def tools():
    """A root with a shell and network programs."""
    tree = oci.Tree()
    tree.merged_usr()
    for name in PROGRAMS:
        tree.program(f"usr/bin/{name}", program(name))
    tree.link("usr/bin/sh", "dash")
    with_busybox(tree)
    return tree


def agnhost_image(output, paths, scratch):
    """The suites' own server, with the key its TLS servers expect in the root."""
    tree = tools()
    tree.file("agnhost", paths["agnhost"], 0o755)
    tree.file("coredns", paths["coredns"], 0o755)  # a DNS test runs it as its server
    key, certificate = scratch / "localhost.key", scratch / "localhost.crt"
    run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "3650"])
    tree.file("localhost.key", key, 0o644)
    tree.file("localhost.crt", certificate, 0o644)
    tree.link("usr/bin/agnhost", "/agnhost")
    oci.write(output, tree, [f"{E2E}/agnhost:2.56", f"{E2E}/agnhost:2.55"],
              {"Entrypoint": ["/agnhost"], "Cmd": ["pause"]})


SCTP_OR_WAIT = """\
#!/bin/sh
# A server of SCTP would end where the kernel has none, and its pod would never be ready for all the other tests.
[ "$1" != porter ] || /agnhost-2.56 "$@" || exec /agnhost-2.56 pause
exec /agnhost-2.56 "$@"
"""


def policy_agnhost_image(output, paths, _scratch):
    """What the policy conformance suite asks for."""
    tree = tools()
    tree.file("agnhost-2.56", paths["agnhost"], 0o755)
    tree.text("agnhost", SCTP_OR_WAIT, 0o755)
    tree.link("usr/bin/agnhost", "/agnhost")
    oci.write(output, tree, [f"{E2E}/agnhost:2.45"], {"Entrypoint": ["/agnhost"], "Cmd": ["pause"]})


def dnsutils_image(output, _paths, _scratch):
    oci.write(output, tools(), [f"{E2E}/jessie-dnsutils:1.7"], {"Cmd": ["bash"]})


def busybox_image(output, _paths, _scratch):
    tree = oci.Tree()
    tree.merged_usr()
    with_busybox(tree)
    oci.write(output, tree, [f"{E2E}/busybox:1.37.0-1", f"{E2E}/busybox:1.36.1-1", f"{E2E}/busybox:1.29-4"],
              {"Cmd": ["sh"]})


def pause_image(output, _paths, scratch):
    binary = scratch / "pause"
    run(["cc", "-static", "-Os", "-s", "-x", "c", "-", "-o", binary], input=PAUSE_SOURCE)
    tree = oci.Tree()
    tree.file("pause", binary, 0o755)
    oci.write(output, tree, ["registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause:3.10"], {"Entrypoint": ["/pause"]})


def coredns_image(output, paths, _scratch):
    tree = oci.Tree()
    tree.file("coredns", paths["coredns"], 0o755)
    oci.write(output, tree, ["registry.k8s.io/coredns/coredns:v1.12.1"], {"Entrypoint": ["/coredns"]})


def regression_image(output, paths, _scratch):
    tree = oci.Tree()
    tree.file("regression-issue-74839", paths["regression-issue-74839"], 0o755)
    oci.write(output, tree, [f"{E2E}/regression-issue-74839:1.2"], {"Entrypoint": ["/regression-issue-74839"]})


RECIPES = {"pause": pause_image, "busybox": busybox_image, "coredns": coredns_image, "agnhost": agnhost_image,
           "agnhost-for-policies": policy_agnhost_image, "jessie-dnsutils": dnsutils_image,
           "regression-issue-74839": regression_image}


def key():
    """Changes when any image would: the recipes, and the programs they copy."""
    digest = hashlib.sha256()
    for source in (Path(__file__), Path(inspect.getfile(oci)), components.GO_TOOL,
                   components.GO_TOOL.parent / "kubernetes/go.mod"):
        digest.update(source.read_bytes())
    for name in (*PROGRAMS, "busybox"):
        digest.update(f"{name} {os.stat(program(name)).st_mtime_ns}".encode())
    return digest.hexdigest()[:16]


def build():
    """The directory with the archive of every image, made if it is not there."""
    cache = components.CACHE.parent / "images"
    directory = cache / key()
    if directory.exists():
        return directory
    paths = components.build_all(components.IMAGES)
    progress(f"making images in {directory}")
    temporary = cache / f"{directory.name}.{os.getpid()}"
    scratch = temporary / "scratch"
    scratch.mkdir(parents=True)
    for name, recipe in RECIPES.items():
        recipe(temporary / f"{name}.tar", paths, scratch)
    shutil.rmtree(scratch)
    for old in cache.glob("*"):
        if old != temporary and old.suffix == "":
            shutil.rmtree(old)  # of an older recipe
    temporary.rename(directory)
    return directory
