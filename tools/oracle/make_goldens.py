#!/usr/bin/env python3
"""Write the goldens that march's Go tests compare with: <out>/<case>/case.json and golden.safetensors.

    python tools/oracle/make_goldens.py                # all cases, into variants/testdata/goldens
    python tools/oracle/make_goldens.py micro_gpt2     # one
    python tools/oracle/make_goldens.py --check        # compute anew and compare with the files that are there; writes nothing

The format is described in README.md beside this file.
"""
import argparse
import json
import math
import os
import sys
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load, save

import oracle
import parameters
from cases import CASES, MASK_RULE, Case
from config import Config
from shapes import shapes
from training import STEPS, Optimizer, backward, losses, masked, pruning_masks, sparsity, train

FORMAT = 2
OUT = Path(__file__).resolve().parents[2] / "variants" / "testdata" / "goldens"
PRUNE_STEP = 5  # whose sparsity the first batch's loss and gradients have: in the middle of the schedule


def quantise(g: np.ndarray) -> tuple[np.ndarray, float]:
    """int16 q and scale with |g - q*scale| <= largest/65534, that is 1.53e-5 of the tensor's largest entry."""
    scale = float(np.abs(g).max()) / 32767 or 1.0
    return np.rint(g / scale).astype(np.int16), scale


