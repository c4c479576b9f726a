"""The configuration of a model: march's axes as nested JSON, every key present. The two baselines' values stand in cases.py.

An axis is written dotted ("share.unique"), here and in `Config.but`.
"""
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass


@dataclass(frozen=True)
class Share:
    """M unique layers for N uses, for each stack."""

    unique: int
    uses: int
    assignment: str  # seq, cycle, cycle_rev
    step_embedding: bool  # a learned vector added to the input of each use
    ff_unique: int  # 0, or N - N/2 + 1: the first N/2 uses have one common feed-forward layer


@dataclass(frozen=True)
class Bias:
    qkv: bool
    out: bool
    ff: bool
    output: bool  # the head's: of the output projection and of output.dense
    norm: bool  # LayerNorm's; RMS norm never has one


@dataclass(frozen=True)
class Norm:
    kind: str  # layer, rms
    eps: float
    place: str  # pre, post
    embed: bool  # one behind the embeddings


@dataclass(frozen=True)
class Attn:
    scaled: bool  # logits divided by sqrt(K)
    local: str  # none, alternate: odd uses see only the last P/2 positions
    residual: bool  # around self-attention
    cross_kv: str  # shared, own
    unified: bool
    role: bool
    summed: bool
    linformer: int  # 0, or the projected length


@dataclass(frozen=True)
class Database:
    rows: int


@dataclass(frozen=True)
class Position:
    kind: str  # learned, none, sinusoidal, rope, alibi, relative
    std: float  # of start values: nothing here depends on it
    combine: str  # sum, average


@dataclass(frozen=True)
class Output:
    scaled: bool  # final hidden state times D^-1/2
    transform: bool  # dense, act and norm before the tied output


@dataclass(frozen=True)
class Dropout:
    rate: float
    slow: float


@dataclass(frozen=True)
class Halting:
    kind: str  # none, act
    threshold: float
    ponder: float


@dataclass(frozen=True)
class Distill:
    teacher: str  # a variant's name, or ""
    alpha: float
    temperature: float


@dataclass(frozen=True)
class Prune:
    sparsity: float
    start: float
    end: float


@dataclass(frozen=True)
class Training:
    objective: str  # causal-lm, masked-lm, span-corruption, prefix-lm: decides the batches, not the model
    distill: Distill
    prune: Prune
    document_mask: bool = False  # attention stays within a document; left out of the goldens where off


