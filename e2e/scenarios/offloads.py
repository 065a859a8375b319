# SPDX-License-Identifier: Apache-2.0
"""Without checksum, segmentation and receive offloads on the wires, and then in pods, everything goes through."""

from contextlib import ExitStack, contextmanager

from .. import places
from ..shell import progress
from . import _bulk, check

# As ethtool sets them, and as it shows them.
FEATURES = {"rx": "rx-checksumming", "tx": "tx-checksumming", "tso": "tcp-segmentation-offload",
            "gso": "generic-segmentation-offload", "gro": "generic-receive-offload"}


def parse(text):
    """Feature to whether it is on, of those that ethtool lists without indentation."""
    lines = [line.partition(": ") for line in text.splitlines()[1:]]
    return {name: state.split()[0] == "on" for name, _, state in lines if not name.startswith("\t")}


def shown(place, device):
    return parse(place.run(["ethtool", "-k", device]))


def switch(place, device, wanted):
    """One at a time: some take others with them, and ethtool complains of those."""
    for feature, on in wanted.items():
        place.run(["ethtool", "-K", device, feature, "on" if on else "off"], check=False)
    seen = shown(place, device)
    wrong = [feature for feature, on in wanted.items() if seen[FEATURES[feature]] != on]
    check(not wrong, f"{device} of {place.name}: {', '.join(wrong)} cannot be switched")


@contextmanager
def switched_off(place, device):
    before = shown(place, device)
    try:
        switch(place, device, dict.fromkeys(FEATURES, False))
        yield
    finally:
        switch(place, device, {feature: before[name] for feature, name in FEATURES.items()})


def wires(cluster):
    """Both ends of every node's link."""
    hub = places.of_machine(cluster.control_plane)
    for name, node in cluster.nodes.items():
        yield hub, name
        yield places.of_machine(node), "eth0"


def run(lab):
    with _bulk.pair(lab) as pair:
        _bulk.everything(lab, pair)
        progress("offloads: everything goes through with them")
        before = {(place.name, device): shown(place, device) for place, device in wires(lab.cluster)}
        with ExitStack() as off:
            for place, device in wires(lab.cluster):
                off.enter_context(switched_off(place, device))
            _bulk.everything(lab, pair)
            progress("offloads: and without them on the wires")
            for place in (pair.client, pair.server):
                off.enter_context(switched_off(place, "eth0"))
            _bulk.everything(lab, pair)
            progress("offloads: and without them in the pods")
        for place, device in wires(lab.cluster):
            check(shown(place, device) == before[place.name, device], f"{device} of {place.name} is not as it was")
        _bulk.everything(lab, pair)
