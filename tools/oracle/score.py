#!/usr/bin/env python3
"""Compare march's scores of BLiMP's sentences with the same scores computed here, from the same trained parameters.

    python tools/oracle/score.py --run runs/enc --tokenizer data/tokenizer.json --blimp blimp/data -n 50

Reads the run's config (program/manifest.json), its newest checkpoint and predictions/blimp.jsonl. Tokens come from the `tokenizers`
library, the model from oracle.py in float64: a decoder's sum of log-probabilities after <|endoftext|>, an encoder's pseudo-log-likelihood
(Salazar et al. 2020), one token masked at a time. Prints the largest difference and how many judgements differ.
"""
import argparse
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

import oracle
from config import Config


def model(run: Path) -> tuple[oracle.Model, Config]:
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
    return oracle.Model({n: t.double() for n, t in load_file(newest).items()}, c), c


def score(m: oracle.Model, c: Config, ids: list[int], mask: int) -> float:
    """Summed log-probability of all tokens but the first, which is <|endoftext|>."""
    row = torch.tensor([ids])
    if c.arch == "decoder":
        logits = m.forward(oracle.Batch(row[:, :-1], row[:, 1:])).logits
        return logits.log_softmax(-1)[0].gather(1, row[0, 1:, None]).sum().item()
    rows = row.repeat(len(ids) - 1, 1)
    at = torch.arange(1, len(ids))
    rows[at - 1, at] = mask
    logits = m.forward(oracle.Batch(rows, rows, lengths=torch.full((len(rows),), len(ids)))).logits
    return logits.log_softmax(-1)[at - 1, at].gather(1, row[0, 1:, None]).sum().item()


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--run", type=Path, required=True)
    ap.add_argument("--tokenizer", type=Path, required=True)
    ap.add_argument("--blimp", type=Path, required=True, help="folder of the 67 jsonl files")
    ap.add_argument("-n", type=int, default=50, help="sentences, spread over the paradigms")
    ap.add_argument("--bound", type=float, default=1e-3, help="largest difference that passes")
    a = ap.parse_args()
    torch.set_grad_enabled(False)
    m, c = model(a.run)
    tokenizer = Tokenizer.from_file(str(a.tokenizer))
    end, mask = tokenizer.token_to_id("<|endoftext|>"), tokenizer.token_to_id("<|mask|>")
    predictions = [json.loads(line) for line in (a.run / "predictions" / "blimp.jsonl").open()]
    step = max(1, len(predictions) // (a.n // 2))
    worst, relative, differ, count, texts = 0.0, 0.0, 0, 0, {}
    for p in predictions[::step][: a.n // 2]:
        if p["paradigm"] not in texts:
            lines = (a.blimp / f"{p['paradigm']}.jsonl").read_text().splitlines()
            texts[p["paradigm"]] = {str(x["pairID"]): x for x in map(json.loads, lines)}
        pair = texts[p["paradigm"]][p["id"]]
        ours = [score(m, c, [end] + tokenizer.encode(pair[f"sentence_{k}"]).ids, mask) for k in ("good", "bad")]
        count += 2
        worst = max(worst, *(abs(x - y) for x, y in zip(ours, p["scores"])))
        relative = max(relative, *(abs(x / y - 1) for x, y in zip(ours, p["scores"])))
        differ += (ours[0] > ours[1]) != p["correct"]
    print(f"{c.arch}: {count} sentences, largest difference {worst:.1e}, relative {relative:.1e}, {differ} judgements differ")
    return 0 if worst <= a.bound and not differ else 1


if __name__ == "__main__":
    sys.exit(main())
