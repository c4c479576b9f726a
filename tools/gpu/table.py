#!/usr/bin/env python3
"""Print what tools/gpu/run measured: python3 table.py RESULTS WORKLOAD...

A peer's figure is that of its best mode. Memory on a GPU: march's is the highest that the driver reported, less what was in use before; a
peer's is what the process held when it had run, of the best mode. On a CPU it is the process's peak.
"""
import json, os, sys

sys.stdout.reconfigure(errors="replace")


def march(results, workload):
    """The figures of a workload's fastest target, and memory in GB."""
    try:
        with open(os.path.join(results, f"march-{workload}.json")) as f:
            best = min(json.load(f), key=lambda r: r["ms"])
    except (OSError, ValueError, KeyError):
        return None, None
    memory = best.get("process_peak_mb", 0) / 1e3
    try:
        with open(os.path.join(results, f"march-{workload}.memory")) as f:
            used = [int(line) for line in f if line.strip().isdigit()]
        memory = (max(used) - used[0]) * 2**20 / 1e9
    except (OSError, ValueError):
        pass
    return best, memory or None


def peers(results, workload):
    """The figures of the fastest mode."""
    try:
        with open(os.path.join(results, f"peers-{workload}.jsonl")) as f:
            rows = [json.loads(line) for line in f if line.startswith("{")]
    except (OSError, ValueError):
        return None
    return min((r for r in rows if "ms" in r), key=lambda r: r["ms"], default=None)


def main():
    results, workloads = sys.argv[1], sys.argv[2:]
    print(f"{'workload':<16} {'march ms':>9} {'peer ms':>9} {'ratio':>6} {'march GB':>9} {'peer GB':>8}  peer's best, precisions")
    number = lambda v, digits: "-" if v is None else f"{v:.{digits}f}"
    for w in workloads:
        (m, memory), p = march(results, w), peers(results, w)
        mine, theirs = m and m["ms"], p and p["ms"]
        print(f"{w:<16} {number(mine, 2):>9} {number(theirs, 2):>9} {number(mine / theirs if mine and theirs else None, 2):>6} "
              f"{number(memory, 2):>9} {number(p and p.get('process_gb'), 2):>8}  {p['peer'] if p else '-'}, {m['precision'] if m else '-'} and {p['precision'] if p else '-'}")


if __name__ == "__main__":
    main()
