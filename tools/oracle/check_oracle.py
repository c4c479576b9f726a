#!/usr/bin/env python3
"""Check the oracle itself: against public implementations, finite differences, and known answers; and that its cases can tell mistakes.

    python tools/oracle/check_oracle.py                             # transformers' GPT-Neo, GPT-2 and T5 feed-forward where installed
    python tools/oracle/check_oracle.py --peers path/torch_peers.py # also against the peers' models of the reference workloads

One line a check: what, figure, bound. Exit 1 where a figure is beyond its bound.
"""
import argparse
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import oracle
import parameters
import public
from cases import CASES
from training import Optimizer, train

failed = 0


def report(what: str, figure: float, bound: float, at_least: bool = False) -> None:
    global failed
    good = figure >= bound if at_least else figure <= bound
    failed += not good
    print(f"{'ok  ' if good else 'FAIL'} {what}: {figure:.2e} ({'at least' if at_least else 'at most'} {bound:.0e})", flush=True)


def largest(a, b) -> float:
    return float((a - b).detach().abs().max())


def gradients(p, c, tokens, labels, **kw) -> dict[str, torch.Tensor]:
    loss = oracle.loss_sum(oracle.forward(p, c, tokens, **kw), labels)
    return dict(zip(p, torch.autograd.grad(loss, list(p.values()))))


def check_rule() -> None:
    """Known answers: FNV's published test vectors, SplitMix64's outputs for seed 1234567, one value worked with plain integers."""
    known = {"": 0xCBF29CE484222325, "a": 0xAF63DC4C8601EC8C, "foobar": 0x85944171F73967E8}
    stream = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    wrong = sum(parameters.fnv1a64(k) != v for k, v in known.items()) + sum(int(a) != b for a, b in zip(parameters.splitmix64(1234567, 5), stream))
    name, i, mask = "decoder.0.attn.wq", 5, 2**64 - 1
    z = parameters.fnv1a64(name) + (i + 1) * 0x9E3779B97F4A7C15 & mask
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & mask
    z = (z ^ z >> 27) * 0x94D049BB133111EB & mask
    z ^= z >> 31
    want = np.float32(2 / 32**0.5 * 0.5 * (2 * ((z >> 11) * 2.0**-53) - 1))
    report("parameter rule: wrong known answers", wrong + (parameters.value(name, (32, 32)).ravel()[i] != want), 0)


def check_assignments() -> None:
    """Takase and Kiyono 2021, figure 1: M = 3, N = 6."""
    published = {"seq": [0, 0, 1, 1, 2, 2], "cycle": [0, 1, 2, 0, 1, 2], "cycle_rev": [0, 1, 2, 2, 1, 0]}
    wrong = sum(oracle.assign(a, 3, 6) != want for a, want in published.items())
    wrong += sum(oracle.assign(a, n, n) != list(range(n)) for a in published for n in range(1, 25))
    wrong += oracle.assign("cycle_rev", 3, 12) != [0, 1, 2, 0, 1, 2, 0, 1, 2, 2, 1, 0]
    report("assignments: wrong orders", wrong, 0)


def check_public(case, name: str, build) -> None:
    """Logits and every gradient of somebody else's model that was given the oracle's parameters."""
    c, (tokens, labels) = case.config, case.batches()[0]
    p = oracle.initial(c)
    model = build(p, c)
    if model is None:
        return
    logits = model.logits(tokens)
    report(f"{case.name} against {name}: logits", largest(logits, oracle.forward(p, c, tokens)), model.bound)
    F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum").backward()
    got, want = model.gradients(), gradients(p, c, tokens, labels)
    assert got.keys() == want.keys(), got.keys() ^ want.keys()
    top = max(g.abs().max() for g in want.values())
    report(f"{case.name} against {name}: gradients", max(largest(got[n], want[n]) / float(max(want[n].abs().max(), 1e-3 * top)) for n in want), model.bound)


