# SPDX-License-Identifier: Apache-2.0
"""The chart: what it renders, compared with files that people have read, and what it refuses.

WEIR_UPDATE_GOLDEN=1 writes the files anew; read what changed before it is committed. Exit status 77 (skipped) where
Helm cannot be had.
"""

import json
import os
import re
import subprocess
import sys
import unittest
from pathlib import Path

from e2e import components
from e2e.shell import Failure
from tests.chart import values_reference

CHART = components.ROOT / "charts/weir"
GOLDEN = Path(__file__).with_name("golden")

# Golden file to the values that it is rendered with.
CASES = {
    "default": [],
    "no-kube-proxy": ["--set", "cluster.apiServers={https://10.0.0.1:6443,https://10.0.0.2:6443}",
                      "--set", "cluster.podCIDRs={10.1.0.0/16}", "--set", "cluster.assignPodCIDRs=true",
                      "--set", "cluster.serviceCIDRs={10.2.0.0/16}",
                      "--set", "network.masquerade.exceptions={10.0.0.0/8}", "--set", "network.devices={eth0,bond*}",
                      "--set", "host.mountBpffs=false"],
    "everything": ["--set", "image.digest=sha256:" + "0" * 64, "--set", "imagePullSecrets={registry}",
                   "--set", "metrics.address=::", "--set", "metrics.serviceMonitor.enabled=true",
                   "--set", "metrics.serviceMonitor.labels.release=prometheus",
                   "--set", "metrics.prometheusRule.enabled=true", "--set", "metrics.dashboard.enabled=true",
                   "--set", "privileged=true",
                   "--set", "host.cgroupRoot=/sys/fs/cgroup/unified", "--set", "serviceAccount.name=network",
                   "--set", "podLabels.team=net", "--set", "uninstall=all", "--set", "podAnnotations.note=x", "--set", "nodeSelector.weir=yes",
                   "--set-json", 'affinity={"nodeAffinity":{}}', "--set", "extraArgs={--timeout-icmp=10s}"],
    "own-account": ["--set", "serviceAccount.create=false", "--set", "serviceAccount.name=theirs",
                    "--set", "rbac.create=false", "--set", "uninstall=nothing"],
}

# Values that are refused, and a part of the sentence that says why.
REFUSED = {
    "an unknown value": (["--set", "imagee.tag=x"], "imagee"),
    "an unknown value further down": (["--set", "network.mtuu=1"], "mtuu"),
    "a wrong word": (["--set", "network.socketHooks=some"], "socketHooks"),
    "an MTU that IPv6 cannot have": (["--set", "network.mtu=1000"], "mtu"),
    "a flag that is none": (["--set", "extraArgs={oops}"], "extraArgs"),
    "a block that is none": (["--set", "cluster.nodeBlock.ipv4=31"], "nodeBlock"),
    "an API server without https": (["--set", "cluster.apiServers={10.0.0.1}"], "apiServers"),
    "a monitor that reaches nothing": (["--set", "metrics.serviceMonitor.enabled=true"],
                                       "needs a metrics.address that Prometheus reaches"),
    "an uninstall that is none": (["--set", "uninstall=some"], "uninstall"),
    "alerts without metrics": (["--set", "metrics.prometheusRule.enabled=true"], "serviceMonitor.enabled too"),
    "a dashboard that nobody finds": (["--set", "metrics.dashboard.enabled=true", "--set",
                                       "metrics.dashboard.labels.grafana_dashboard=null"], "dashboard/labels"),
    "no account": (["--set", "serviceAccount.create=false"], "serviceAccount.name must name one"),
    "a cgroup root elsewhere": (["--set", "host.cgroupRoot=/tmp"], "at or below /sys/fs/cgroup"),
}