@dataclass(frozen=True)
class Config:
    arch: str  # decoder, encoder, encoder-decoder
    vocab: int
    length: int  # configured: rows of the position table, and what the local window is half of
    d: int
    heads: int
    qkv_dim: int
    ff: int
    share: Share
    heads_by_layer: str  # "" or one number for each unique layer, "4-2"
    qkv_dim_by_layer: str
    kv_heads: int  # 0: as heads
    act: str
    glu: bool
    mix: str  # none, mean, sum
    bias: Bias
    norm: Norm
    attn: Attn
    database: Database
    position: Position
    output: Output
    init: str  # start values: nothing here depends on it
    init_std: float
    dropout: Dropout
    halting: Halting
    training: Training

    def __post_init__(self):
        for wrong, text in [
            (self.glu and self.mix != "none", "mix and glu exclude each other"),
            (self.attn.linformer and self.arch != "encoder", "attn.linformer is for arch encoder only"),
            (self.attn.local != "none" and self.arch != "decoder", "attn.local is for arch decoder only"),
            (self.attn.unified and (self.arch != "encoder-decoder" or self.position.kind == "rope"), "attn.unified: encoder-decoder only, not with rope"),
            (self.halting.kind != "none" and self.arch == "encoder-decoder", "halting.kind is for one stack"),
            (self.share.ff_unique not in (0, self.share.uses - self.share.uses // 2 + 1), "share.ff_unique: only uses - uses/2 + 1"),
            (self.share.ff_unique and self.share.unique != self.share.uses, "share.ff_unique requires share.unique = share.uses"),
            (self.kv_heads and (self.heads_by_layer or self.heads % self.kv_heads), "kv_heads must divide heads, not with heads_by_layer"),
            (self.position.kind == "relative" and self.heads_by_layer, "position.kind relative has one table of heads: not with heads_by_layer"),
            (self.training.document_mask and self.training.objective != "causal-lm", "training.document_mask is for causal-lm only"),
            (self.database.rows and self.qkv_dim_by_layer, "database.rows has one table of keys: not with qkv_dim_by_layer"),
        ]:
            if wrong:
                raise ValueError(text)

    @staticmethod
    def from_json(c: dict) -> "Config":
        return _build(Config, c, "")

    def to_json(self) -> dict:
        c = asdict(self)
        if not self.training.document_mask:
            del c["training"]["document_mask"]
        return c

    def but(self, changes: dict[str, object]) -> "Config":
        """A copy with other values on some axes, {"share.unique": 2, "act": "silu"}."""
        c = asdict(self)
        for axis, value in changes.items():
            *path, last = axis.split(".")
            at = c
            for key in path:
                at = at[key]
            if last not in at:
                raise KeyError(axis)
            at[last] = value
        return Config.from_json(c)

    @property
    def stacks(self) -> tuple[str, ...]:
        return {"decoder": ("decoder",), "encoder": ("encoder",), "encoder-decoder": ("encoder", "decoder")}[self.arch]

    def heads_of(self, layer: int) -> int:
        return _by_layer(self.heads_by_layer, self.share.unique, layer, self.heads)

    def qkv_dim_of(self, layer: int) -> int:
        return _by_layer(self.qkv_dim_by_layer, self.share.unique, layer, self.qkv_dim)

    def kv_heads_of(self, layer: int) -> int:
        return self.kv_heads or self.heads_of(layer)

    def layers(self) -> list[int]:
        """Unique layer of each use."""
        return assign(self.share.assignment, self.share.unique, self.share.uses)

    def ff_at(self, stack: str, use: int, layer: int) -> str:
        """Prefix of the feed-forward layer of a use."""
        if not self.share.ff_unique:
            return f"{stack}.{layer}.ff."
        return f"{stack}.ff.{max(0, use - self.share.uses // 2 + 1)}."


def _build(kind, c: dict, at: str):
    c = {f.name: f.default for f in fields(kind) if f.default is not MISSING} | c
    names = {f.name for f in fields(kind)}
    if names != c.keys():
        raise ValueError(f"config {at or '(top)'}: unknown or missing {', '.join(sorted(names ^ c.keys()))}")
    return kind(**{f.name: _build(f.type, c[f.name], f"{at}{f.name}.") if is_dataclass(f.type) else c[f.name] for f in fields(kind)})


def _by_layer(text: str, unique: int, layer: int, otherwise: int) -> int:
    if not text:
        return otherwise
    numbers = [int(x) for x in text.split("-")]
    if len(numbers) != unique:
        raise ValueError(f"{text}: {len(numbers)} numbers for {unique} unique layers")
    return numbers[layer]


def assign(assignment: str, unique: int, uses: int) -> list[int]:
    """Unique layer of each use (Takase and Kiyono 2021, *Lessons on Parameter Sharing across Layers in Transformers*)."""
    if uses % unique:
        raise ValueError(f"share.uses {uses} is no multiple of share.unique {unique}")
    if assignment == "seq":
        return [i * unique // uses for i in range(uses)]
    if assignment == "cycle" or assignment == "cycle_rev" and uses == unique:
        return [i % unique for i in range(uses)]
    if assignment == "cycle_rev":
        return [i % unique for i in range(uses - unique)] + list(range(unique - 1, -1, -1))
    raise ValueError(f"share.assignment {assignment!r} is none of seq, cycle, cycle_rev")
