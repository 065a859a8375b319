# SPDX-License-Identifier: Apache-2.0
"""What a machine is made of and what runs on it, where no machine is needed to know."""

import tempfile
import unittest
from pathlib import Path

from e2e import cgroups, chart, components, controlplane, node, plan, weir
from e2e.shell import Failure

HYBRID = """\
proc /proc proc rw 0 0
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,xattr,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""


class CgroupTest(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.mounts = Path(directory.name) / "mounts"

    def test_a_hybrid_host_has_each_hierarchy_once(self):
        self.mounts.write_text(HYBRID + HYBRID)
        found = cgroups.hierarchies(self.mounts)
        self.assertEqual([(str(h.path), h.unified) for h in found], [
            ("/sys/fs/cgroup/cpu,cpuacct", False), ("/sys/fs/cgroup/systemd", False),
            ("/sys/fs/cgroup/unified", True)])

    def test_a_host_without_cgroup2_is_refused_with_what_to_do(self):
        self.mounts.write_text("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n")
        with self.assertRaisesRegex(Failure, "mount -t cgroup2"):
            cgroups.hierarchies(self.mounts)

    def test_clusters_whose_names_begin_alike_do_not_find_each_other(self):
        self.assertNotEqual(cgroups.group_name("a", "n1"), cgroups.group_name("ab", "n1"))
        self.assertFalse(Path(cgroups.group_name("ab", "n1")).match(cgroups.group_name("a", "*")))
        self.assertNotEqual(plan.netns("a", "n1"), plan.netns("ab", "n1"))


class CommandTest(unittest.TestCase):
    def test_controllers_get_the_masks_that_fit_the_families(self):
        dual = controlplane.controllers_command(plan.Plan("x"), "/pki", "/bin")
        self.assertIn("--node-cidr-mask-size-ipv4=24", dual)
        self.assertIn("--node-cidr-mask-size-ipv6=64", dual)
        single = controlplane.controllers_command(plan.Plan("x", ip="v6"), "/pki", "/bin")
        self.assertIn("--node-cidr-mask-size=64", single)
        self.assertFalse([word for word in single if "ipv4" in word])

    def test_the_api_server_advertises_its_primary_address(self):
        words = controlplane.apiserver_command(plan.Plan("x", ip="v6"), "/pki", "/bin")
        self.assertIn("--advertise-address=fd00:172:30::1", words)

    def test_kubelet_asks_the_clusters_dns(self):
        self.assertIn('clusterDNS: ["fd00:10:96::a"]', node.kubelet_configuration(plan.Plan("x", ip="v6"), "/pki"))

    def test_the_agent_is_told_what_it_cannot_find_out(self):
        words = weir.agent_command(plan.Plan("x"), "n2", "/pki/weir-agent.conf", "/sys/fs/cgroup/unified")
        self.assertIn("--node-name=n2", words)
        self.assertIn("--cluster-cidrs=10.244.0.0/16,fd00:10:244::/56", words)
        self.assertIn("--cgroup-root=/sys/fs/cgroup/unified", words)

    def test_the_chart_is_told_what_it_cannot_find_out(self):
        values = chart.values(plan.Plan("x", ip="v6"), "/sys/fs/cgroup/unified")
        self.assertEqual(values["cluster"], {"apiServers": ["https://[fd00:172:30::1]:6443"],
                                             "podCIDRs": ["fd00:10:244::/56"], "serviceCIDRs": ["fd00:10:96::/112"]})
        self.assertEqual(values["host"]["cgroupRoot"], "/sys/fs/cgroup/unified")

    def test_a_build_tree_without_programs_is_refused_with_what_to_do(self):
        with self.assertRaisesRegex(Failure, "./dev build release"):
            weir.binds("/no/such/tree")


class ComponentTest(unittest.TestCase):
    def test_programs_are_kept_by_their_version(self):
        self.assertRegex(str(components.place("kubelet")), r"/kubernetes-v1\.\d+\.\d+/kubelet$")
        self.assertRegex(str(components.place("helm")), r"/helm-v3\.\d+\.\d+$")
        self.assertEqual(components.place("e2e.test").parent, components.place("ginkgo").parent)


if __name__ == "__main__":
    unittest.main()