def check_feed_forward() -> None:
    """transformers' T5 feed-forward, plain and gated, for every activation."""
    for act in oracle.ACTIVATIONS:
        for glu in (False, True):
            c = replace(CASES[1].config, act=act, glu=glu)
            p = {n: x for n, x in oracle.initial(c).items() if not n.endswith("_bias")}
            x = torch.from_numpy(4 * parameters.uniform("x", 7 * c.d).reshape(1, 7, c.d) - 2)
            report(f"feed-forward {act}{' GLU' if glu else ''} against T5's: output", largest(public.t5_feed_forward(p, c, x), oracle.feed_forward(p, c, "decoder.0.ff.", x)), 1e-12)


def check_differences(case) -> None:
    """Central differences, one random direction a parameter: relative to the directional derivative's natural size |g|.|v|/sqrt(n)."""
    c, (tokens, labels) = case.config, case.batches()[0]
    p = oracle.initial(c)
    g, worst = gradients(p, c, tokens, labels), 0.0
    top = max(float(x.norm()) for x in g.values())
    # A step across ReLU's kink is no derivative: take the best of three sizes there. The smaller ones cost digits.
    sizes, bound = ((1e-5, 1e-6, 1e-7), 1e-5) if c.act == "relu" else ((1e-5,), 1e-6)
    with torch.no_grad():
        for n, x in p.items():
            v = torch.from_numpy(2 * parameters.uniform(f"direction/{n}", x.numel()) - 1).reshape(x.shape)
            v /= v.norm()
            at = lambda t: oracle.loss_sum(oracle.forward({**p, n: x + t * v}, c, tokens), labels).item()
            # Richardson's extrapolation of two central differences: error of order h^4
            slopes = [(8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h) for h in sizes]
            error = min(abs(slope - float((g[n] * v).sum())) for slope in slopes)
            worst = max(worst, error / max(float(g[n].norm()) / x.numel() ** 0.5, 1e-3 * top))
    report(f"{case.name}: gradients against finite differences", worst, bound)


def check_adamw(case) -> None:
    """Torch's AdamW and clipping against the formula of training.py's doc comment, in numpy."""
    c, o, batches = case.config, Optimizer(), case.batches()
    p = oracle.initial(c)
    w = {n: x.detach().numpy().copy() for n, x in p.items()}
    m, v = ({n: np.zeros_like(x) for n, x in w.items()} for _ in range(2))
    worst = 0.0
    steps = train(p, c, batches, o)
    for t, (tokens, labels) in enumerate(batches, 1):
        q = {n: torch.from_numpy(x.copy()).requires_grad_() for n, x in w.items()}
        count = int((labels >= 0).sum())
        g = {n: x.numpy() / count for n, x in gradients(q, c, tokens, labels).items()}
        norm = sum((x**2).sum() for x in g.values()) ** 0.5
        worst = max(worst, abs(norm / steps[t - 1].grad_norm - 1))
        for n in w:
            x = g[n] * min(1.0, o.clip / (norm + 1e-6))
            m[n] = o.beta1 * m[n] + (1 - o.beta1) * x
            v[n] = o.beta2 * v[n] + (1 - o.beta2) * x * x
            w[n] *= 1 - o.lr * o.weight_decay * parameters.decayed(n)
            w[n] -= o.lr / (1 - o.beta1**t) * m[n] / (np.sqrt(v[n]) / np.sqrt(1 - o.beta2**t) + o.eps)
    report(f"{case.name}: norms of ten AdamW steps against the formula", worst, 1e-11)
    report(f"{case.name}: parameters after ten AdamW steps against the formula", max(np.abs(p[n].detach().numpy() - w[n]).max() for n in w), 1e-11)