def documented_metrics():
    """Metric to its labels, with those that it has by being scraped, by docs/metrics.md."""
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) \|", (components.ROOT / "docs/metrics.md").read_text(), re.M)
    found = {}
    for name, kind, labels in rows:
        names = [f"{name}_{part}" for part in ("bucket", "sum", "count")] if kind == "histogram" else [name]
        for one in names:
            found[one] = {*re.findall(r"\w+", labels), "node", "instance"} | ({"le"} if one.endswith("_bucket") else set())
    return found


def dashboard():
    return json.loads((CHART / "files/dashboard.json").read_text())


def of_query(query):
    """The metrics of a query, and the labels that it chooses and groups by."""
    names = set(re.findall(r"\b(?:weir|process|kubeproxy)_\w+", query))
    selected = re.findall(r'(\w+)(?:=~|!=|!~|=)"', query)
    grouped = re.findall(r"\b(?:by|on) \(([^)]*)\)", query)
    return names, set(selected) | {label for group in grouped for label in re.findall(r"\w+", group)}


class ChartTest(unittest.TestCase):
    def helm(self, *arguments):
        return subprocess.run([components.build("helm"), *arguments], text=True, capture_output=True, check=False)

    def render(self, values):
        return self.helm("template", "weir", CHART, "--namespace=kube-system", "--kube-version=1.34.4", *values)

    def test_lint_has_nothing_to_say(self):
        done = self.helm("lint", "--strict", CHART)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_what_is_rendered_is_what_was_read(self):
        for name, values in CASES.items():
            with self.subTest(name):
                done = self.render(values)
                self.assertEqual(done.returncode, 0, done.stderr)
                file = GOLDEN / f"{name}.yaml"
                if os.environ.get("WEIR_UPDATE_GOLDEN"):
                    file.write_text(done.stdout)
                self.assertEqual(done.stdout, file.read_text())

    def test_what_cannot_be_meant_is_refused(self):
        for name, (values, sentence) in REFUSED.items():
            with self.subTest(name):
                done = self.render(values)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(sentence, done.stderr)

    def test_another_configuration_replaces_agents(self):
        def checksum(values):
            return re.search(r"checksum/config: (\w+)", self.render(values).stdout).group(1)
        self.assertNotEqual(checksum([]), checksum(["--set", "log.level=debug"]))
        self.assertEqual(checksum([]), checksum(["--set", "podLabels.a=b"]))

    def test_what_waits_for_the_cleanup_runs_though_no_node_is_chosen(self):
        terms = [{"matchExpressions": [{"key": "pool", "operator": "Exists"}]}]
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}
        rendered = self.render(["--set-string", "nodeSelector.weir=yes", "--set-json", "affinity=" + json.dumps(affinity)]).stdout
        job = next(part for part in rendered.split("\n---\n") if "kind: Job" in part)
        self.assertIn("nodeSelector:\n        kubernetes.io/os: linux\n      affinity:", job)
        self.assertNotIn("required", job)
        self.assertEqual(job.count("preference:"), 2)
        self.assertIn("- key: pool", job)
        self.assertIn("- key: weir\n                operator: In\n                values:\n                - \"yes\"", job)
        cleanup = next(part for part in rendered.split("\n---\n") if "kind: DaemonSet" in part and "weir-cleanup" in part)
        self.assertIn("required", cleanup)

    def test_every_value_has_a_type_and_every_type_a_value(self):
        done = self.helm("show", "values", CHART)
        self.assertEqual(done.returncode, 0, done.stderr)
        schema = json.loads((CHART / "values.schema.json").read_text())
        keys = set(re.findall(r"^([a-zA-Z]+):", done.stdout, re.M))
        self.assertEqual(keys, set(schema["properties"]) - {"global"})

    def test_every_value_is_explained_and_the_page_says_so(self):
        text = (CHART / "values.yaml").read_text()
        values = values_reference.parse(text)
        self.assertLessEqual(len(values), 60)
        self.assertGreater(len(values), 40)
        page = components.ROOT / "docs/values.md"
        if os.environ.get("WEIR_UPDATE_GOLDEN"):
            page.write_text(values_reference.reference(text))
        self.assertEqual(page.read_text(), values_reference.reference(text))
        unexplained = {value.path for value in values if not value.meaning}
        self.assertEqual(unexplained, set())

    def test_memory_follows_the_capacities_unless_it_is_given(self):
        def memory(*values):
            return {int(found) for found in re.findall(r"memory: (\d+)Mi", self.render(list(values)).stdout)}
        request, limit = sorted(memory())
        larger = sorted(memory("--set", "capacity.connections=1048576"))
        self.assertEqual(larger[0], request)
        self.assertEqual(larger[1], limit + 3 * 262144 * 900 // (1 << 20))
        self.assertGreater(sorted(memory("--set", "capacity.slots=4194304"))[0], request)
        self.assertEqual(memory("--set", "resources.limits.memory=777Mi", "--set", "resources.requests.memory=5Mi"),
                         {5, 777})

    def test_alerts_are_of_metrics_and_reasons_that_there_are(self):
        alerts = (CHART / "files/alerts.yaml").read_text()
        used = set(re.findall(r"\bweir_[a-z_]+(?=[{ \[]|$)", alerts, re.M))
        self.assertGreater(len(used), 5)
        self.assertEqual(used - documented_metrics().keys(), set())
        reasons = (components.ROOT / "docs/drop-reasons.md").read_text()
        for reason in "|".join(re.findall(r'reason=~"([^"]*)"', alerts)).split("|"):
            self.assertIn(f"`{reason}`", reasons)

    def test_the_dashboard_is_of_metrics_and_labels_that_there_are(self):
        metrics = documented_metrics()
        queries = [(panel["title"], target["expr"]) for panel in dashboard()["panels"]
                   for target in panel.get("targets", [])]
        used = set()
        for title, query in queries:
            with self.subTest(title):
                names, labels = of_query(query)
                self.assertNotEqual(names, set())
                self.assertEqual(names - metrics.keys(), set())
                self.assertEqual(labels - set().union(*(metrics[name] for name in names)), set())
                used |= names
        self.assertGreater(len(used), 30)

    def test_the_dashboard_can_be_read(self):
        board = dashboard()
        panels = board["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        taken = set()
        for panel in panels:
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            self.assertFalse(cells & taken, f"{panel['title']} lies on another panel")
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            taken |= cells
            if panel["type"] != "row":
                self.assertTrue(panel["description"], f"{panel['title']} does not say what it shows")
        variables = {variable["name"] for variable in board["templating"]["list"]}
        named = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(panels)))
        self.assertEqual(named, variables)

    def test_the_dashboard_is_rendered_as_it_is(self):
        text = self.render(["--set", "metrics.dashboard.enabled=true",
                            "--show-only", "templates/dashboard.yaml"]).stdout
        self.assertIn('grafana_dashboard: "1"', text)
        block = re.search(r"^  weir\.json: \|\n((?:    .*\n)+)", text, re.M).group(1)
        self.assertEqual(json.loads(block), dashboard())

    def test_the_configuration_names_options_of_the_agent(self):
        agent = (components.ROOT / "src/agent/config.cpp").read_text()
        options = set(re.findall(r'\{\{"([a-z0-9-]+)",', agent))
        text = self.render(CASES["no-kube-proxy"] + ["--set", "host.cgroupRoot=/sys/fs/cgroup"]).stdout
        block = re.search(r"  config\.yaml: \|\n((?:    .*\n)+)", text).group(1)
        options.add("api-servers")  # comes with the source "kubernetes"
        unknown = {line.split(":")[0].strip() for line in block.splitlines()} - options
        self.assertEqual(unknown, set())


def main():
    try:
        components.build("helm", seconds=int(os.environ.get("WEIR_GO_SECONDS", "780")))
    except Failure as failure:
        print(f"chart_test.py: {failure}\nchart_test.py: the chart is not tested here", file=sys.stderr)
        sys.exit(77)
    unittest.main()


if __name__ == "__main__":
    main()
