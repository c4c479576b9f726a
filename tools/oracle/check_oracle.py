#!/usr/bin/env python3
"""Check the oracle itself: against public implementations, finite differences, and known answers; and that its cases can tell mistakes.

    python tools/oracle/check_oracle.py                             # transformers' models where installed
    python tools/oracle/check_oracle.py --peers path/torch_peers.py # also against the peers' models of the reference workloads

One line a check: what, figure, bound. Exit 1 where a figure is beyond its bound.
"""
import argparse
import importlib.util
import math
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F

import derived
import oracle
import parameters
import positions
import public
import training
from cases import ARCHES, CASES, GLU, GPT2, HEADS, Case, sharing
from config import assign
from make_goldens import PRUNE_STEP
from oracle import KeysValues, Model
from training import Optimizer, losses, pruning_masks, sparsity, train

BY_NAME = {c.name: c for c in CASES}
failed = 0


def report(what: str, figure: float, bound: float, at_least: bool = False) -> None:
    global failed
    good = figure >= bound if at_least else figure <= bound
    failed += not good
    print(f"{'ok  ' if good else 'FAIL'} {what}: {figure:.2e} ({'at least' if at_least else 'at most'} {bound:.0e})", flush=True)


def largest(a, b) -> float:
    return float((a - b).detach().abs().max())


def drawn(name: str, *shape: int) -> torch.Tensor:
    """Uniform in [-1, 1), a pure function of the name."""
    return torch.from_numpy(2 * parameters.uniform(name, math.prod(shape)) - 1).reshape(shape)


def first(case: Case, parameters_of: Case | None = None) -> tuple[oracle.Params, Callable[[oracle.Params], training.Losses]]:
    """A case's parameters, and the losses of its first batch as the golden has them, as a function of parameters."""
    p, prune = oracle.initial((parameters_of or case).config), case.config.training.prune
    pruned = pruning_masks(p, training.sparsity(prune, PRUNE_STEP)) if prune.sparsity else None
    return p, lambda q: losses(q, case.config, case.batches()[0], case.taught(torch.float64), case.masks(0), pruned)


def gradients(p: oracle.Params, objective: torch.Tensor) -> oracle.Params:
    found = torch.autograd.grad(objective, list(p.values()), allow_unused=True)
    return {n: torch.zeros_like(x) if g is None else g for (n, x), g in zip(p.items(), found)}


def distance(got: oracle.Params, want: oracle.Params) -> float:
    """The gradient measure of README.md."""
    top = max(g.abs().max() for g in want.values())
    return max(largest(got[n], want[n]) / float(max(want[n].abs().max(), 1e-3 * top)) for n in want)


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
    report("parameter rule: wrong known answers", wrong + (parameters.value(name, (32, 32), 0.05).ravel()[i] != want), 0)


def check_assignments() -> None:
    """Takase and Kiyono 2021, figure 1: M = 3, N = 6."""
    published = {"seq": [0, 0, 1, 1, 2, 2], "cycle": [0, 1, 2, 0, 1, 2], "cycle_rev": [0, 1, 2, 2, 1, 0]}
    wrong = sum(assign(a, 3, 6) != want for a, want in published.items())
    wrong += sum(assign(a, n, n) != list(range(n)) for a in published for n in range(1, 25))
    wrong += assign("cycle_rev", 3, 12) != [0, 1, 2, 0, 1, 2, 0, 1, 2, 2, 1, 0]
    report("assignments: wrong orders", wrong, 0)


def check_public(case: Case, name: str, build) -> None:
    """Logits and every gradient of somebody else's model that was given the oracle's parameters."""
    p, ours = first(case)
    model = build(p, case.config)
    if model is None:
        return
    b, l = case.batches()[0], ours(p)
    logits = model.logits(b)
    report(f"{case.name} against {name}: logits", largest(logits, l.result.logits), model.bound)
    F.cross_entropy(logits.flatten(0, 1), b.labels.flatten(), reduction="sum").backward()
    got, want = model.gradients(), gradients(p, l.objective)
    assert got.keys() == want.keys(), got.keys() ^ want.keys()
    report(f"{case.name} against {name}: gradients", distance(got, want), model.bound)


