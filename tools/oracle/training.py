"""Ten optimizer steps by torch's own AdamW and clipping: the reference is the library, not a formula of ours.

One step: gradient of the *mean* label loss (the sum's, divided by the count of labels that are not -100); clip_grad_norm_ at global
norm `clip`, which multiplies by min(1, clip / (norm + 1e-6)); AdamW with decoupled decay, in torch's order:
    p *= 1 - lr*decay;  m = b1*m + (1-b1)*g;  v = b2*v + (1-b2)*g*g
    p -= lr/(1-b1^t) * m / (sqrt(v)/sqrt(1-b2^t) + eps)        t = 1, 2, ...
"""
from dataclasses import asdict, dataclass

import torch

import oracle
import parameters


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
class Step:
    loss_sum: float  # before the update
    count: int
    grad_norm: float  # of the mean loss's gradient, before clipping

    @property
    def loss(self) -> float:
        return self.loss_sum / self.count


def evaluate(p: oracle.Params, c: oracle.Config, tokens, labels) -> float:
    with torch.no_grad():
        return oracle.loss_sum(oracle.forward(p, c, tokens), labels).item()


def train(p: oracle.Params, c: oracle.Config, batches, o: Optimizer) -> list[Step]:
    """One step a batch; updates p in place."""
    groups = [dict(params=[x for n, x in p.items() if parameters.decayed(n) == yes], weight_decay=o.weight_decay if yes else 0.0) for yes in (True, False)]
    adamw = torch.optim.AdamW(groups, lr=o.lr, betas=(o.beta1, o.beta2), eps=o.eps, foreach=False)
    steps = []
    for tokens, labels in batches:
        adamw.zero_grad()
        loss, count = oracle.loss_sum(oracle.forward(p, c, tokens), labels), int((labels != oracle.IGNORED).sum())
        (loss / count).backward()
        norm = torch.nn.utils.clip_grad_norm_(p.values(), o.clip)
        adamw.step()
        steps.append(Step(loss.item(), count, norm.item()))
    return steps
