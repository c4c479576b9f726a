#!/usr/bin/env python3
"""Print what tools/gpu/run measured: python3 table.py RESULTS WORKLOAD...

A peer's figure is that of its best mode, march's that of its best target and precision. Memory on a GPU is what the driver says the process
had taken when it had run, beyond what was taken before; on a CPU it is the process's peak.
"""
import json, os, sys


def march(results, workload):
    """The figures of a workload's fastest target and precision."""
    try:
        with open(os.path.join(results, f"march-{workload}.json")) as f:
            return min(json.load(f), key=lambda r: r["ms"])
    except (OSError, ValueError, KeyError):
        return None


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
        m, p = march(results, w), peers(results, w)
        mine, theirs = m and m["ms"], p and p["ms"]
        memory = m and (m.get("device_gb") or m.get("process_peak_mb", 0) / 1e3)
        print(f"{w:<16} {number(mine, 2):>9} {number(theirs, 2):>9} {number(mine / theirs if mine and theirs else None, 2):>6} "
              f"{number(memory, 2):>9} {number(p and p.get('process_gb'), 2):>8}  {p['peer'] if p else '-'}, {m['precision'] if m else '-'} and {p['precision'] if p else '-'}")


if __name__ == "__main__":
    main()