# Cases of the public models' own combinations of axes

RMS = {f"bias.{b}": False for b in ("qkv", "out", "ff", "output", "norm")} | {"norm.kind": "rms", "norm.eps": 1e-6}
DECODER = ARCHES["decoder"][0](d=16, heads=4, qkv_dim=4, ff=64).but(GPT2)
LLAMA = Case("like_llama", "", DECODER.but(RMS | sharing(4, "cycle_rev", 2) | {"position.kind": "rope", "act": "silu", "glu": True, "kv_heads": 2, "qkv_dim": 6}), batch=2, seq=12)
BLOOM = Case("like_bloom", "", DECODER.but(sharing(4, "cycle", 2) | {"position.kind": "alibi", "norm.embed": True}), batch=2, seq=12)
T5 = [BY_NAME["heads_t5_relative_bias"], BY_NAME["heads_no_position"],
      Case("like_t5", "", HEADS.but(GLU | sharing(4, "cycle_rev", 2) | {"position.kind": "relative", "act": "gelu_tanh"}), batch=2, seq=12, decoder_seq=10)]


def check_transformers() -> None:
    for name in ("tiny_baseline", "micro_short", "micro_cycle_rev", "micro_seq", "micro_relu", "sharing_decoder_very_wide_cycle", "sharing_decoder_wide_deep_cycle_rev"):
        check_public(BY_NAME[name], "transformers' GPT-Neo", public.gpt_neo)
    for name in ("micro_gpt2",):
        check_public(BY_NAME[name], "transformers' GPT-2", public.gpt2)
    check_public(LLAMA, "transformers' Llama", public.llama)
    check_public(BLOOM, "transformers' Bloom", public.bloom)
    for name in ("sharing_encoder_baseline", "sharing_encoder_very_wide_cycle", "sharing_encoder_wide_deep_cycle_rev"):
        check_public(BY_NAME[name], "transformers' RoBERTa", public.roberta)
    for case in T5:
        check_public(case, "transformers' T5", public.t5)
    check_activations()
    check_positions()


def check_activations() -> None:
    from transformers.activations import ACT2FN

    x = 4 * drawn("x", 1000)
    report("activations against transformers'", max(largest(f(x), ACT2FN[public.ACTIVATION[name]](x)) for name, f in oracle.ACTIVATIONS.items()), 1e-12)


def check_positions() -> None:
    from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
    from transformers.models.t5.modeling_t5 import T5Attention

    distances = torch.arange(-300, 301)
    wrong = 0
    for both in (True, False):
        theirs = T5Attention._relative_position_bucket(distances, bidirectional=both).tolist()
        wrong += sum(positions.bucket(d, both) != t or derived.bucket(d, both) != t for d, t in zip(distances.tolist(), theirs))
    report("relative positions against T5's, distances to 300: wrong buckets", wrong, 0)
    theirs = MarianSinusoidalPositionalEmbedding(64, 16).create_weight()
    report("sinusoids against Marian's (float32)", largest(positions.sinusoidal(64, 16, torch.float64), theirs), 1e-6)


# What no public model has

DERIVED = [
    "sharing_decoder_gqa", "sharing_decoder_mqa", "sharing_encoder_linformer", "heads_scaling_heads_constant", "heads_database", "heads_unified_attention",
    "heads_kv_cross_attention", "heads_tp_weights", "heads_big_heads_summed", "heads_rope", "heads_alibi", "combined_sharing_rope_gqa", "combined_biases",
    "combined_unified_relative", "combined_unified_alibi", "combined_encoder", "combined_encoder_linformer_rope", "combined_decoder",
]


