#!/usr/bin/env python3
"""Compare march's scores of BLiMP and LAMBADA with the same scores computed here, from the same trained parameters.

    python tools/oracle/score.py --run runs/dec --tokenizer data/tokenizer.json --blimp blimp/data --lambada lambada_test.jsonl
    python tools/oracle/score.py --run runs/enc --tokenizer data/tokenizer.json --blimp blimp/data --within-word

Reads the run's config (program/manifest.json), its newest checkpoint and the predictions that march wrote beside it, and scores each item of
theirs anew. Tokens come from the `tokenizers` library, the model from oracle.py, in float64. What is scored, and how, is written from public documentation:

- decoders, lm-evaluation-harness: a sentence of a pair is the sum of log p of its tokens, behind a start token since its context is empty; a passage is
  cut at its last space, the target, space included, is scored behind the context, and counts as right where each of its tokens is the most probable (greedy); six passages have other white space there and are cut before it, as march does;
- encoders, minicons: the pseudo-log-likelihood, "original" (each token masked alone; Salazar et al. 2020), and "within_word_l2r" (with the later tokens
  of its word; Kauf and Ivanova 2023), where words are those of the tokenizer's own pre-tokenizer. A passage's last word is masked whole, which is march's form.

One thing is march's own throughout: every text begins with <|endoftext|>, and none ends with it. Prints the largest difference of a log-probability and how many
judgements differ; one may where the two scores of a pair, or the target's and the best logit of a greedy token, are within twice the bound.
"""
import argparse
import json
import re
import sys
import time
from collections import defaultdict
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import oracle
from config import Config

TOKENS = 16384  # of a batch


def model(run: Path, dtype: torch.dtype, device: str) -> tuple[oracle.Model, Config]:
    raw = json.loads((run / "program" / "manifest.json").read_text())["config"]
    known = {"objective", "distill", "prune"}
    raw["training"] = {k: v for k, v in raw["training"].items() if k in known}
    raw["training"].setdefault("distill", dict(teacher="", alpha=0.5, temperature=2.0))
    raw["training"].setdefault("prune", dict(sparsity=0.0, start=0.2, end=0.8))
    for part in raw["training"].values():
        if isinstance(part, dict):
            part.pop("every", None)
    c = Config.from_json(raw)
    newest = max((run / "checkpoints").glob("step-*/params.safetensors"))
    return oracle.Model({n: t.to(device, dtype) for n, t in load_file(newest).items()}, c), c