def stride(n: int, samples: int) -> int:
    """Odd, so that a sample of a matrix with an even number of columns does not stay in one column."""
    return -(-n // samples) | 1


class Places:
    """A case's dropout masks that remember their places."""

    def __init__(self, masks: oracle.Masks):
        self.masks, self.seen = masks, {}

    def __call__(self, place, shape, rate):
        self.seen[place] = dict(shape=list(shape), rate=rate)
        return self.masks(place, shape, rate)


def reference(case: Case, dtype) -> dict:
    """Everything a golden holds, computed in one dtype, as float64 arrays."""
    c, batches, teacher = case.config, case.batches(), case.taught(dtype)
    first, p, prune = batches[0], oracle.initial(c, dtype), c.training.prune
    masks = case.masks(0) and Places(case.masks(0))
    pruned = pruning_masks(p, sparsity(prune, PRUNE_STEP)) if prune.sparsity else None
    l = losses(p, c, first, teacher, masks, pruned)
    backward(p, l.objective)
    array = lambda x: x.detach().double().numpy().copy()
    out = dict(logits=array(l.result.logits), loss_sum=l.loss_sum.item(), extra=l.extra(), halting=l.result.halting, masks=masks,
               masked=masked(pruned), grads={n: array(x.grad) for n, x in p.items()})
    out["steps"] = train(p, c, batches, Optimizer(), teacher, case.masks if masks else None)
    out["after"] = {n: array(x) for n, x in p.items()}
    with torch.no_grad():
        l = losses(p, c, first, teacher, None, out["steps"][-1].pruned)
    out["after_loss_sum"], out["after_extra"] = l.loss_sum.item(), l.extra()
    return out


def gradient_errors(got: dict, want: dict) -> dict[str, float]:
    """Per tensor: largest error over max(largest entry, 1e-3 x the model's largest)."""
    model = max(np.abs(g).max() for g in want.values())
    return {n: float(np.abs(got[n] - g).max() / max(np.abs(g).max(), 1e-3 * model)) for n, g in want.items()}


def float32_errors(case: Case, want: dict) -> dict:
    """How far the same computation in torch's float32 is from float64: what a float32 implementation may be expected to reach."""
    got = reference(case, torch.float32)
    for g, w in zip(got["steps"], want["steps"]):
        if any(bool((g.pruned[n] != m).any()) for n, m in (w.pruned or {}).items()):
            raise ValueError(f"{case.name}: float32 prunes other entries")
    if want["halting"] and bool((got["halting"].steps != want["halting"].steps).any()):
        raise ValueError(f"{case.name}: a position halts elsewhere in float32")
    moved = {n: np.abs(got["after"][n] - w).max() for n, w in want["after"].items()}
    worst = max(moved, key=moved.get)
    return dict(
        loss_relative=abs(got["loss_sum"] / want["loss_sum"] - 1),
        logits_absolute=float(np.abs(got["logits"] - want["logits"]).max()),
        gradient=max(gradient_errors(got["grads"], want["grads"]).values()),
        step_loss_relative=max(abs(g.loss / w.loss - 1) for g, w in zip(got["steps"], want["steps"])),
        step_grad_norm_relative=max(abs(g.grad_norm / w.grad_norm - 1) for g, w in zip(got["steps"], want["steps"])),
        after_loss_relative=abs(got["after_loss_sum"] / want["after_loss_sum"] - 1),
        after_absolute=float(moved[worst]),
        after_absolute_in=worst,
        after_absolute_without_bk=float(max(m for n, m in moved.items() if not n.endswith(".bk"))),
    )


def rule_row(name: str, shape: tuple[int, ...], c: Config, prefix: str = "") -> dict:
    """How a parameter is made."""
    center, amplitude = parameters.spread(prefix + name, shape, oracle.embeddings(c, prefix))
    initial = parameters.value(prefix + name, shape, oracle.embeddings(c, prefix))
    return dict(name=prefix + name, shape=list(shape), center=center, amplitude=amplitude, initial=[float(x) for x in initial.ravel()[:3]])


def batch_json(b: oracle.Batch) -> dict:
    """The inputs that there are, flat."""
    named = dict(tokens=b.tokens, labels=b.labels, lengths=b.lengths, decoder_tokens=b.decoder_tokens, documents=b.documents)
    return {n: x.flatten().tolist() for n, x in named.items() if x is not None}


def build(case: Case) -> tuple[dict, dict[str, np.ndarray]]:
    """case.json as a dict, golden.safetensors as arrays."""
    c, want, tensors, table, batches = case.config, reference(case, torch.float64), {}, [], case.batches()
    for name, shape in shapes(c).items():
        g, after = want["grads"][name], want["after"][name]
        row = rule_row(name, shape, c) | dict(decay=parameters.decayed(name), grad_largest=float(np.abs(g).max()), grad_norm=float(np.linalg.norm(g)))
        if case.quantise:
            tensors[f"grad/{name}"], row["grad_scale"] = quantise(g)
        else:
            tensors[f"grad/{name}"] = g.astype(np.float32)
        k = stride(g.size, case.samples)
        row |= dict(after_sum=float(after.sum()), after_norm=float(np.linalg.norm(after)), after_stride=k)
        tensors[f"after/{name}"] = np.ascontiguousarray(after.ravel()[::k].astype(np.float32))
        table.append(row)
    sequence = case.batch - 1
    logits = want["logits"][sequence]
    tensors["logits"] = np.ascontiguousarray(logits.astype(np.float32))
    steps = [batch_json(b) | dict(loss_sum=s.loss_sum, count=s.count, loss=s.loss, grad_norm=s.grad_norm) | s.extra for b, s in zip(batches, want["steps"])]
    if c.training.prune.sparsity:
        for i, s in enumerate(want["steps"]):
            steps[i] |= dict(sparsity=sparsity(c.training.prune, i + 1), masked=masked(s.pruned))
    doc = dict(
        format=FORMAT, case=case.name, variant=case.variant, about=case.about,
        made_by="tools/oracle/make_goldens.py; tools/oracle/README.md describes the fields",
        config=c.to_json(), batch=case.batch, seq=case.seq, **({"decoder_seq": case.decoder_seq} if case.decoder_seq else {}),
        parameter_rule=parameters.RULE, optimizer=Optimizer().to_json(), **batch_json(batches[0]),
        loss_sum=want["loss_sum"], count=batches[0].count, **want["extra"],
        logits=dict(sequence=sequence, position=len(logits) - 1, first=logits[-1, :8].tolist()),
    )
    if h := want["halting"]:
        doc["halting"] = dict(steps=h.steps.flatten().int().tolist(), remainder=h.remainder.detach().flatten().tolist(),
                              margin=min(h.margin, *(s.margin for s in want["steps"])))
    if c.training.prune.sparsity:
        doc["prune"] = dict(step=PRUNE_STEP, steps=STEPS, sparsity=sparsity(c.training.prune, PRUNE_STEP), masked=want["masked"])
    if want["masks"]:
        doc["masks"] = dict(rule=MASK_RULE, places=want["masks"].seen)
    if case.teacher:
        doc["teacher"] = dict(config=case.teacher.to_json(), parameters=[rule_row(n, s, case.teacher, "teacher.") for n, s in shapes(case.teacher).items()])
    doc |= dict(steps=steps, after=dict(loss_sum=want["after_loss_sum"], count=batches[0].count) | want["after_extra"],
                float32=float32_errors(case, want), parameters=table)
    return doc, tensors


def encode(doc: dict) -> str:
    """JSON with one field, one step, one parameter a line."""
    lines = []
    for key, v in doc.items():
        if isinstance(v, list) and v and isinstance(v[0], dict):
            body = "[\n" + ",\n".join("  " + json.dumps(x, separators=(",", ":")) for x in v) + "\n ]"
        else:
            body = json.dumps(v, separators=(",", ":"))
        lines.append(f' "{key}": {body}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def write(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def differences(want, got, at="") -> list[str]:
    """Where two JSON values differ by more than other machines' rounding in float64 explains."""
    if at == "/float32":  # measured, and rounding of float32 is each machine's own
        return []
    if isinstance(want, dict) and isinstance(got, dict):
        keys = [f"{at}/{k}: in one only" for k in want.keys() ^ got.keys()]
        return keys + [d for k in want.keys() & got.keys() for d in differences(want[k], got[k], f"{at}/{k}")]
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [d for i, (w, g) in enumerate(zip(want, got)) for d in differences(w, g, f"{at}/{i}")]
    if isinstance(want, float) and isinstance(got, float):
        return [] if math.isclose(want, got, rel_tol=1e-9, abs_tol=1e-9) else [f"{at}: file {got!r}, computed {want!r}"]
    return [] if want == got else [f"{at}: file {got!r}, computed {want!r}"[:200]]


def compare(doc: dict, tensors: dict, folder: Path) -> list[str]:
    out = differences(doc, json.loads((folder / "case.json").read_text()))
    stored = load((folder / "golden.safetensors").read_bytes())
    out += [f"{n}: in one only" for n in stored.keys() ^ tensors.keys()]
    for n in stored.keys() & tensors.keys():
        w, g = tensors[n], stored[n]
        if w.dtype != g.dtype or w.shape != g.shape:
            out.append(f"{n}: file {g.dtype}{g.shape}, computed {w.dtype}{w.shape}")
            continue
        slack = 1 if w.dtype == np.int16 else 1e-6 * np.abs(w).max() + 1e-9
        error = np.abs(w.astype(np.float64) - g).max()
        if error > slack:
            out.append(f"{n}: differs by {error}")
    return out


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("cases", nargs="*", help="names or patterns such as 'heads_*'; default: all")
    ap.add_argument("--out", type=Path, default=OUT)
    ap.add_argument("--check", action="store_true", help="compare with the files under --out, write nothing, exit 1 where they differ")
    a = ap.parse_args()
    wanted = [c for c in CASES if not a.cases or any(fnmatch(c.name, x) for x in a.cases)]
    if unknown := [x for x in a.cases if not any(fnmatch(c.name, x) for c in CASES)]:
        ap.error(f"unknown case {', '.join(unknown)}; known: {', '.join(c.name for c in CASES)}")
    torch.set_num_threads(1)
    total, wrong = 0, 0
    for case in wanted:
        folder = a.out / case.name
        doc, tensors = build(case)
        if a.check:
            found = compare(doc, tensors, folder) if folder.is_dir() else ["not there; run without --check"]
            print(f"{case.name}: {'same' if not found else 'DIFFERS'}", *found[:10], sep="\n  ")
            wrong += bool(found)
            continue
        text, binary = encode(doc).encode(), save(tensors, metadata={"case": case.name})
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / "case.json", text)
        write(folder / "golden.safetensors", binary)
        total += len(text) + len(binary)
        norms = [s["grad_norm"] for s in doc["steps"]]
        print(f"{case.name}: {sum(math.prod(s) for s in shapes(case.config).values()):,} parameters, {len(text) + len(binary):,} bytes, loss "
              f"{doc['steps'][0]['loss']:.4f} to {doc['steps'][-1]['loss']:.4f}, gradient norms {min(norms):.3f} to {max(norms):.3f}\n  float32: "
              + ", ".join(f"{k} {v:.1e}" if isinstance(v, float) else f"({v})" for k, v in doc["float32"].items()))
    if not a.check:
        print(f"{total:,} bytes in all under {a.out}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
