"""Makes docs/interop.md from finished cells."""
import datetime
import json
import re
from pathlib import Path

import torch

from reference import GRAPHS
from runtimes import RUNTIMES

BOUND = 1e-4  # what a good cell is under

# How a runtime's error names the operator that it lacks or fails at.
OPERATOR = [
    re.compile(r"operation_type='(\w+)', version=(\d+)"),  # onnx2torch
    re.compile(r"node #\d+ \"[^\"]*\" (\w+)"),  # tract
    re.compile(r"running (\w+) node"),  # ONNX Runtime
    re.compile(r"No Op registered for (\w+)"),
    re.compile(r"implementation for the node \S+ (\w+)\("),
    re.compile(r"OpenVINO does not support the following ONNX operations: (?:ai\.onnx\.)?(\w+)"),
    re.compile(r"No evaluator registered for operator '?(\w+)"),
]

# Errors that name it in another way: torch's of a view, which onnx2torch asks for in Reshape alone.
OTHERWISE = [(re.compile(r"shape '\[[\d, -]*\]' is invalid for input of size \d+"), "Reshape")]


def operator(error: str) -> str:
    """The operator that an error is about, if it says so."""
    for pattern in OPERATOR:
        if found := pattern.search(error):
            return "-".join(g for g in found.groups() if g)
    return next((name for pattern, name in OTHERWISE if pattern.search(error)), "")


def read(cells: Path) -> dict:
    """(runtime, variant, arch, graph) → cell."""
    known = {}
    for r in RUNTIMES:
        for file in sorted((cells / r.name.replace(" ", "-")).glob("*.json")):
            c = json.loads(file.read_text())
            known[r.name, c["variant"], c["arch"], c["graph"]] = c
    return known


def version(cells: Path, name: str) -> str:
    file = cells / name.replace(" ", "-") / "version"
    return file.read_text() if file.exists() else ""


def good(c: dict) -> bool:
    return "read" in c or c.get("largest", 1.0) < BOUND


class Notes:
    """Errors, each told once."""

    def __init__(self):
        self.number = {}

    def of(self, runtime: str, c: dict) -> str:
        text = re.sub(r"\s+", " ", c["error"])
        text = re.sub(r"(/[\w.+-]+)+/", "", text)  # folders are of one machine
        key = (runtime, operator(c["error"]) or re.sub(r"\d+", "", text)[:80])
        n, _ = self.number.setdefault(key, (len(self.number) + 1, text))
        return f"{operator(c['error']) or 'failed'} [{n}]"


def shown(runtime: str, c: dict | None, notes: Notes) -> str:
    if c is None:
        return "not run"
    if "error" in c:
        return notes.of(runtime, c)
    if "read" in c:
        return "read"
    return f"{c['largest']:.0e}" if good(c) else f"**{c['largest']:.0e}**"


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def overview(known: dict, runs: list[str]) -> list[str]:
    """A row a runtime: of each graph how many variants run, and the largest error."""
    lines = [row(["runtime", *GRAPHS]), row(["---"] * (len(GRAPHS) + 1))]
    total = len({(v, arch) for _, v, arch, _ in known})
    for name in runs:
        out = [name]
        for graph in GRAPHS:
            of = [c for (r, _, _, g), c in known.items() if r == name and g == graph]
            fine = [c for c in of if good(c)]
            largest = max((c["largest"] for c in fine if "largest" in c), default=None)
            out.append(f"{len(fine)} of {len(of)}" + (f", {largest:.0e}" if largest is not None else "") + (f"; {total - len(of)} not run" if len(of) < total else ""))
        lines.append(row(out))
    return lines


def summary(cells: Path) -> str:
    known = read(cells)
    return "\n".join(overview(known, [r.name for r in RUNTIMES if version(cells, r.name)]))


def page(cells: Path, variants: list[tuple[str, str]]) -> str:
    known, notes = read(cells), Notes()
    runs = [r for r in RUNTIMES if version(cells, r.name)]
    missing = [r.name for r in RUNTIMES if r not in runs]
    lines = [
        "# Which runtime opens march's graphs", "",
        f"Made by `python tools/interop/interop.py` on {datetime.date.today()}; do not edit. [tools/interop](../tools/interop/README.md) says how.", "",
        f"Every variant of the catalogue in each of its architectures ({len(variants)}), at micro size, target `portable`, as `march gen` writes it. A cell is the largest",
        f"error against `tools/oracle` (PyTorch {torch.__version__.split('+')[0]}, float64): of logits and log-probabilities absolute; of sums and the gradient norm relative; of gradients,",
        "moments and parameters divided by the tensor's largest entry, or by a thousandth of the model's largest where that is more. Counts and the most likely",
        f"tokens must be equal. Good is under {BOUND:.0e}; what is not is bold, or names the operator that is missing or fails, with the error below.", "",
        row(["runtime", "version", "what"]), row(["---"] * 3),
        *(row([r.name, version(cells, r.name), r.about]) for r in runs), "",
    ]
    if missing:
        lines += [f"Not run where this page was made: {', '.join(missing)}.", ""]
    lines += ["## How many run", "", "Variants with an error under the bound, and the largest such error.", "", *overview(known, [r.name for r in runs]), ""]
    for graph in GRAPHS:
        lines += [f"## {graph}.onnx", "", row(["variant", "arch", *(r.name for r in runs)]), row(["---"] * (len(runs) + 2))]
        for v, arch in variants:
            lines.append(row([v, arch, *(shown(r.name, known.get((r.name, v, arch, graph)), notes) for r in runs)]))
        lines.append("")
    if notes.number:
        lines += ["## Errors", "", "The first of its kind, in the runtime's words.", ""]
        for (runtime, _), (n, text) in notes.number.items():
            lines.append(f"{n}. {runtime}: `{text[:300].replace('`', chr(39))}`")
        lines.append("")
    return "\n".join(lines)