class Scorer:
    """Scores texts of token ids. An item is (ids, from, parts): its tokens from `from` on are scored; parts says for each of them which
    tokens are masked with it (encoders only)."""

    def __init__(self, m: oracle.Model, c: Config, mask: int):
        self.m, self.c, self.mask, self.rows, self.began = m, c, mask, 0, time.time()

    def score(self, items: list[tuple]) -> list[tuple[float, float]]:
        """For each item the sum of log p, and the least margin of a scored token's logit over all others: above 0, all are the most probable."""
        jobs = defaultdict(list)  # length -> (item, row, positions that are read, masked positions)
        for i, (ids, start, parts) in enumerate(items):
            if self.c.arch == "decoder":
                jobs[len(ids) - 1].append((i, ids[:-1], list(range(start - 1, len(ids) - 1)), ids[start:], []))
            else:
                for read, masked in parts:
                    jobs[len(ids)].append((i, ids, read, [ids[t] for t in read], masked))
        sums, margins = [0.0] * len(items), [float("inf")] * len(items)
        total, done, told = sum(len(j) * n for n, j in jobs.items()), 0, time.time()
        for length, list_ in sorted(jobs.items()):
            for at in range(0, len(list_), max(1, TOKENS // length)):
                batch = list_[at : at + max(1, TOKENS // length)]
                for (i, *_), (logprob, margin) in zip(batch, self.rows_of(batch, length)):
                    sums[i] += logprob
                    margins[i] = min(margins[i], margin)
                done += len(batch) * length
                if time.time() - told > 20:
                    told = time.time()
                    print(f"  {done / total:.0%} of {total} positions", file=sys.stderr)
        return list(zip(sums, margins))

    def rows_of(self, batch: list, length: int) -> list[tuple[float, float]]:
        rows = [list(ids) for _, ids, *_ in batch]
        for row, (_, _, _, _, masked) in zip(rows, batch):  # in Python: a GPU takes as long for one number as for all
            for t in masked:
                row[t] = self.mask
        rows = torch.tensor(rows)
        stack = "decoder" if self.c.arch == "decoder" else "encoder"
        x, _ = self.m.stack(stack, self.m.embed(stack, rows), torch.full((len(rows),), length))
        self.m.encoded.clear()
        r = torch.tensor([i for i, b in enumerate(batch) for _ in b[2]])
        t = torch.tensor([t for b in batch for t in b[2]])
        label = torch.tensor([y for b in batch for y in b[3]])[:, None]
        logits = self.m.head(x[r, t])
        logprob = logits.log_softmax(-1).gather(1, label)[:, 0]
        margin = logits.gather(1, label)[:, 0] - logits.scatter(1, label, float("-inf")).amax(-1)
        sums = torch.zeros(len(batch), dtype=logprob.dtype).index_add_(0, r, logprob)
        least = torch.full((len(batch),), float("inf"), dtype=margin.dtype).scatter_reduce_(0, r, margin, "amin")
        return list(zip(sums.tolist(), least.tolist()))


def sentence(c: Config, tokenizer: Tokenizer, end: int, text: str, within_word: bool) -> tuple:
    """A whole sentence behind the start token."""
    e = tokenizer.encode(text)
    ids = [end] + e.ids
    over = len(ids) - (c.length + 1 if c.arch == "decoder" else c.length)
    ids, words = ids[max(0, over) :], ([None] + e.word_ids)[max(0, over) :]
    start = 1
    parts = []
    for t in range(start, len(ids)):
        later = []
        if within_word:
            while t + 1 + len(later) < len(ids) and words[t + 1 + len(later)] == words[t]:
                later.append(t + 1 + len(later))
        parts.append(([t], [t] + later))
    return tuple(ids), start, parts


def passage(c: Config, tokenizer: Tokenizer, end: int, text: str) -> tuple[tuple, bool]:
    """Context and target, cut at the last space; where other white space comes behind that, before it, as march does, and whether that is so."""
    context, word = text.rsplit(" ", 1)
    elsewhere = len(word.split()) > 1
    target = re.search(r"\s+\S+$", text).group() if elsewhere else " " + word
    before = [end] + tokenizer.encode(text[: -len(target)]).ids
    ids = before + tokenizer.encode(target).ids
    over = max(0, len(ids) - (c.length + 1 if c.arch == "decoder" else c.length))
    start = max(len(before) - over, 1 if c.arch == "decoder" else 0)
    scored = list(range(start, len(ids) - over))
    return (tuple(ids[over:]), start, [(scored, scored)]), elsewhere


def distinct(scorer: Scorer, items: list[tuple]) -> list[tuple[float, float]]:
    """Equal items are scored once."""
    index: dict[tuple, int] = {}
    first = []
    for x in items:
        if x[:2] not in index:
            index[x[:2]] = len(first)
            first.append(x)
    scores = scorer.score(first)
    return [scores[index[x[:2]]] for x in items]


def predictions(a: argparse.Namespace, suite: str) -> list[dict]:
    path = a.run / "predictions" / f"{suite}.jsonl"
    return [json.loads(line) for line in path.open()][:: a.every]


def report(a: argparse.Namespace, what: str, items: int, worst: float, relative: float, differ: list[float], more: str = "") -> bool:
    near = sum(d <= 2 * a.bound for d in differ)
    print(f"{what}: {items} items, largest difference {worst:.1e} (relative {relative:.1e}), {len(differ)} judgements differ, {near} of them within {2 * a.bound:g}{more}")
    return worst <= a.bound and near == len(differ)


def blimp(a: argparse.Namespace, s: Scorer, c: Config, tokenizer: Tokenizer, end: int) -> bool:
    list_, texts = predictions(a, "blimp"), {}
    items = []
    for p in list_:
        if p["paradigm"] not in texts:
            lines = (a.blimp / f"{p['paradigm']}.jsonl").read_text().splitlines()
            texts[p["paradigm"]] = {str(x["pairID"]): x for x in map(json.loads, lines)}
        pair = texts[p["paradigm"]][p["id"]]
        items += [sentence(c, tokenizer, end, pair[f"sentence_{k}"], a.within_word) for k in ("good", "bad")]
    scores = [x for x, _ in distinct(s, items)]
    worst, relative, differ, right = 0.0, 0.0, [], 0
    for i, p in enumerate(list_):
        ours = scores[2 * i : 2 * i + 2]
        worst = max(worst, *(abs(x - y) for x, y in zip(ours, p["scores"])))
        relative = max(relative, *(abs(x / y - 1) for x, y in zip(ours, p["scores"])))
        right += ours[0] > ours[1]
        if (ours[0] > ours[1]) != p["correct"]:
            differ.append(abs(ours[0] - ours[1]))
    form = "" if c.arch == "decoder" else ", within_word_l2r" if a.within_word else ", original"
    return report(a, f"{c.arch}, blimp{form}", len(list_), worst, relative, differ, f"; accuracy here {right / len(list_):.4%}")


def lambada(a: argparse.Namespace, s: Scorer, c: Config, tokenizer: Tokenizer, end: int) -> bool:
    list_ = predictions(a, "lambada")
    lines = a.lambada.read_text().splitlines() if a.lambada.suffix == ".txt" else [json.loads(x)["text"] for x in a.lambada.open()]
    cut = [passage(c, tokenizer, end, lines[int(p["id"])].rstrip()) for p in list_]
    other = sum(o for _, o in cut)
    scores = distinct(s, [x for x, _ in cut])
    worst, relative, differ, right = 0.0, 0.0, [], 0
    for p, (x, margin) in zip(list_, scores):
        worst, relative = max(worst, abs(x - p["scores"][0])), max(relative, abs(x / p["scores"][0] - 1))
        right += margin > 0
        if (margin > 0) != p["correct"]:
            differ.append(abs(margin))
    return report(a, f"{c.arch}, lambada", len(list_), worst, relative, differ, f"; {right} right here; {other} passages, whose last white space is no space, cut before it")


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--run", type=Path, required=True)
    ap.add_argument("--tokenizer", type=Path, required=True)
    ap.add_argument("--blimp", type=Path, help="folder of the 67 jsonl files")
    ap.add_argument("--lambada", type=Path, help="jsonl, or plain text")
    ap.add_argument("--within-word", action="store_true", help="the predictions are of march eval --within-word")
    ap.add_argument("--every", type=int, default=1, help="score each nth item only")
    ap.add_argument("--bound", type=float, default=1e-3, help="largest difference that passes")
    ap.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    ap.add_argument("--device", default="cpu", help="cpu or cuda")
    a = ap.parse_args()
    torch.set_default_device(a.device)
    torch.set_grad_enabled(False)
    m, c = model(a.run, getattr(torch, a.dtype), a.device)
    if c.arch == "encoder-decoder" or not (a.blimp or a.lambada):
        ap.error("wanted a decoder's or an encoder's run, and --blimp or --lambada")
    tokenizer = Tokenizer.from_file(str(a.tokenizer))
    end, mask = tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|mask|>")
    s = Scorer(m, c, mask)
    fine = True
    if a.blimp:
        fine &= blimp(a, s, c, tokenizer, end)
    if a.lambada:
        fine &= lambada(a, s, c, tokenizer, end)
    print(f"{time.time() - s.began:.0f} s")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