def check_derived(case: Case) -> None:
    """Each sub-layer of attention of the first two uses, on random input, against loops in numpy."""
    c, b, worst = case.config, case.batches()[0], 0.0
    p = oracle.initial(c)
    arrays = {n: x.detach().numpy() for n, x in p.items()}
    lengths = b.lengths
    for use, layer in list(enumerate(c.layers()))[:2]:
        model = Model(p, c)
        shape = (case.batch, c.kv_heads_of(layer), case.seq, c.qkv_dim_of(layer))
        memory = drawn("keys", *shape), drawn("values", *shape)
        model.encoded = [KeysValues(*memory)] * c.share.uses
        memory = [m.numpy() for m in memory]
        for stack in c.stacks:
            x = drawn(f"{stack}/x", case.batch, case.decoder_seq if stack == "decoder" and case.decoder_seq else case.seq, c.d)
            numbers = lengths.tolist() if lengths is not None else None
            pairs = [(model.self_attention(stack, use, layer, x, lengths), derived.self_attention(arrays, c, stack, use, layer, x.numpy(), numbers, memory))]
            if stack == "decoder" and c.arch == "encoder-decoder" and not c.attn.unified:
                pairs.append((model.cross_attention(use, layer, x, lengths), derived.cross_attention(arrays, c, layer, x.numpy(), numbers, memory)))
            if c.database.rows:
                pairs.append((model.database(stack, use, layer, x), derived.database(arrays, c, stack, layer, x.numpy())))
            worst = max(worst, *(largest(got, torch.from_numpy(want)) for got, want in pairs))
    report(f"{case.name}: attention against loops", worst, 1e-12)


def check_documents(case: Case) -> None:
    """Logits of each document of a row are those of the document by itself, where positions are relative and windows as long."""
    c, b, worst = case.config, case.batches()[0], 0.0
    p = oracle.initial(c)
    logits = Model(p, c).forward(b).logits
    alone = c.but({"training.document_mask": False})
    for i, documents in enumerate(b.documents.tolist()):
        for n in set(documents):
            at = [j for j, d in enumerate(documents) if d == n]
            got = Model(p, alone).forward(oracle.Batch(b.tokens[i : i + 1, at], b.labels[i : i + 1, at])).logits
            worst = max(worst, largest(got[0], logits[i, at]))
    report(f"{case.name}: logits of documents against each by itself", worst, 1e-12)


def check_halting(case: Case) -> None:
    """The weighted outputs and ponder of whole models, each position by itself from the states that the model passed through."""
    c, b = case.config, case.batches()[0]
    p = oracle.initial(c)
    (stack,), states = c.stacks, []
    layer = Model.layer

    def watched(self, stack, use, i, x, lengths):
        y = layer(self, stack, use, i, x, lengths)
        states.append((x.detach(), y.detach()))
        return y

    with patch.object(Model, "layer", watched):
        model = Model(p, c)
        out, halting = model.stack(stack, model.embed(stack, b.tokens), b.lengths)
    w, bias, want = p[f"{stack}.halting.weight"].detach(), p[f"{stack}.halting.bias"].detach(), torch.zeros_like(out)
    ponder = 0.0
    for i in range(case.batch):
        for j in range(case.seq):
            probabilities = [float(1 / (1 + torch.exp(-(x[i, j] @ w + bias)))) for x, _ in states]
            y, cost = derived.halted(probabilities, [y[i, j].numpy() for _, y in states], c.halting.threshold)
            want[i, j] = torch.from_numpy(y)
            ponder = max(ponder, abs(cost - (halting.steps[i, j] + halting.remainder[i, j]).item()))
    if c.norm.place == "pre":
        want = model.norm(want, f"{stack}.")
    report(f"{case.name}: halting against a loop over positions: output, ponder", max(largest(out, want), ponder), 1e-12)


