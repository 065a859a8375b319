# SPDX-License-Identifier: Apache-2.0
"""Configuration of the reference network."""

import unittest

from e2e import plan, reference


class ReferenceTest(unittest.TestCase):
    def test_one_range_and_one_default_route_for_each_family(self):
        ipam = reference.conflist(["10.244.1.0/24", "fd00:10:244:1::/64"])["plugins"][0]["ipam"]
        self.assertEqual(ipam["ranges"], [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:10:244:1::/64"}]])
        self.assertEqual(ipam["routes"], [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}])

    def test_a_single_family_routes_nothing_of_the_other(self):
        ipam = reference.conflist(["fd00:10:244:1::/64"])["plugins"][0]["ipam"]
        self.assertEqual(ipam["routes"], [{"dst": "::/0"}])

    def test_the_proxy_knows_its_node_and_mode(self):
        text = reference.proxy_configuration(plan.Plan("x", proxy_mode="iptables"), "n2", "/k")
        self.assertIn("mode: iptables\n", text)
        self.assertIn("hostnameOverride: n2\n", text)
        self.assertIn('clusterCIDR: "10.244.0.0/16,fd00:10:244::/56"\n', text)


if __name__ == "__main__":
    unittest.main()
