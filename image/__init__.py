# SPDX-License-Identifier: Apache-2.0
"""Weir's container image, made without a daemon."""