def check_distillation() -> None:
    student, teacher, labels = drawn("student", 2, 5, 9) * 3, drawn("teacher", 2, 5, 9) * 3, torch.tensor([[1, -100, 2, 3, 4], [0, 5, -100, -100, 7]])
    rows = labels != -100
    want = 4.0 * F.kl_div(F.log_softmax(student[rows] / 2, -1), F.softmax(teacher[rows] / 2, -1), reduction="sum")
    report("distillation against torch's kl_div", largest(training.distillation(student, teacher, labels, 2.0), want), 1e-12)


def check_pruning() -> None:
    from torch.nn.utils import prune

    p, wrong = oracle.initial(BY_NAME["sharing_encoder_prune"].config), 0
    for share in (0.0, 0.21, 0.5, 0.9):
        masks = pruning_masks(p, share)
        for n, m in masks.items():
            holder = torch.nn.ParameterDict({"w": p[n].detach().clone()})
            prune.l1_unstructured(holder, "w", amount=math.floor(share * m.numel() + 0.5))
            wrong += int((holder.w_mask != m).sum())
    report("pruning masks against torch's l1_unstructured: wrong entries", wrong, 0)
    c = BY_NAME["sharing_encoder_prune"].config.training.prune  # 0.5 between steps 2 and 8 of 10
    known = {1: 0.0, 2: 0.0, 5: 0.5 * (1 - 0.125), 8: 0.5, 10: 0.5}
    report("sparsity of steps", max(abs(sparsity(c, s) - want) for s, want in known.items()), 1e-15)


def check_differences(case: Case) -> float:
    """Central differences along one random direction through all parameters: error over the derivative's natural size |g|.|v|/sqrt(n)."""
    p, ours = first(case)
    g = gradients(p, ours(p).objective)
    v = {n: drawn(f"direction/{n}", *x.shape) for n, x in p.items()}
    slope = float(sum((g[n] * v[n]).sum() for n in p))
    size = float(sum((g[n] ** 2).sum() for n in p)) ** 0.5 * 3**-0.5
    errors = []
    with torch.no_grad():
        at = lambda t: ours({n: x + t * v[n] for n, x in p.items()}).objective.item()
        for h in (1e-4, 1e-5, 1e-6, 1e-7):  # a step across ReLU's kink is no derivative: take the best; the smaller ones cost digits
            # Richardson's extrapolation of two central differences: error of order h^4
            errors.append(abs((8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h) - slope) / size)
            if errors[-1] < 1e-8:
                break
    return min(errors)


def check_kinks(case: Case) -> None:
    """Nothing may come so close to ReLU's kink in the first batch that float32's rounding puts it on the other side: that would move
    gradients by no fault of anybody's."""
    nearest = math.inf

    def watched(x):
        nonlocal nearest
        nearest = min(nearest, float(x.detach().abs().min()))
        return x.clamp(min=0)

    p, ours = first(case)
    with patch.object(F, "relu", watched), patch.dict(oracle.ACTIVATIONS, relu=watched):
        ours(p)
    if nearest < math.inf:
        report(f"{case.name}: nearest to ReLU's kink", nearest, 3e-6, at_least=True)