def check_sensitivity() -> None:
    """Plausible mistakes, each made on purpose: every one must move some gradient far beyond a test's bound of 1e-4.

    The two forms of GELU differ by at most 5e-4, so that mistake is the faintest: it needs that bound, or a tighter one, to be seen.
    """
    by = {c.name: c for c in CASES}

    def swapped(a, b):
        return lambda p: {n: p[n.replace(a, "?").replace(b, a).replace("?", b)] if a in n or b in n else x for n, x in p.items()}

    def interleaved(c):  # head h owns columns h, h+H, ... in place of a block
        order = torch.arange(c.heads * c.qkv_dim).reshape(c.qkv_dim, c.heads).T.flatten()
        return lambda p: {n: x[..., order] if n.rsplit(".", 1)[-1] in ("wq", "wk", "wv") else x for n, x in p.items()}

    tiny, neo, gpt2 = by["tiny_baseline"], oracle.PRESETS["gptneo"], oracle.PRESETS["gpt2"]
    same = lambda p: p
    mistakes = [
        ("window one too wide", tiny, dict(length=66), same, neo),
        ("window half the batch's length, not the configured one", by["micro_short"], dict(length=20), same, neo),
        ("every use global", tiny, {}, same, replace(neo, local=False)),
        ("logits divided by sqrt(dk)", tiny, {}, same, replace(neo, scaled=True)),
        ("logits not divided by sqrt(dk)", by["micro_gpt2"], {}, same, replace(gpt2, scaled=False)),
        ("odd uses local in GPT-2", by["micro_gpt2"], {}, same, replace(gpt2, local=True)),
        ("exact GELU for tanh", tiny, dict(act="gelu"), same, neo),
        ("tanh GELU for exact", by["micro_gelu_glu"], dict(act="gelu_tanh"), same, neo),
        ("norm's eps 1e-12", tiny, {}, same, replace(neo, norm_eps=1e-12)),
        ("gate and up swapped", by["micro_silu_glu"], {}, swapped("ff.gate", "ff.up"), neo),
        ("q and k swapped", tiny, {}, swapped("attn.wq", "attn.wk"), neo),
        ("heads interleaved, not in blocks", by["micro_heads8"], {}, interleaved(by["micro_heads8"].config), neo),
        ("cycle for cycle_rev", by["micro_cycle_rev"], dict(assignment="cycle"), same, neo),
        ("cycle for seq", by["micro_seq"], dict(assignment="cycle"), same, neo),
    ]
    for name, case, changes, change, preset in mistakes:
        c, (tokens, labels) = case.config, case.batches()[0]
        p = oracle.initial(c)
        want = gradients(p, c, tokens, labels)
        loss = oracle.loss_sum(oracle.forward(change(p), replace(c, **changes), tokens, preset), labels)
        got = dict(zip(p, torch.autograd.grad(loss, list(p.values()), allow_unused=True)))
        top = max(g.abs().max() for g in want.values())
        moved = max(largest(got[n], want[n]) / float(max(want[n].abs().max(), 1e-3 * top)) for n in want if got[n] is not None)
        report(f"mistake seen in {case.name}: {name}: gradients move", moved, 4e-4 if "GELU" in name else 1e-2, at_least=True)


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--peers", type=Path, help="torch_peers.py of the reference workloads")
    a = ap.parse_args()
    torch.set_num_threads(1)
    by = {c.name: c for c in CASES}
    check_rule()
    check_assignments()
    if importlib.util.find_spec("transformers"):
        for name in ("tiny_baseline", "micro_short", "micro_cycle_rev", "micro_seq", "micro_relu"):
            check_public(by[name], "transformers' GPT-Neo", public.gpt_neo)
        check_public(by["micro_gpt2"], "transformers' GPT-2", public.gpt2)
        check_feed_forward()
    else:
        print("skipped: transformers is not installed (requirements.txt)")
    if a.peers:
        for case in CASES:
            check_public(case, "the peers' model", lambda p, c: public.peer(a.peers, p, c))
    for case in CASES:
        check_differences(case)
    for name in ("tiny_baseline", "micro_cycle_rev", "micro_gpt2", "micro_combined"):
        check_adamw(by[name])
    check_sensitivity()
    print(f"{failed} failed" if failed else "all good")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
