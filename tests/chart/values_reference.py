# SPDX-License-Identifier: Apache-2.0
"""docs/values.md out of the chart's values.yaml: each value with its default and the comment above it."""

import re
from dataclasses import dataclass

INTRODUCTION = """\
# Values of the chart

Written from [charts/weir/values.yaml](../charts/weir/values.yaml) by `tests/chart/chart_test.py`; do not edit. How to install is in [install.md](install.md).

| Value | Default | Meaning |
|---|---|---|
"""
KEY = re.compile(r"^( *)([A-Za-z0-9]+):(?: (.*))?$")


@dataclass
class Value:
    """One value: its path, what stands there, and what is said of it."""

    path: str
    default: str
    meaning: str


def parse(text):
    """The values, in order. A comment belongs to the key below it, and to the first value below a key without one."""
    values, path, comment = [], [], []
    lines = text.splitlines()[2:]  # without licence and heading
    for number, line in enumerate(lines):
        found = KEY.match(line)
        if line.strip().startswith("#"):
            comment.append(line.strip(" #"))
        elif found:
            path = path[:len(found[1]) // 2] + [found[2]]
            default = found[3] or listed(lines[number + 1:])
            if default:
                values.append(Value(".".join(path), default, " ".join(comment)))
                comment = []
    return values


def listed(below):
    """A list written in lines, as one."""
    items = []
    for line in below:
        if not line.startswith("- "):
            break
        items.append(line[2:])
    return f"[{', '.join(f'{{{item}}}' for item in items)}]" if items else ""


def cell(text):
    return text.replace("|", "\\|")


def reference(text):
    return INTRODUCTION + "".join(f"| `{v.path}` | `{cell(v.default)}` | {cell(v.meaning)} |\n" for v in parse(text))
