# SPDX-License-Identifier: Apache-2.0
"""What agents outside of pods may do is what the chart's may."""

import unittest

from e2e import components, weir

RULES = components.ROOT / "charts/weir/files"


class PermissionsTest(unittest.TestCase):
    def test_the_roles_have_the_rules_of_the_chart(self):
        documents = weir.permissions().split("---\n")
        kinds = [document.split("kind: ")[1].split("\n")[0] for document in documents]
        self.assertEqual(kinds, ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"])
        for document, file in ((documents[0], "clusterrole-rules.yaml"), (documents[2], "role-rules.yaml")):
            self.assertEqual(document.split("rules:\n")[1], (RULES / file).read_text())

    def test_the_chart_has_no_rules_beside_them(self):
        template = (RULES.parent / "templates/rbac.yaml").read_text()
        for file in ("clusterrole-rules.yaml", "role-rules.yaml"):
            self.assertIn('rules:\n{{ .Files.Get "files/%s"' % file, template)
        self.assertNotIn("verbs:", template)


if __name__ == "__main__":
    unittest.main()
