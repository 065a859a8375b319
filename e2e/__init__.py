# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes on one machine, and the suites that run against it."""
