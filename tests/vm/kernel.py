# SPDX-License-Identifier: Apache-2.0
"""Debian's kernels: fetching their packages, unpacking them, and the modules within."""

import lzma
import re
import shutil
import subprocess
import sys
from pathlib import Path

# What the names of kernels mean: Debian's meta packages, which follow its updates.
KERNELS = {"6.1": "linux-image-cloud-amd64", "6.12": "linux-image-6.12-cloud-amd64"}

# Loaded at boot, as on any host with containers.
MODULES = ["veth", "dummy", "sch_ingress", "cls_bpf"]
# There with what they depend on, for the kernel to ask for.
MODULES_ON_DEMAND = ["vxlan", "geneve", "bridge", "br_netfilter", "macvlan", "ipvlan", "bonding", "8021q", "tun",
                     "sctp", "sctp_diag", "tcp_diag", "udp_diag", "inet_diag", "unix_diag",
                     "nf_tables", "nf_conntrack", "nf_conntrack_netlink", "nft_ct", "nft_chain_nat", "nft_masq",
                     "nft_redir", "nft_reject_inet", "nft_counter", "nft_fib_inet", "nft_limit", "nft_log",
                     "nft_compat", "nft_tproxy", "nft_socket", "sch_netem", "sch_fq", "sch_fq_codel", "sch_htb",
                     "sch_tbf", "cls_matchall", "cls_u32", "act_mirred", "act_gact", "vsock", "overlay"]


class NoKernel(Exception):
    """The kernel cannot be had; the message says why."""


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
    """Uncompressed modules, and the tables of modprobe for them."""
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
    for table in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy2(modules / table, target / table)
    subprocess.run(["depmod", "-b", stage, release], check=True)