def check_adamw(case: Case) -> None:
    """Torch's AdamW and clipping against the formula of training.py's doc comment, in numpy."""
    c, o, batches, teacher = case.config, Optimizer(), case.batches(), case.taught(torch.float64)
    p = oracle.initial(c)
    w = {n: x.detach().numpy().copy() for n, x in p.items()}
    m, v = ({n: np.zeros_like(x) for n, x in w.items()} for _ in range(2))
    worst = 0.0
    steps = train(p, c, batches, o, teacher, case.masks if case.masks(0) else None)
    for t, b in enumerate(batches, 1):
        q = {n: torch.from_numpy(x.copy()).requires_grad_() for n, x in w.items()}
        pruned = pruning_masks(q, sparsity(c.training.prune, t)) if c.training.prune.sparsity else None
        g = {n: x.numpy() / b.count for n, x in gradients(q, losses(q, c, b, teacher, case.masks(t - 1), pruned).objective).items()}
        norm = sum((x**2).sum() for x in g.values()) ** 0.5
        worst = max(worst, abs(norm / steps[t - 1].grad_norm - 1))
        for n in w:
            x = g[n] * min(1.0, o.clip / (norm + 1e-6))
            m[n] = o.beta1 * m[n] + (1 - o.beta1) * x
            v[n] = o.beta2 * v[n] + (1 - o.beta2) * x * x
            w[n] *= 1 - o.lr * o.weight_decay * parameters.decayed(n)
            w[n] -= o.lr / (1 - o.beta1**t) * m[n] / (np.sqrt(v[n]) / np.sqrt(1 - o.beta2**t) + o.eps)
    report(f"{case.name}: norms of ten AdamW steps against the formula", worst, 1e-11)
    moved = {n: np.abs(p[n].detach().numpy() - w[n]).max() for n in w if not n.endswith(".bk")}  # bk: rounding only, README.md
    report(f"{case.name}: parameters after ten AdamW steps against the formula", max(moved.values()), 1e-10)


# Plausible mistakes, each made on purpose


def swapped(a: str, b: str):
    return lambda p: {n: p[n.replace(a, "?").replace(b, a).replace("?", b)] if a in n or b in n else x for n, x in p.items()}


def without(part: str):
    return lambda p: {n: x for n, x in p.items() if part not in n}


def rows(part: str, change: Callable[[torch.Tensor], torch.Tensor]):
    return lambda p: {n: change(x) if part in n else x for n, x in p.items()}


def interleaved(c):  # head h owns columns h, h+H, ... in place of a block
    order = torch.arange(c.heads * c.qkv_dim).reshape(c.qkv_dim, c.heads).T.flatten()
    return lambda p: {n: x[..., order] if n.rsplit(".", 1)[-1] in ("wq", "wk", "wv") else x for n, x in p.items()}


def around(owner, name: str, f):
    """The function `name` of a module or class, replaced by f(original, ...)."""
    original = getattr(owner, name)
    return patch.object(owner, name, lambda *a, **k: f(original, *a, **k))


def rotated_neighbours(original, x):
    order = torch.arange(x.shape[-1]).reshape(2, -1).T.flatten()  # pairs (2j, 2j+1)
    return original(x[..., order.argsort()])[..., order]


def cross_over(which: Callable[[list], list]):
    def f(original, self, *a):
        kept, self.encoded = self.encoded, which(self.encoded)
        try:
            return original(self, *a)
        finally:
            self.encoded = kept
    return around(Model, "cross_attention", f)


def rotated_memory(original, self, stack, *a):
    y = original(self, stack, *a)
    if stack == "encoder":
        self.encoded[-1] = KeysValues(positions.rotate(self.encoded[-1].k), self.encoded[-1].v)
    return y


def shared_masks(original, self, step):
    masks = original(self, step)
    return lambda place, shape, rate: masks(place.replace("decoder.2.", "decoder.0.").replace("decoder.3.", "decoder.1."), shape, rate)


def set_output(original, self, y):
    self.output = y


