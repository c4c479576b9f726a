"""The reference model: march's transformers written out in PyTorch from their published definitions, by name and nothing else.

Not a training library and not fast: every formula stands once, in the order of the papers, in whatever dtype the parameters have.
Start at `Model.forward`; the axes are in config.py, the parameters' names in shapes.py, the losses in training.py.

Shapes: B batch, S sequence, T the decoder's own where there are two stacks, D width, H heads, K head size (qkv dim), F feed-forward,
V vocabulary, P configured length. Matrices are [in, out] and used as x @ W. Layers are unique layers; a *use* is one application of a
layer. `at` is the prefix of a layer's parameters, `place` the prefix of a use's dropout masks.
"""
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F

import parameters
import positions
from config import Config
from shapes import shapes

Params = dict[str, torch.Tensor]
Masks = Callable[[str, torch.Size, float], torch.Tensor]  # place, shape, rate -> 0 or 1/(1-rate)
IGNORED = -100  # a label without a loss

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),  # Hendrycks and Gimpel 2016, the tanh form
    "gelu": F.gelu,  # x * Phi(x), by erf
    "relu": F.relu,
    "squared_relu": lambda x: F.relu(x) ** 2,  # So et al. 2021
    "silu": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}


@dataclass(frozen=True)
class Batch:
    tokens: torch.Tensor  # int64 [B,S]
    labels: torch.Tensor  # int64, in the shape of the logits' positions
    lengths: torch.Tensor | None = None  # int64 [B], of tokens: encoder and encoder-decoder
    decoder_tokens: torch.Tensor | None = None  # int64 [B,T]: encoder-decoder
    documents: torch.Tensor | None = None  # int64 [B,S]: the number of each token's document: decoder with training.document_mask

    @property
    def count(self) -> int:
        return int((self.labels != IGNORED).sum())


@dataclass
class Halting:
    """Adaptive computation time of one forward pass, each [B,S]."""

    steps: torch.Tensor
    remainder: torch.Tensor
    margin: float  # the closest that any running sum came to the threshold: rounding below it halts nothing elsewhere


@dataclass
class Result:
    logits: torch.Tensor  # [B,S or T,V]
    halting: Halting | None = None


@dataclass
class KeysValues:
    """One layer's heads: [B,kv,S,K]."""

    k: torch.Tensor
    v: torch.Tensor


def embeddings(c: Config, prefix: str) -> float:
    """Amplitude of the embeddings' tables: larger where the last scaling makes logits small, where positions are to halt at
    different steps, and for a teacher that is to have opinions."""
    return 0.5 if c.output.scaled or c.halting.kind != "none" or prefix else 0.05


def initial(c: Config, dtype=torch.float64, prefix: str = "") -> Params:
    """The parameters of the rule, rounded to float32, held in `dtype`, as leaves that require gradients."""
    return {n: torch.from_numpy(parameters.value(prefix + n, s, embeddings(c, prefix))).to(dtype).requires_grad_() for n, s in shapes(c).items()}


def causal_mask(s: int, window: int | None) -> torch.Tensor:
    """bool [S,S]: position i sees j where 0 <= i - j, and i - j < window where there is one."""
    distance = torch.arange(s)[:, None] - torch.arange(s)[None, :]
    return (distance >= 0) if window is None else (distance >= 0) & (distance < window)


def length_mask(lengths: torch.Tensor, s: int) -> torch.Tensor:
    """bool [B,1,1,S]: keys before the length of their sequence."""
    return (torch.arange(s) < lengths[:, None])[:, None, None, :]


def document_mask(documents: torch.Tensor) -> torch.Tensor:
    """bool [B,1,S,S]: keys of the query's own document."""
    return (documents[:, :, None] == documents[:, None, :])[:, None]


