#!/usr/bin/env python3
"""Times `march data prepare` beside the tokenizers library on the same text: a vocabulary trained, all text encoded.

    python tools/oracle/tokenizer_speed.py bin/march 'corpus/train-*.txt.gz' --vocab 10000 --rounds 3
    python tools/oracle/tokenizer_speed.py bin/march 'corpus/train-*.txt.gz' --grow 1,5        # memory at 1 and 5 GB

Runs alternate, each in a process of its own, and both keep to the cores that --cores names. The library's process reads the same
files, cuts them into documents at <|endoftext|> lines, trains ByteLevelBPETokenizer (min_frequency 2, the same special tokens) and encodes
the documents with encode_batch, 1,000 at a time, on its own threads; it keeps no ids. march reads, trains, encodes and writes shards.
Printed for each run: wall seconds, processor seconds (user + system) and peak resident memory, and at the end the medians' ratios.

--grow writes texts of so many GB under --work, documents of the shards in another order each time, and encodes them with the vocabulary
of the timed runs (or --tokenizer): peak memory must not grow. The texts are deleted afterwards.
"""
import argparse
import glob
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SPECIALS = ["<|endoftext|>", "<|pad|>", "<|mask|>"]
SEPARATOR = "\n<|endoftext|>\n"


def documents(files):
    for file in files:
        with (gzip.open if file.endswith(".gz") else open)(file, "rt", encoding="utf-8", newline="") as f:
            yield from f.read().rstrip("\n").split(SEPARATOR)


def library(files, vocab):
    """What the child process does."""
    from tokenizers import ByteLevelBPETokenizer

    began = time.perf_counter()
    t = ByteLevelBPETokenizer()
    t.train_from_iterator(documents(files), vocab_size=vocab, min_frequency=2, special_tokens=SPECIALS, show_progress=False)
    trained = time.perf_counter()
    ids, batch = 0, []
    for d in documents(files):
        batch.append(d)
        if len(batch) == 1000:
            ids += sum(len(e.ids) for e in t.encode_batch(batch, add_special_tokens=False))
            batch = []
    ids += sum(len(e.ids) for e in t.encode_batch(batch, add_special_tokens=False))
    print(json.dumps(dict(tokens=ids, train=trained - began, encode=time.perf_counter() - trained)))


def run(command, cores):
    """Wall seconds, processor seconds and MB of one process and what it started."""
    began, pid = time.perf_counter(), os.fork()
    if pid == 0:
        try:
            os.sched_setaffinity(0, cores)
            os.execvp(command[0], command)
        finally:
            os._exit(127)
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def grown(files, out, gigabytes):
    """A text of that size: the files' documents again and again, shuffled each time."""
    rng, size = random.Random(1), 0
    with open(out, "wb") as f:
        while True:
            for file in files:
                texts = [d.encode() + SEPARATOR.encode() for d in documents([file])]
                rng.shuffle(texts)
                for text in texts:
                    if size >= gigabytes * 1e9:
                        return
                    size += f.write(text)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("march")
    ap.add_argument("texts", help="a glob of text files, .gz or plain")
    ap.add_argument("--vocab", type=int, default=10000)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--cores", default="0,1")
    ap.add_argument("--grow", default="", help="sizes in GB, joined by commas")
    ap.add_argument("--tokenizer", help="tokenizer.json for --grow")
    ap.add_argument("--work", default=tempfile.gettempdir())
    a = ap.parse_args()
    files, cores = sorted(glob.glob(a.texts)), {int(c) for c in a.cores.split(",")}
    if not files:
        ap.error(f"no file is called {a.texts}")
    work = tempfile.mkdtemp(prefix="tokenizer-speed-", dir=a.work)
    try:
        results, out = {"march": [], "tokenizers": []}, os.path.join(work, "data")
        for i in range(a.rounds):
            shutil.rmtree(out, ignore_errors=True)
            prepare = [a.march, "data", "prepare", *files, "--vocab", str(a.vocab), "--valid-fraction", "0", "--out", out]
            child = [sys.executable, __file__, "--library", str(a.vocab), *files]
            for name, command in [("march", prepare), ("tokenizers", child)]:
                results[name].append(run(command, cores))
                print(f"round {i + 1}, {name}: {results[name][-1][0]:.1f} s, {results[name][-1][1]:.1f} s of processors, {results[name][-1][2]:.0f} MB", flush=True)
        for i, what in enumerate(("wall seconds", "processor seconds", "MB")):
            m, t = (statistics.median(x[i] for x in results[n]) if results[n] else 0 for n in ("march", "tokenizers"))
            if t:
                print(f"median {what}: march {m:.1f}, tokenizers {t:.1f}, ratio {m / t:.2f}")
        for gigabytes in [float(g) for g in a.grow.split(",") if g]:
            text, encoded = os.path.join(work, "text.txt"), os.path.join(work, "grown")
            if shutil.disk_usage(work).free < 2 * gigabytes * 1e9:
                raise SystemExit(f"{work} has not twice {gigabytes:g} GB free")
            grown(files, text, gigabytes)
            wall, used, mb = run([a.march, "data", "prepare", text, "--tokenizer", a.tokenizer or os.path.join(out, "tokenizer.json"), "--valid-fraction", "0.01", "--out", encoded], cores)
            print(f"{os.path.getsize(text) / 1e9:.2f} GB: {wall:.1f} s, {used:.1f} s of processors, {mb:.0f} MB", flush=True)
            shutil.rmtree(encoded)
            os.remove(text)
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--library"]:
        library(sys.argv[3:], int(sys.argv[2]))
    else:
        main()
