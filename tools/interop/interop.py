#!/usr/bin/env python3
"""Run every variant's graphs in other runtimes, compare with tools/oracle, and write docs/interop.md.

    python tools/interop/interop.py                                  # all that is not known yet, then the table
    python tools/interop/interop.py --runtime tract 'heads/glu*'     # some of it; the table has all that is known
    python tools/interop/interop.py --again --runtime OpenVINO       # what is known is not believed

Needs bin/march (make build) and the packages of tools/oracle/requirements.txt; the runtimes it installs itself. A cell is kept with the
digest of the graph and its inputs and the runtime's version, and run again when one of them is another, so a stopped run goes on where it was.
"""
import argparse
import hashlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path

from safetensors.numpy import load_file

import table
from reference import GRAPHS, Program, error, prepare, variant_cases
from runtimes import ROOT, RUNTIMES, Runtime, Worker


def digest(*files: Path) -> str:
    h = hashlib.sha256()
    for f in files:
        h.update(f.read_bytes())
    return h.hexdigest()


def program(binary: Path, build: str, variant: str, case, work: Path, emission: list[str]) -> Program:
    """The variant's program; made anew where march, the oracle or this tool are not what made it."""
    p = Program(variant, case.config.arch, work / "programs" / variant.replace("/", "-") / case.config.arch)
    made_by = p.folder / "made_by"
    if not made_by.exists() or made_by.read_text() != build:
        made_by.unlink(missing_ok=True)
        p = prepare(binary, variant, case, work / "programs", emission)
        made_by.write_text(build)
    return p


def cell(worker: Worker, p: Program, graph: str) -> dict:
    """A graph's largest error in a runtime, or what it failed of."""
    out = p.folder / f"{graph}.{worker.runtime.name.replace(' ', '-')}.safetensors"
    out.unlink(missing_ok=True)
    answer = worker.run(dict(model=str(p.model(graph)), inputs=str(p.inputs(graph)), outputs=str(out)))
    if "error" in answer:
        return answer
    if worker.runtime.reads:
        return {"read": True}
    try:
        return {"largest": error(load_file(out), p.expected(graph))}
    except ValueError as e:
        return {"error": f"wrong: {e}"}
    finally:
        out.unlink(missing_ok=True)


def column(runtime: Runtime, programs: list[Program], work: Path, installed: Path, timeout: float, again: bool) -> str:
    """Runs one runtime's cells; the error of a runtime that cannot be had."""
    cells = work / "cells" / runtime.name.replace(" ", "-")
    cells.mkdir(parents=True, exist_ok=True)
    try:
        worker = Worker(runtime, installed, timeout)
    except (OSError, RuntimeError) as e:
        print(f"{runtime.name}: {e}", file=sys.stderr)
        return str(e)
    (cells / "version").write_text(worker.version)
    for graph in GRAPHS:  # the small ones of all variants first
        for p in programs:
            file = cells / f"{p.name.replace('/', '-').replace(' ', '.')}.{graph}.json"
            key = digest(p.model(graph), p.inputs(graph)) + " " + worker.version
            if not again and file.exists() and json.loads(file.read_text())["key"] == key:
                continue
            result = cell(worker, p, graph)
            file.write_text(json.dumps(dict(key=key, variant=p.variant, arch=p.arch, graph=graph) | result))
            print(f"{runtime.name:10} {p.name} {graph}: {result.get('error', result.get('largest', 'read'))}"[:300], file=sys.stderr, flush=True)
    worker.stop()
    return ""


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("variants", nargs="*", metavar="VARIANT", help="names or globs, such as 'heads/*'; all if none is given")
    ap.add_argument("--runtime", action="append", metavar="NAME", choices=[r.name for r in RUNTIMES], help="only this one: " + ", ".join(r.name for r in RUNTIMES))
    ap.add_argument("--march", type=Path, default=ROOT / "bin" / "march", metavar="FILE", help="march's binary")
    ap.add_argument("--work", type=Path, default=ROOT / "bin" / "interop", metavar="FOLDER", help="programs, runtimes and finished cells")
    ap.add_argument("--out", type=Path, default=ROOT / "docs" / "interop.md", metavar="FILE", help="the table")
    ap.add_argument("--gen", default="", metavar="FLAGS", help="further flags of march gen, such as '--opset 17 --shapes static'; their cells are kept apart and no table is written")
    ap.add_argument("--timeout", type=float, default=120, metavar="SECONDS", help="for one graph in one runtime")
    ap.add_argument("--at-once", type=int, default=2, metavar="N", help="runtimes that run at once")
    ap.add_argument("--again", action="store_true", help="run finished cells again")
    args = ap.parse_args()
    if not args.march.exists():
        ap.error(f"--march: there is no {args.march}; make build makes it")
    args.work.mkdir(parents=True, exist_ok=True)
    cases = variant_cases(args.march)
    chosen = [(v, c) for v, c in cases if not args.variants or any(fnmatch(v, pattern) for pattern in args.variants)]
    if not chosen:
        ap.error(f"no variant is called {' or '.join(args.variants)}; march list has the names")
    here = Path(__file__).resolve().parent
    emission, runtimes_in = args.gen.split(), args.work
    if emission:
        args.work /= "gen" + args.gen.replace(" ", "")
        args.work.mkdir(exist_ok=True)
    build = digest(args.march, here / "reference.py", *sorted((here.parent / "oracle").glob("*.py")))
    programs = []
    for i, (v, c) in enumerate(chosen):
        programs.append(program(args.march, build, v, c, args.work, emission))
        print(f"program {i + 1}/{len(chosen)}: {programs[-1].name}", file=sys.stderr, flush=True)
    runtimes = [r for r in RUNTIMES if not args.runtime or r.name in args.runtime]
    with ThreadPoolExecutor(args.at_once) as pool:
        failed = [e for e in pool.map(lambda r: column(r, programs, args.work, runtimes_in, args.timeout, args.again), runtimes) if e]
    print(table.summary(args.work / "cells"))
    if not emission:
        args.out.write_text(table.page(args.work / "cells", [(v, c.config.arch) for v, c in cases]))
        print(f"written to {args.out}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