@dataclass
class Model:
    p: Params
    c: Config
    masks: Masks | None = None  # dropout; none: as in evaluation
    documents: torch.Tensor | None = None  # of the batch, where attention stays within them
    encoded: list[KeysValues] = field(default_factory=list)  # of each use of the encoder's self-attention

    def forward(self, b: Batch) -> Result:
        c, halting = self.c, None
        self.documents = b.documents if c.training.document_mask else None
        if "encoder" in c.stacks:
            x, halting = self.stack("encoder", self.embed("encoder", b.tokens), b.lengths)
        if "decoder" in c.stacks:
            tokens = b.decoder_tokens if c.arch == "encoder-decoder" else b.tokens
            x, halting = self.stack("decoder", self.embed("decoder", tokens), b.lengths)
        return Result(self.head(x), halting)

    # Pieces that every layer has

    def linear(self, x: torch.Tensor, weight: str, bias: str) -> torch.Tensor:
        y = x @ self.p[weight]
        return y + self.p[bias] if bias in self.p else y

    def drop(self, place: str, x: torch.Tensor, rate: float | None = None) -> torch.Tensor:
        rate = self.c.dropout.rate if rate is None else rate
        return x * self.masks(place, x.shape, rate).to(x.dtype) if self.masks and rate else x

    def norm(self, x: torch.Tensor, at: str) -> torch.Tensor:
        """LayerNorm (Ba et al. 2016), or RMS norm (Zhang and Sennrich 2019): neither centred nor with a bias."""
        if self.c.norm.kind == "layer":
            x = x - x.mean(-1, keepdim=True)
        y = x / torch.sqrt((x**2).mean(-1, keepdim=True) + self.c.norm.eps) * self.p[f"{at}norm.weight"]  # divided by D, not D-1
        return y + self.p[f"{at}norm.bias"] if f"{at}norm.bias" in self.p else y

    def sublayer(self, x: torch.Tensor, at: str, place: str, f: Callable[[torch.Tensor], torch.Tensor], residual: bool = True) -> torch.Tensor:
        before = x if residual else 0
        if self.c.norm.place == "pre":
            return before + self.drop(place, f(self.norm(x, at)))
        return self.norm(before + self.drop(place, f(x)), at)

    # Ends of the model

    def embed(self, stack: str, tokens: torch.Tensor) -> torch.Tensor:
        c, s = self.c, tokens.shape[1]
        x = self.drop(f"{stack}.embed", self.p["embed.tokens"][tokens])
        if c.position.kind == "learned":
            x = x + self.drop(f"{stack}.position", self.p["embed.positions"][:s])
            if c.position.combine == "average":
                x = x / 2
        elif c.position.kind == "sinusoidal":
            x = x + self.drop(f"{stack}.position", positions.sinusoidal(s, c.d, x.dtype))
        return self.norm(x, "embed.") if c.norm.embed else x

    def head(self, x: torch.Tensor) -> torch.Tensor:
        if self.c.output.transform:
            x = self.norm(ACTIVATIONS[self.c.act](self.linear(x, "output.dense", "output.dense_bias")), "output.")
        if self.c.output.scaled:
            x = x * self.c.d**-0.5
        logits = x @ self.p["embed.tokens"].T
        return logits + self.p["output.bias"] if self.c.bias.output else logits

    # A stack and its layers

    def stack(self, stack: str, x: torch.Tensor, lengths: torch.Tensor | None) -> tuple[torch.Tensor, Halting | None]:
        c = self.c
        halt = Halt(c, self.p[f"{stack}.halting.weight"], self.p[f"{stack}.halting.bias"], x) if c.halting.kind == "act" else None
        for use, layer in enumerate(c.layers()):
            if c.share.step_embedding:
                x = x + self.p[f"{stack}.steps"][use]
            if halt:
                halt.before(x, last=use == c.share.uses - 1)
            x = self.layer(stack, use, layer, x, lengths)
            if halt:
                halt.after(x)
        if halt:
            x = halt.output
        return (self.norm(x, f"{stack}.") if c.norm.place == "pre" else x), (halt and halt.result())

    def layer(self, stack: str, use: int, layer: int, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        c, at, place = self.c, f"{stack}.{layer}.", f"{stack}.{use}."
        x = self.sublayer(x, f"{at}attn.", f"{place}attn", lambda y: self.self_attention(stack, use, layer, y, lengths), c.attn.residual)
        if stack == "decoder" and c.arch == "encoder-decoder" and not c.attn.unified:
            x = self.sublayer(x, f"{at}cross.", f"{place}cross", lambda y: self.cross_attention(use, layer, y, lengths))
        if c.database.rows:
            x = self.sublayer(x, f"{at}database.", f"{place}database", lambda y: self.database(stack, use, layer, y))
        at = c.ff_at(stack, use, layer)
        return self.sublayer(x, at, f"{place}ff", lambda y: self.feed_forward(at, f"{place}ff", y))

    # Attention

    def heads(self, x: torch.Tensor, layer: int) -> torch.Tensor:
        """[B,S,H*K] -> [B,H,S,K]; head h owns columns h*K..(h+1)*K."""
        return x.unflatten(-1, (-1, self.c.qkv_dim_of(layer))).transpose(1, 2)

    def attend(self, place: str, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, visible: torch.Tensor | None = None, bias: torch.Tensor | None = None) -> torch.Tensor:
        """Scaled or unscaled attention (Vaswani et al. 2017, section 3.2) of heads [B,H,S,K] over [B,kv,S',K]; query head h uses
        key and value head floor(h / (H/kv)) (Ainslie et al. 2023). Visible bool and bias broadcast to [B,H,S,S']."""
        if k.ndim == 4 and k.shape[1] != q.shape[1]:
            k, v = (y.repeat_interleave(q.shape[1] // y.shape[1], dim=1) for y in (k, v))
        logits = q @ k.transpose(-1, -2)
        if self.c.attn.scaled:
            logits = logits / q.shape[-1] ** 0.5
        if bias is not None:
            logits = logits + bias
        if visible is not None:
            logits = logits.masked_fill(~visible, float("-inf"))
        return self.drop(f"{place}.weights", logits.softmax(-1)) @ v

    def join(self, at: str, heads: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Heads [B,H,S,K] of the sub-layer with input x [B,S,D] -> [B,S,D]."""
        joined = heads.transpose(1, 2).flatten(2)
        if f"{at}wr" in self.p:  # roles (Schlag et al. 2019, the tensor-product transformer)
            joined = joined * (x @ self.p[f"{at}wr"])
        if self.c.attn.summed and not at.endswith("database."):
            joined = joined.unflatten(-1, (-1, 2, heads.shape[-1])).sum(-2).flatten(2)
        return self.linear(joined, f"{at}wo", f"{at}bo")

    def self_attention(self, stack: str, use: int, layer: int, x: torch.Tensor, lengths: torch.Tensor | None) -> torch.Tensor:
        c, s, at, place = self.c, x.shape[1], f"{stack}.{layer}.attn.", f"{stack}.{use}.attn"
        q, k, v = (self.heads(self.linear(x, f"{at}w{m}", f"{at}b{m}"), layer) for m in "qkv")
        if stack == "encoder":
            self.encoded.append(KeysValues(k, v))
            visible = length_mask(lengths, s)
        else:  # the window is of the use, not of the layer; of the configured length, not of S
            visible = causal_mask(s, c.length // 2 if c.attn.local == "alternate" and use % 2 else None)
            if self.documents is not None:
                visible = visible & document_mask(self.documents)
        bias = None
        if c.position.kind == "rope":
            q, k = positions.rotate(q), positions.rotate(k)
        elif c.position.kind == "alibi":
            bias = positions.alibi(s, c.heads_of(layer), x.dtype)
        elif c.position.kind == "relative":
            bias = positions.relative(self.p[f"{stack}.relative"], s, bidirectional=stack == "encoder")
        if c.attn.linformer:
            k, v = (self.project(y, f"{at}linformer.{name}", lengths) for y, name in ((k, "keys"), (v, "values")))
            visible = None
        if c.attn.unified and stack == "decoder":
            e = self.encoded[use]
            k, v = torch.cat([k, e.k], 2), torch.cat([v, e.v], 2)
            there = length_mask(lengths, e.k.shape[2])
            visible = torch.cat([visible.expand(len(x), 1, s, s), there.expand(-1, -1, s, -1)], -1)
            if bias is not None:
                bias = F.pad(bias, (0, e.k.shape[2]))
        return self.join(at, self.attend(place, q, k, v, visible, bias), x)

    def project(self, y: torch.Tensor, name: str, lengths: torch.Tensor) -> torch.Tensor:
        """Linformer (Wang et al. 2020): [B,H,S,K] -> [B,H,k,K] by the first S rows of [P,k], positions behind the lengths zeroed first."""
        s = y.shape[2]
        here = length_mask(lengths, s).transpose(-1, -2)
        return self.p[name][:s].T @ (y * here)

    def cross_attention(self, use: int, layer: int, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Over the keys and values of the encoder's self-attention at the same use, as they are or projected once more."""
        at, e = f"decoder.{layer}.cross.", self.encoded[use]
        q, k, v = self.heads(self.linear(x, f"{at}wq", f"{at}bq"), layer), e.k, e.v
        if self.c.attn.cross_kv == "own":
            k, v = (self.heads(self.linear(y.transpose(1, 2).flatten(2), f"{at}w{m}", f"{at}b{m}"), layer) for y, m in ((k, "k"), (v, "v")))
        return self.join(at, self.attend(f"decoder.{use}.cross", q, k, v, length_mask(lengths, k.shape[2])), x)

    def database(self, stack: str, use: int, layer: int, x: torch.Tensor) -> torch.Tensor:
        """Over learned tables that all heads, layers and stacks share."""
        at = f"{stack}.{layer}.database."
        q = self.heads(self.linear(x, f"{at}wq", f"{at}bq"), layer)
        return self.join(at, self.attend(f"{stack}.{use}.database", q, self.p["database.keys"], self.p["database.values"]), x)

    def feed_forward(self, at: str, place: str, x: torch.Tensor) -> torch.Tensor:
        """down(act(up x)); with GLU down(act(gate x) * up x) (Shazeer 2020, *GLU Variants Improve Transformer*); mixed: sigmoid and relu."""
        c, act = self.c, ACTIVATIONS[self.c.act]
        branch = lambda m: self.linear(x, f"{at}{m}", f"{at}{m}_bias")
        if c.mix != "none":
            hidden = self.drop(f"{place}.slow", torch.sigmoid(branch("slow")), c.dropout.slow) + F.relu(branch("fast"))
            if c.mix == "mean":
                hidden = hidden / 2
        else:
            hidden = act(branch("gate")) * branch("up") if c.glu else act(branch("up"))
        return self.linear(self.drop(f"{place}.hidden", hidden), f"{at}down", f"{at}down_bias")


class Halt:
    """Adaptive computation time for each position (Graves 2016; Dehghani et al. 2018). Halted positions stop contributing, no more:
    every use goes on from the states of all positions."""

    def __init__(self, c: Config, weight: torch.Tensor, bias: torch.Tensor, x: torch.Tensor):
        self.threshold, self.weight, self.bias, self.margin = c.halting.threshold, weight, bias, float("inf")
        self.running = torch.ones(x.shape[:2], dtype=torch.bool)
        self.sum = self.steps = self.remainder = torch.zeros(x.shape[:2], dtype=x.dtype)
        self.output = torch.zeros_like(x)

    def before(self, x: torch.Tensor, last: bool) -> None:
        p = torch.sigmoid(x @ self.weight + self.bias)[..., 0]
        reached = self.sum + p
        if not last and self.running.any():
            self.margin = min(self.margin, float((reached - self.threshold).detach().abs()[self.running].min()))
        halts = self.running & ((reached >= self.threshold) | last)
        self.now = torch.where(halts, 1 - self.sum, torch.where(self.running, p, 0.0))
        self.remainder = torch.where(halts, self.now, self.remainder)
        self.steps = self.steps + self.running
        self.sum = torch.where(self.running & ~halts, reached, self.sum)
        self.running = self.running & ~halts

    def after(self, y: torch.Tensor) -> None:
        self.output = self.output + self.now[..., None] * y

    def result(self) -> Halting:
        return Halting(self.steps, self.remainder, self.margin)