each_row = lambda f, documents: f(torch.zeros_like(documents))
everything = lambda original, lengths, s: torch.ones(len(lengths), 1, 1, s, dtype=torch.bool)
# case, mistake, and what makes it: axes, a change of the parameters, a patch
MISTAKES = [
    ("tiny_baseline", "window one too wide", dict(length=66)),
    ("micro_short", "window half the batch's length, not the configured one", dict(length=20)),
    ("tiny_baseline", "every use global", {"attn.local": "none"}),
    ("tiny_baseline", "logits divided by sqrt(dk)", {"attn.scaled": True}),
    ("micro_gpt2", "logits not divided by sqrt(dk)", {"attn.scaled": False}),
    ("micro_gpt2", "odd uses local in GPT-2", {"attn.local": "alternate"}),
    ("tiny_baseline", "exact GELU for tanh", dict(act="gelu")),
    ("micro_gelu_glu", "tanh GELU for exact", dict(act="gelu_tanh")),
    ("heads_gelu_glu", "tanh GELU for exact", dict(act="gelu_tanh")),
    ("sharing_encoder_baseline", "tanh GELU for exact", dict(act="gelu_tanh")),
    ("tiny_baseline", "norm's eps 1e-12", {"norm.eps": 1e-12}),
    ("sharing_encoder_baseline", "norm's eps 1e-5: eps", {"norm.eps": 1e-5}),
    ("heads_baseline", "norm's eps 1e-5: eps", {"norm.eps": 1e-5}),
    ("micro_silu_glu", "gate and up swapped", swapped("ff.gate", "ff.up")),
    ("tiny_baseline", "q and k swapped", swapped("attn.wq", "attn.wk")),
    ("micro_heads8", "heads interleaved, not in blocks", interleaved(BY_NAME["micro_heads8"].config)),
    ("micro_cycle_rev", "cycle for cycle_rev", {"share.assignment": "cycle"}),
    ("micro_seq", "cycle for seq", {"share.assignment": "cycle"}),
    ("sharing_encoder_wide_cycle_rev", "cycle for cycle_rev", {"share.assignment": "cycle"}),
    ("combined_sharing_rope_gqa", "cycle for cycle_rev", {"share.assignment": "cycle"}),
    ("sharing_encoder_baseline", "lengths ignored", around(oracle, "length_mask", everything)),
    ("heads_baseline", "lengths ignored", around(oracle, "length_mask", everything)),
    ("sharing_encoder_baseline", "pre-norm for post-norm", {"norm.place": "pre"}, lambda p: p | {"encoder.norm.weight": torch.ones(12), "encoder.norm.bias": torch.zeros(12)}),
    ("sharing_encoder_baseline", "no norm behind the embeddings", {"norm.embed": False}),
    ("sharing_encoder_baseline", "output without its transform", {"output.transform": False}),
    ("sharing_encoder_baseline", "output without its bias", {"bias.output": False}),
    ("sharing_encoder_baseline", "logits not divided by sqrt(dk)", {"attn.scaled": False}),
    ("heads_baseline", "norm centred", {"norm.kind": "layer"}),
    ("heads_baseline", "sum of embedding and position", {"position.combine": "sum"}),
    ("heads_baseline", "output not scaled", {"output.scaled": False}),
    ("heads_baseline", "logits divided by sqrt(dk)", {"attn.scaled": True}),
    ("heads_baseline", "cross-attention over the last layer's keys", cross_over(lambda e: e[-1:] * len(e))),
    ("heads_baseline", "cross-attention over the layers in reverse", cross_over(lambda e: e[::-1])),
    ("heads_no_self_attention_residual", "a residual", {"attn.residual": True}),
    ("heads_kv_cross_attention", "its matrices left out", {"attn.cross_kv": "shared"}),
    ("heads_kv_cross_attention", "its matrices swapped", swapped("cross.wk", "cross.wv")),
    ("heads_unified_attention", "own keys visible ahead", around(oracle, "causal_mask", lambda f, s, w: torch.ones(s, s, dtype=torch.bool))),
    ("heads_unified_attention", "lengths ignored", around(oracle, "length_mask", everything)),
    ("combined_unified_relative", "all query heads in turn over the key heads", around(Model, "attend", lambda f, self, place, q, k, v, *a: f(self, place, q, *(y.repeat(1, q.shape[1] // y.shape[1], 1, 1) for y in (k, v)), *a))),
    ("sharing_decoder_gqa", "query heads in turn over the key heads", around(Model, "attend", lambda f, self, place, q, k, v, *a: f(self, place, q, *(y.repeat(1, q.shape[1] // y.shape[1], 1, 1) for y in (k, v)), *a))),
    ("heads_tp_weights", "no roles in cross-attention", without("cross.wr")),
    ("heads_big_heads_summed", "halves of the heads summed, not neighbours", around(Model, "join", lambda f, self, at, h, x: f(self, at, h[:, [0, 2, 1, 3]], x))),
    ("heads_database", "keys for values", swapped("database.keys", "database.values")),
    ("heads_database_from_dim", "keys for values", swapped("database.keys", "database.values")),
    ("heads_mixed_act", "sum for mean", dict(mix="sum")),
    ("heads_mixed_act_sum_over_mean", "slow and fast swapped", swapped("ff.slow", "ff.fast")),
    ("heads_mixed_act_som_dropout", "no dropout on the sigmoid branch", {"dropout.slow": 0.0}),
    ("heads_squared_relu", "relu", dict(act="relu")),
    ("heads_bilinear_glu", "an activation", dict(act="tanh")),
    ("heads_t5_relative_bias", "query minus key", around(positions, "relative", lambda f, t, s, bidirectional: f(t, s, bidirectional).transpose(-1, -2))),
    ("heads_t5_relative_bias", "buckets bidirectional in the decoder", around(positions, "relative", lambda f, t, s, bidirectional: f(t, s, True))),
    ("heads_t5_relative_bias", "largest distance 256", around(positions, "bucket", lambda f, n, bidirectional: f(n, bidirectional, largest=256))),
    ("heads_alibi", "slopes from 1 on", around(positions, "alibi", lambda f, s, h, t: f(s, h, t) * 2 ** (8 / h))),
    ("heads_rope", "neighbours rotated, not halves", around(positions, "rotate", rotated_neighbours)),
    ("heads_rope", "rotated keys in cross-attention", around(Model, "self_attention", rotated_memory)),
    ("heads_rope", "base 1000", patch.object(positions, "BASE", 1000.0)),
    ("heads_sinusoidal", "cosines first", around(positions, "sinusoidal", lambda f, *a: f(*a).roll(8, -1))),
    ("heads_sinusoidal", "averaged", around(positions, "sinusoidal", lambda f, *a: f(*a) / 2)),
    ("heads_post_norm", "residual behind the norm", around(Model, "sublayer", lambda f, self, x, at, place, g, residual=True: x + self.norm(g(x), at))),
    ("heads_layernorm", "norm not centred", {"norm.kind": "rms"}),
    ("sharing_decoder_share_ffn", "the second half's layers shared", around(oracle.Config, "ff_at", lambda f, c, stack, use, layer: f"{stack}.ff.{min(use, 3)}.")),
    ("sharing_encoder_linformer", "positions behind the lengths not zeroed", around(oracle, "length_mask", everything)),
    ("sharing_encoder_linformer", "the last rows for a shorter input", rows("linformer", lambda x: x.roll(4, 0))),
    ("sharing_decoder_universal", "step embeddings in reverse", rows(".steps", lambda x: x.flip(0))),
    ("sharing_encoder_universal", "no step embeddings", {"share.step_embedding": False}),
    ("sharing_decoder_universal_act", "the last state for the weighted sum", around(oracle.Halt, "after", set_output)),
    ("sharing_decoder_universal_act", "threshold 0.9", {"halting.threshold": 0.9}),
    ("combined_decoder_act", "threshold 0.99", {"halting.threshold": 0.99}),
    ("sharing_encoder_universal_act", "no ponder cost", {"halting.ponder": 0.0}),
    ("sharing_decoder_universal_act", "no ponder cost", {"halting.ponder": 0.0}),
    ("combined_decoder_act", "ponder of all positions alike: cost doubled", {"halting.ponder": 1.0}),
    ("sharing_decoder_distill", "temperature 1", {"training.distill.temperature": 1.0}),
    ("sharing_decoder_distill", "no factor T²", around(training, "distillation", lambda f, s, t, l, T: f(s, t, l, T) / T**2)),
    ("sharing_encoder_distill", "student and teacher swapped", around(training, "distillation", lambda f, s, t, l, T: f(t, s, l, T))),
    ("sharing_decoder_prune", "another sparsity", {"training.prune.sparsity": 0.45}),
    ("sharing_encoder_prune", "a linear schedule", around(training, "sparsity", lambda f, *a: 0.25)),
    ("documents_decoder", "documents ignored", around(oracle, "document_mask", each_row)),
    ("documents_decoder_rope", "documents ignored", around(oracle, "document_mask", each_row)),
    ("documents_decoder_rope", "earlier documents visible", around(oracle, "document_mask", lambda f, d: (d[:, :, None] >= d[:, None, :])[:, None])),
    ("documents_decoder", "the token that begins a document in the one before", around(oracle, "document_mask", lambda f, d: f(d.roll(1, -1)))),
    ("dropout_decoder", "one mask for both uses of a layer", around(Case, "masks", shared_masks)),
    ("dropout_encoder", "no dropout", {"dropout.rate": 0.0}),
    ("dropout_encoder_linformer", "no dropout on attention", around(Model, "attend", lambda f, self, place, *a: f(replace(self, masks=None), place, *a))),
    ("dropout_encoder_decoder", "no dropout on attention", around(Model, "attend", lambda f, self, place, *a: f(replace(self, masks=None), place, *a))),
    ("dropout_unified", "no dropout on attention", around(Model, "attend", lambda f, self, place, *a: f(replace(self, masks=None), place, *a))),
]


def check_sensitivity() -> None:
    """Every mistake must move some gradient far beyond a test's bound of 1e-4. The two forms of GELU differ by at most 5e-4, and a
    norm's eps by less where states are large, so those mistakes are the faintest: they need that bound, or a tighter one, to be seen."""
    for name, mistake, how, *more in MISTAKES:
        case = BY_NAME[name]
        p, ours = first(case)
        want = gradients(p, ours(p).objective)
        changed = replace(case, config=case.config.but(how)) if isinstance(how, dict) else case
        change = more[0] if more else how if not isinstance(how, dict) and not hasattr(how, "__enter__") else lambda q: q
        with how if hasattr(how, "__enter__") else nullcontext():
            _, wrong = first(changed, parameters_of=case)
            got = gradients(p, wrong(change(p)).objective)
        bound = 4e-4 if "GELU" in mistake else 1e-4 if ": eps" in mistake else 1e-2
        report(f"mistake seen in {name}: {mistake}: gradients move", distance(got, want), bound, at_least=True)


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--peers", type=Path, help="torch_peers.py of the reference workloads")
    a = ap.parse_args()
    torch.set_num_threads(1)
    check_rule()
    check_assignments()
    if importlib.util.find_spec("transformers"):
        check_transformers()
    else:
        print("skipped: transformers is not installed (requirements.txt)")
    if a.peers:
        for case in CASES:
            if case.name.startswith(("tiny", "micro")):
                check_public(case, "the peers' model", lambda p, c: public.peer(a.peers, p, c))
    for name in DERIVED:
        check_derived(BY_NAME[name])
    check_documents(BY_NAME["documents_decoder_rope"])
    for name in ("sharing_decoder_universal_act", "sharing_encoder_universal_act", "combined_decoder_act"):
        check_halting(BY_NAME[name])
    check_distillation()
    check_pruning()
    for case in CASES:
        report(f"{case.name}: gradients against finite differences", check_differences(case), 1e-6)
    for case in CASES:
        check_kinks(case)
    for name in ("micro_cycle_rev", "micro_gpt2", "heads_baseline", "sharing_encoder_prune", "sharing_decoder_distill", "dropout_encoder_decoder", "combined_decoder_act"):
        check_adamw(BY_NAME[name])
    check_sensitivity()
    print(f"{failed} failed" if failed else "all good")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
