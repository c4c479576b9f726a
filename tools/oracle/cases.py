"""The cases of the goldens, as data, and the batches they train on. A new variant's case is one entry of `CASES`."""
from dataclasses import dataclass, replace

import numpy as np
import torch

from oracle import IGNORED, Config
from parameters import uniform

STEPS = 10


@dataclass(frozen=True)
class Case:
    name: str
    about: str
    config: Config
    batch: int
    seq: int
    quantise: bool = False  # gradients as int16 in place of float32

    def batches(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """STEPS pairs of tokens and labels, int64 [B,S], pure functions of (case, step): skewed towards small ids so that tokens
        repeat, labels the next tokens with about an eighth left out, and in every third batch all of the first sequence's."""
        out = []
        for step in range(STEPS):
            n, seed = self.batch * (self.seq + 1), f"{self.name}/{step}/"
            u = uniform(seed + "tokens", n).reshape(self.batch, self.seq + 1)
            text = np.floor(self.config.vocab * u**1.5).astype(np.int64)
            tokens, labels = text[:, :-1].copy(), text[:, 1:].copy()
            labels[uniform(seed + "ignored", labels.size).reshape(labels.shape) < 0.125] = IGNORED
            if step % 3 == 2:
                labels[0] = IGNORED
            out.append((torch.from_numpy(tokens), torch.from_numpy(labels)))
        return out


TINY = Config(preset="gptneo", vocab=256, length=64, d=96, unique=6, uses=6, assignment="seq", heads=6, qkv_dim=16, ff=384, act="gelu_tanh", glu=False)
MICRO = Config(preset="gptneo", vocab=96, length=32, d=32, unique=2, uses=2, assignment="seq", heads=4, qkv_dim=8, ff=64, act="gelu_tanh", glu=False)


def micro(name: str, about: str, seq: int = 32, **changes) -> Case:
    return Case(name, about, replace(MICRO, **changes), batch=3, seq=seq)


CASES = [
    Case("tiny_baseline", "study sharing's decoder baseline at scale tiny, but vocabulary 256 and length 64", TINY, batch=2, seq=64, quantise=True),
    micro("micro_cycle_rev", "two layers used six times: 0 1 0 1 1 0", unique=2, uses=6, assignment="cycle_rev"),
    micro("micro_seq", "three layers used six times: 0 0 1 1 2 2, each once global and once local", unique=3, uses=6, assignment="seq"),
    micro("micro_silu_glu", "feed-forward down(silu(x gate) * (x up)), all three with biases", ff=40, act="silu", glu=True),
    micro("micro_gelu_glu", "feed-forward down(gelu(x gate) * (x up)), exact GELU", ff=40, act="gelu", glu=True),
    micro("micro_relu", "plain feed-forward with ReLU", act="relu"),
    micro("micro_heads8", "eight heads of eight at width 32: the heads' join is wider than the model", heads=8, qkv_dim=8),
    micro("micro_gpt2", "the GPT-2-like preset: biases everywhere, 1/sqrt(dk), all attention global", preset="gpt2"),
    micro("micro_short", "batch shorter (20) than the configured length (32): positions 20.. unused, window still 16", seq=20),
    micro("micro_combined", "axes together: GPT-2-like, two layers used six times by cycle, heads 2 x 24, SiLU GLU, batch of length 28",
          seq=28, preset="gpt2", unique=2, uses=6, assignment="cycle", heads=2, qkv_dim=24, ff=40, act="silu", glu=True),
]
