"""What is minimised, and ten optimizer steps by torch's own AdamW and clipping: there the reference is the library, not a formula of ours.

One step: gradient of the *mean* objective (the sum's, divided by the count of labels that are not -100); clip_grad_norm_ at global
norm `clip`, which multiplies by min(1, clip / (norm + 1e-6)); AdamW with decoupled decay, in torch's order:
    p *= 1 - lr*decay;  m = b1*m + (1-b1)*g;  v = b2*v + (1-b2)*g*g
    p -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps)        t = 1, 2, ...
"""
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F

import oracle
import parameters
from config import Config, Prune
from oracle import IGNORED, Batch, Masks, Model, Params

STEPS = 10


@dataclass(frozen=True)
class Optimizer:
    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.1
    clip: float = 1.0

    def to_json(self) -> dict:
        return asdict(self)


@dataclass(frozen=True)
class Teacher:
    p: Params
    config: Config


@dataclass
class Losses:
    """Sums over the labels of a batch. `result` is the forward pass they come from."""

    loss_sum: torch.Tensor
    ponder_sum: torch.Tensor | None
    distill_sum: torch.Tensor | None
    objective: torch.Tensor  # what gradients are of
    result: oracle.Result

    def extra(self) -> dict[str, float]:
        return {n: x.item() for n, x in (("ponder_sum", self.ponder_sum), ("distill_sum", self.distill_sum)) if x is not None}


@dataclass(frozen=True)
class Step:
    loss_sum: float  # before the update
    count: int
    grad_norm: float  # of the mean objective's gradient, before clipping
    extra: dict[str, float]  # ponder_sum, distill_sum
    pruned: Params | None  # the masks in force
    margin: float  # Halting.margin

    @property
    def loss(self) -> float:
        return self.loss_sum / self.count


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum, not mean, of the cross-entropies in nats; labels[b,t] is what position t predicts; -100 counts nothing."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")


def distillation(student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, temperature: float) -> torch.Tensor:
    """Sum over label positions of T² KL(teacher ‖ student), both softened by the temperature T (Hinton et al. 2015)."""
    t, s = (x[labels != IGNORED].div(temperature).log_softmax(-1) for x in (teacher, student))
    return temperature**2 * (t.exp() * (t - s)).sum()


def losses(p: Params, c: Config, b: Batch, teacher: Teacher | None = None, masks: Masks | None = None, pruned: Params | None = None) -> Losses:
    effective = {n: x * pruned[n] if pruned and n in pruned else x for n, x in p.items()}
    result = Model(effective, c, masks).forward(b)
    total = loss = cross_entropy(result.logits, b.labels)
    ponder = distilled = None
    if teacher:
        d = c.training.distill
        with torch.no_grad():
            logits = Model(teacher.p, teacher.config).forward(b).logits
        distilled = distillation(result.logits, logits, b.labels, d.temperature)
        total = d.alpha * loss + (1 - d.alpha) * distilled
    if result.halting:
        ponder = (result.halting.steps + result.halting.remainder)[b.labels != IGNORED].sum()
        total = total + c.halting.ponder * ponder
    return Losses(loss, ponder, distilled, total, result)


def backward(p: Params, objective: torch.Tensor) -> None:
    """Gradients in p; zero, not none, for what the objective does not depend on, so that AdamW decays it all the same. An
    encoder-decoder has such parameters: nothing reads what its last encoder layer makes of its keys and values."""
    objective.backward()
    for x in p.values():
        if x.grad is None:
            x.grad = torch.zeros_like(x)


def sparsity(c: Prune, step: int, steps: int = STEPS) -> float:
    """At step s = 1, 2, …: target * (1 - (1 - t)³), t from 0 to 1 between the steps start*steps and end*steps (Zhu and Gupta 2017)."""
    t = (step - c.start * steps) / ((c.end - c.start) * steps)
    return c.sparsity * (1 - (1 - min(1.0, max(0.0, t))) ** 3)


def pruning_masks(p: Params, share: float) -> Params:
    """For every decayed tensor but the embeddings: 0 at the floor(share * n + 1/2) entries of smallest magnitude, ties by index."""
    out = {}
    for n, x in p.items():
        if parameters.decayed(n) and not n.startswith("embed."):
            order = x.detach().flatten().abs().argsort(stable=True)
            out[n] = torch.ones_like(order, dtype=x.dtype)
            out[n][order[: math.floor(share * x.numel() + 0.5)]] = 0
            out[n] = out[n].reshape(x.shape)
    return out


def masked(pruned: Params | None) -> int:
    """Entries without effect."""
    return sum(int((m == 0).sum()) for m in (pruned or {}).values())


def train(p: Params, c: Config, batches: list[Batch], o: Optimizer, teacher: Teacher | None = None, masks: Callable[[int], Masks] | None = None) -> list[Step]:
    """One step a batch; updates p in place. Pruning masks are computed anew before each forward pass, from the current parameters."""
    groups = [dict(params=[x for n, x in p.items() if parameters.decayed(n) == yes], weight_decay=o.weight_decay if yes else 0.0) for yes in (True, False)]
    adamw = torch.optim.AdamW(groups, lr=o.lr, betas=(o.beta1, o.beta2), eps=o.eps, foreach=False)
    steps, prune, pruned = [], c.training.prune, None
    for i, b in enumerate(batches):
        adamw.zero_grad()
        if prune.sparsity:
            pruned = pruning_masks(p, sparsity(prune, i + 1, len(batches)))
        l = losses(p, c, b, teacher, masks and masks(i), pruned)
        backward(p, l.objective / b.count)
        norm = torch.nn.utils.clip_grad_norm_(p.values(), o.clip)
        adamw.step()
        steps.append(Step(l.loss_sum.item(), b.count, norm.item(), l.extra(), pruned, l.result.halting.margin if l.result.halting else math.inf))
    return steps
