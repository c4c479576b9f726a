"""The reference model: march's transformers written out in PyTorch from their published definitions, by name and nothing else.

Not a training library and not fast: every formula stands once, in the order of the paper, in whatever dtype the parameters have.
Start at `forward`; `Config` is a case, `PRESETS` are the architectures.

Shapes: B batch, S sequence, D width, H heads, K head size (qkv dim), F feed-forward, V vocabulary, P configured length.
Matrices are [in, out] and used as x @ W. Layers are unique layers; a *use* is one application of a layer.
"""
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F

import parameters

Params = dict[str, torch.Tensor]
IGNORED = -100  # a label without a loss

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),  # Hendrycks and Gimpel 2016, the tanh form
    "gelu": F.gelu,  # x * Phi(x), by erf
    "relu": F.relu,
    "silu": F.silu,
}


@dataclass(frozen=True)
class Preset:
    """What an architecture fixes and a case does not change."""

    qkv_bias: bool
    out_bias: bool
    ff_bias: bool
    scaled: bool  # attention logits divided by sqrt(K)
    local: bool  # odd uses see only the last P/2 positions
    norm_eps: float


PRESETS = {
    # GPT-Neo (Black et al. 2021; transformers' GPTNeo): no 1/sqrt(K), q, k, v without bias, every second layer local.
    "gptneo": Preset(qkv_bias=False, out_bias=True, ff_bias=True, scaled=False, local=True, norm_eps=1e-5),
    # GPT-2 (Radford et al. 2019): biases everywhere, scaled, all global.
    "gpt2": Preset(qkv_bias=True, out_bias=True, ff_bias=True, scaled=True, local=False, norm_eps=1e-5),
}


