#!/usr/bin/env python3
"""Have onnx's own checker judge every .onnx file of one or more programs.

    python tools/oracle/check_onnx.py FOLDER…      # folders are searched, files taken as they are

Each file must pass onnx.checker.check_model(full_check=True) and strict shape inference with data propagation, and afterwards every
tensor of the graph must have a known type and rank. The manifest.json beside a file names its target: under `portable`, every node, at
any depth and in any function, must belong to ai.onnx, and no other operator set may be imported. One line a file; exit 1 on any
failure, 2 if there is nothing to check. Needs only the package onnx.
"""
import argparse
import collections
import json
import sys
from pathlib import Path

import onnx

STANDARD = {"", "ai.onnx"}


def nodes(holder):
    """Every node of a graph or function, those of nested graphs included."""
    for node in holder.node:
        yield node
        for a in node.attribute:
            for g in ([a.g] if a.HasField("g") else []) + list(a.graphs):
                yield from nodes(g)


def target(path: Path) -> str:
    """The target that the manifest beside the file names, or - where there is no manifest."""
    manifest = path.parent / "manifest.json"
    if not manifest.exists():
        return "-"
    named = json.loads(manifest.read_text()).get("target")
    if not named:
        raise ValueError(f"{manifest} names no target")
    return named


def unknown(graph) -> list[str]:
    """Node outputs without a known type and rank after shape inference."""
    known = {v.name for v in [*graph.input, *graph.output, *graph.value_info] if v.type.HasField("tensor_type") and v.type.tensor_type.elem_type and v.type.tensor_type.HasField("shape")}
    return [o for n in graph.node for o in n.output if o and o not in known]


def check(path: Path) -> str:
    """A short description of a good file; raises where it is not."""
    named = target(path)
    onnx.checker.check_model(str(path), full_check=True)  # by path: external data is looked up beside the file
    model = onnx.load(path, load_external_data=False)
    every = [n for part in (model.graph, *model.functions) for n in nodes(part)]
    domains = collections.Counter(n.domain for n in every if n.domain not in STANDARD)
    if named == "portable":
        imported = {o.domain for part in (model, *model.functions) for o in part.opset_import} - STANDARD
        if domains or imported:
            found = ", ".join(sorted({f"{n.domain}.{n.op_type}" for n in every if n.domain not in STANDARD} | {f"operator set {d}" for d in imported}))
            raise ValueError(f"target portable allows ai.onnx alone, found {found}")
    inferred = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    if without := unknown(inferred.graph):
        raise ValueError(f"no type or rank known for {len(without)} of the tensors, first {without[0]!r}")
    opsets = " ".join(f"{o.domain or 'ai.onnx'}:{o.version}" for o in model.opset_import)
    return f"target {named}, {opsets}, {len(every)} nodes, {sum(domains.values())} of them outside ai.onnx, {path.stat().st_size:,} bytes"


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("paths", nargs="+", type=Path, metavar="FOLDER", help="folders to search, or .onnx files")
    failed = checked = 0
    for given in ap.parse_args().paths:
        files = sorted(given.rglob("*.onnx")) if given.is_dir() else [given]
        if not files:
            print(f"FAIL {given}: no .onnx file in it")
            failed += 1
        for path in files:
            checked += 1
            try:
                print(f"ok   {path}: {check(path)}", flush=True)
            except Exception as e:  # one bad file must not hide the others
                failed += 1
                print(f"FAIL {path}: {type(e).__name__}: {' '.join(str(e).split())[:500]}", flush=True)
    print(f"{checked} files, {failed} failed")
    return 2 if not checked else 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
