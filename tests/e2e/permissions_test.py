# SPDX-License-Identifier: Apache-2.0
"""What agents outside of pods may do is what the chart's may."""

import unittest

from e2e import components, weir

RULES = components.ROOT / "charts/weir/files/clusterrole-rules.yaml"


class PermissionsTest(unittest.TestCase):
    def test_the_role_has_the_rules_of_the_chart(self):
        role, binding = weir.permissions().split("---\n")
        head, rules = role.split("rules:\n")
        self.assertIn("kind: ClusterRole\n", head)
        self.assertEqual(rules, RULES.read_text())
        self.assertIn("kind: ClusterRoleBinding\n", binding)

    def test_the_chart_has_no_rules_beside_them(self):
        template = (RULES.parents[1] / "templates/rbac.yaml").read_text()
        self.assertIn('rules:\n{{ .Files.Get "files/clusterrole-rules.yaml"', template)
        self.assertNotIn("verbs:", template)


if __name__ == "__main__":
    unittest.main()
