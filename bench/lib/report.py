#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rows of figures, alike for all benchmarks: one JSON object a line, and the table made of them.

As a program it reads such lines from its input and prints the table. Keys of a row: kind, row, unit, median, p10, p90,
against (the baseline's name, or null), ratio, ratio_p10, ratio_p90, aim (text), met (true, false or null: no aim), note.
"""
import argparse
import json
import statistics
import sys


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(p * len(ordered)))]


def progress(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def row(kind, name, unit, values, against=None, ratios=None, aim="", met=None, note=""):
    """`values` are the samples, `ratios` those of the baseline's name, one a round."""
    def spread(prefix, samples):
        if not samples:
            return {prefix or "median": None, f"{prefix}_p10".strip("_"): None, f"{prefix}_p90".strip("_"): None}
        return {prefix or "median": statistics.median(samples), f"{prefix}_p10".strip("_"): percentile(samples, .1),
                f"{prefix}_p90".strip("_"): percentile(samples, .9)}
    return {"kind": kind, "row": name, "unit": unit, **spread("", values), "against": against, **spread("ratio", ratios),
            "aim": aim, "met": met, "note": note}


def emit(record):
    print(json.dumps(record), flush=True)


def number(value):
    if value is None:
        return ""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def interval(low, high):
    return "" if low is None or low == high else f"[{number(low)} {number(high)}]"


def cells(record):
    verdict = {True: "met", False: "MISSED", None: ""}[record["met"]]
    ratio = "" if record["ratio"] is None else f"{record['ratio']:.3g}"
    return [record["row"], f"{number(record['median'])} {record['unit']}", interval(record["p10"], record["p90"]),
            record["against"] or "", ratio, interval(record["ratio_p10"], record["ratio_p90"]), record["aim"], verdict,
            record["note"]]


HEADER = ["", "median", "[p10 p90]", "against", "ratio", "[p10 p90]", "aim", "", ""]


def table(records):
    lines = [HEADER] + [cells(r) for r in records]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADER))]
    right = {1, 4}
    for line in lines:
        text = "  ".join(cell.rjust(w) if i in right else cell.ljust(w)
                         for i, (cell, w) in enumerate(zip(line, widths)))
        print("  " + text.rstrip())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--title", default="")
    parser.add_argument("--json", metavar="FILE", help="append the rows to this file as well")
    args = parser.parse_args()
    records = []
    for line in sys.stdin:
        try:
            records.append(json.loads(line))
        except ValueError:
            sys.exit(f"report: not a row: {line.rstrip()}")
    if args.json:
        with open(args.json, "a", encoding="utf-8") as f:
            f.writelines(json.dumps(r) + "\n" for r in records)
    print(f"\n{args.title}")
    table(records)
    missed = [r for r in records if r["met"] is False]
    print(f"  {len(records)} rows, {len(missed)} beside their aim")


if __name__ == "__main__":
    main()
