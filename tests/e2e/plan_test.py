# SPDX-License-Identifier: Apache-2.0
"""Names and addresses of a cluster."""

import unittest

from e2e import plan
from e2e.cluster import coredns
from e2e.shell import Failure


class PlanTest(unittest.TestCase):
    def test_dual_stack_machines_have_an_address_of_each_family(self):
        p = plan.Plan("x", nodes=2)
        self.assertEqual(p.node_names, ["n1", "n2"])
        self.assertEqual([str(a) for a in p.addresses("cp")], ["172.30.0.1", "fd00:172:30::1"])
        self.assertEqual([str(a) for a in p.addresses("n2")], ["172.30.0.12", "fd00:172:30::c"])
        self.assertEqual(p.pod_cidrs(), "10.244.0.0/16,fd00:10:244::/56")

    def test_a_single_family_plans_nothing_of_the_other(self):
        v6 = plan.Plan("x", ip="v6")
        self.assertEqual([a.version for a in v6.addresses("n1")], [6])
        self.assertEqual(v6.server(), "https://[fd00:172:30::1]:6443")
        self.assertEqual(str(v6.service_address(10)), "fd00:10:96::a")
        v4 = plan.Plan("x", ip="v4")
        self.assertEqual(v4.service_cidrs(), "10.96.0.0/16")
        self.assertEqual(v4.server(), "https://172.30.0.1:6443")

    def test_addresses_of_machines_never_meet(self):
        p = plan.Plan("x", nodes=20)
        seen = [a for machine in ("cp", *p.node_names) for a in p.addresses(machine)]
        self.assertEqual(len(seen), len(set(seen)))
        links = [p.link_address(machine) for machine in p.node_names]
        self.assertEqual(len(links), len(set(links)))

    def test_a_name_that_would_not_fit_into_others_is_refused(self):
        for name in ("", "9a", "a-b", "A", "thirteenchars", "a/../b"):
            with self.assertRaisesRegex(Failure, "cluster name"):
                plan.Plan(name)

    def test_wrong_counts_and_words_are_refused(self):
        for wrong in ({"nodes": 0}, {"nodes": 21}, {"ip": "v5"}, {"network": "else"}, {"ranges": "mine"},
                      {"ranges": "weir", "network": "reference"}):
            with self.assertRaises(Failure):
                plan.Plan("x", **wrong)

    def test_the_chart_runs_weir_only(self):
        self.assertTrue(plan.Plan("x", network="weir", agent="chart").by_chart)
        self.assertFalse(plan.Plan("x", network="weir", agent="binaries").by_chart)
        self.assertFalse(plan.Plan("x", network="reference", agent="chart").by_chart)

    def test_dns_forwards_to_the_resolver_outside_in_every_family(self):
        self.assertIn("forward . 172.30.0.1 fd00:172:30::1\n", coredns(plan.Plan("x")))
        self.assertIn("forward . fd00:172:30::1\n", coredns(plan.Plan("x", ip="v6")))

    def test_dns_has_its_fixed_address_in_every_family(self):
        self.assertIn('clusterIP: "10.96.0.10"', coredns(plan.Plan("x")))
        self.assertIn('clusterIP: "fd00:10:96::a"', coredns(plan.Plan("x", ip="v6")))


if __name__ == "__main__":
    unittest.main()