def assign(assignment: str, unique: int, uses: int) -> list[int]:
    """Unique layer of each use (Takase and Kiyono 2021, *Lessons on Parameter Sharing across Layers in Transformers*)."""
    if uses % unique:
        raise ValueError(f"layers.uses {uses} is no multiple of layers.unique {unique}")
    if assignment == "seq":
        return [i * unique // uses for i in range(uses)]
    if assignment == "cycle" or assignment == "cycle_rev" and uses == unique:
        return [i % unique for i in range(uses)]
    if assignment == "cycle_rev":
        return [i % unique for i in range(uses - unique)] + list(range(unique - 1, -1, -1))
    raise ValueError(f"layers.assignment {assignment!r} is none of seq, cycle, cycle_rev")


@dataclass(frozen=True)
class Config:
    preset: str
    vocab: int
    length: int  # configured: rows of the position table, and what the local window is half of
    d: int
    unique: int
    uses: int
    assignment: str
    heads: int
    qkv_dim: int
    ff: int
    act: str
    glu: bool

    @staticmethod
    def from_json(c: dict) -> "Config":
        c = dict(c)
        layers = c.pop("layers")
        return Config(**c, **layers)

    def to_json(self) -> dict:
        return dict(preset=self.preset, vocab=self.vocab, length=self.length, d=self.d,
                    layers=dict(unique=self.unique, uses=self.uses, assignment=self.assignment),
                    heads=self.heads, qkv_dim=self.qkv_dim, ff=self.ff, act=self.act, glu=self.glu)


def shapes(c: Config) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, in the model's order."""
    t, inner = PRESETS[c.preset], c.heads * c.qkv_dim
    out: dict[str, tuple[int, ...]] = {"embed.tokens": (c.vocab, c.d), "embed.positions": (c.length, c.d)}

    def norm(at: str):
        out[f"{at}norm.weight"] = out[f"{at}norm.bias"] = (c.d,)

    for i in range(c.unique):
        at = f"decoder.{i}.attn."
        norm(at)
        for m in "qkv":
            out[f"{at}w{m}"] = (c.d, inner)
            if t.qkv_bias:
                out[f"{at}b{m}"] = (inner,)
        out[f"{at}wo"] = (inner, c.d)
        if t.out_bias:
            out[f"{at}bo"] = (c.d,)
        at = f"decoder.{i}.ff."
        norm(at)
        for m in ("up", "gate") if c.glu else ("up",):
            out[f"{at}{m}"] = (c.d, c.ff)
            if t.ff_bias:
                out[f"{at}{m}_bias"] = (c.ff,)
        out[f"{at}down"] = (c.ff, c.d)
        if t.ff_bias:
            out[f"{at}down_bias"] = (c.d,)
    norm("decoder.")
    return out


def initial(c: Config, dtype=torch.float64) -> Params:
    """The parameters of the rule, rounded to float32, held in `dtype`, as leaves that require gradients."""
    return {n: torch.from_numpy(parameters.value(n, s)).to(dtype).requires_grad_() for n, s in shapes(c).items()}


def linear(p: Params, x: torch.Tensor, weight: str, bias: str) -> torch.Tensor:
    y = x @ p[weight]
    return y + p[bias] if bias in p else y


def layer_norm(p: Params, x: torch.Tensor, at: str, eps: float) -> torch.Tensor:
    mean = x.mean(-1, keepdim=True)
    variance = ((x - mean) ** 2).mean(-1, keepdim=True)  # divided by D, not D-1
    return (x - mean) / torch.sqrt(variance + eps) * p[f"{at}norm.weight"] + p[f"{at}norm.bias"]


def causal_mask(s: int, window: int | None) -> torch.Tensor:
    """bool [S,S]: position i sees j where 0 <= i - j, and i - j < window where there is one."""
    distance = torch.arange(s)[:, None] - torch.arange(s)[None, :]
    return (distance >= 0) if window is None else (distance >= 0) & (distance < window)


def attention(p: Params, c: Config, at: str, x: torch.Tensor, memory: torch.Tensor, visible: torch.Tensor, scaled: bool) -> torch.Tensor:
    """Multi-head attention (Vaswani et al. 2017, section 3.2) of x [B,S,D] over memory [B,T,D]; head h owns columns h*K..(h+1)*K."""

    def heads(y):  # [B,S,H*K] -> [B,H,S,K]
        return y.unflatten(-1, (c.heads, c.qkv_dim)).transpose(1, 2)

    q = heads(linear(p, x, f"{at}wq", f"{at}bq"))
    k = heads(linear(p, memory, f"{at}wk", f"{at}bk"))
    v = heads(linear(p, memory, f"{at}wv", f"{at}bv"))
    logits = q @ k.transpose(-1, -2)
    if scaled:
        logits = logits / c.qkv_dim**0.5
    probabilities = logits.masked_fill(~visible, float("-inf")).softmax(-1)
    joined = (probabilities @ v).transpose(1, 2).flatten(2)
    return linear(p, joined, f"{at}wo", f"{at}bo")


def feed_forward(p: Params, c: Config, at: str, x: torch.Tensor) -> torch.Tensor:
    """down(act(up x)), or with GLU down(act(gate x) * up x) (Shazeer 2020, *GLU Variants Improve Transformer*)."""
    act = ACTIVATIONS[c.act]
    up = linear(p, x, f"{at}up", f"{at}up_bias")
    hidden = act(linear(p, x, f"{at}gate", f"{at}gate_bias")) * up if c.glu else act(up)
    return linear(p, hidden, f"{at}down", f"{at}down_bias")


def forward(p: Params, c: Config, tokens: torch.Tensor, preset: Preset | None = None) -> torch.Tensor:
    """Logits [B,S,V] of a causal decoder for tokens int64 [B,S], S <= P."""
    t = preset or PRESETS[c.preset]
    s = tokens.shape[1]
    x = p["embed.tokens"][tokens] + p["embed.positions"][:s]
    for use, layer in enumerate(assign(c.assignment, c.unique, c.uses)):
        window = c.length // 2 if t.local and use % 2 else None  # of the use, not of the layer; of the configured length, not of S
        at = f"decoder.{layer}.attn."
        y = layer_norm(p, x, at, t.norm_eps)
        x = x + attention(p, c, at, y, y, causal_mask(s, window), t.scaled)
        at = f"decoder.{layer}.ff."
        x = x + feed_forward(p, c, at, layer_norm(p, x, at, t.norm_eps))
    return layer_norm(p, x, "decoder.", t.norm_eps) @ p["embed.tokens"].T


def loss_sum(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum, not mean, of the cross-entropies in nats; labels[b,t] is what position t predicts; -100 counts nothing."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="sum")
