"""The cases of the goldens, as data, and the batches they train on. A new variant's case is one entry of `CASES`.

A case is a baseline and the axes that differ from it. Sizes are tiny: what a case is about must show, nothing more.
"""
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

import oracle
from config import Config
from oracle import IGNORED, Batch
from parameters import uniform
from training import STEPS, Teacher

END_OF_TEXT = 0  # what decoder_tokens and documents begin with


def baseline(arch: str, **axes) -> Config:
    """The axes of study sharing's decoder and encoder and of study heads' encoder-decoder; sizes are given by dotted name."""
    neo, roberta, t5 = (arch == a for a in ("decoder", "encoder", "encoder-decoder"))
    d = axes["d"]
    c = dict(
        arch=arch, vocab=32, length=16, d=0, heads=0, qkv_dim=0, ff=0,
        share=dict(unique=3 if t5 else 6, uses=3 if t5 else 6, assignment="seq", step_embedding=False, ff_unique=0),
        heads_by_layer="", qkv_dim_by_layer="", kv_heads=0,
        act="gelu_tanh" if neo else "gelu" if roberta else "relu", glu=False, mix="none",
        bias=dict(qkv=roberta, out=not t5, ff=not t5, output=roberta, norm=not t5),
        norm=dict(kind="rms" if t5 else "layer", eps=1e-5 if neo else 1e-12 if roberta else 1e-6, place="post" if roberta else "pre", embed=roberta),
        attn=dict(scaled=roberta, local="alternate" if neo else "none", residual=True, cross_kv="shared", unified=False, role=False, summed=False, linformer=0),
        database=dict(rows=0),
        position=dict(kind="learned", std=d**-0.5 if t5 else 0.02, combine="average" if t5 else "sum"),
        output=dict(scaled=t5, transform=roberta),
        init="fan_in" if t5 else "normal", init_std=0.02,
        dropout=dict(rate=0.0, slow=0.0),
        halting=dict(kind="none", threshold=0.99, ponder=0.01),
        training=dict(objective="causal-lm" if neo else "masked-lm" if roberta else "span-corruption",
                      distill=dict(teacher="", alpha=0.5, temperature=2.0), prune=dict(sparsity=0.0, start=0.2, end=0.8)),
    )
    return Config.from_json(c).but(axes)


@dataclass(frozen=True)
class Case:
    name: str
    about: str
    config: Config
    batch: int
    seq: int
    decoder_seq: int = 0  # encoder-decoder
    variant: str = ""  # study/name, where the case is one of the catalogue's at its own size
    quantise: bool = True  # gradients as int16 in place of float32
    samples: int = 16  # entries of a parameter kept after the ten steps, at most
    teacher: Config | None = None

    def batches(self) -> list[Batch]:
        return [self._batch(step) for step in range(STEPS)]

    def _batch(self, step: int) -> Batch:
        """A pure function of (case, step). Ids are skewed towards small ones so that tokens repeat; in every third batch no label of
        the first sequence counts; tokens behind the lengths are no padding but ids as elsewhere, so that looking at them shows.
        Decoder: labels the next tokens, about an eighth left out. Encoder: labels at about a quarter of the positions, most of the
        tokens there replaced. Encoder-decoder: a source and an unrelated target, about an eighth of whose labels are left out."""
        seed = f"{self.name}/{step}/"

        def ids(name: str, rows: int, columns: int) -> np.ndarray:
            return np.floor(self.config.vocab * uniform(seed + name, rows * columns).reshape(rows, columns) ** 1.5).astype(np.int64)

        def less(name: str, shape, share: float) -> np.ndarray:
            return uniform(seed + name, int(np.prod(shape))).reshape(shape) < share

        b, s, lengths, decoder_tokens, documents = self.batch, self.seq, None, None, None
        if self.config.arch == "decoder":
            text = ids("tokens", b, s + 1)
            tokens, labels = text[:, :-1].copy(), text[:, 1:].copy()
            labels[less("ignored", labels.shape, 0.125)] = IGNORED
            if self.config.training.document_mask:
                documents = np.cumsum(tokens == END_OF_TEXT, axis=1)
        else:
            lengths = s - np.floor(uniform(seed + "lengths", b) * s / 2).astype(np.int64)
            lengths[0] = min(lengths[0], s - 1)
            tokens = ids("tokens", b, s)
        if self.config.arch == "encoder":
            labels = np.where(less("masked", tokens.shape, 0.25) & (np.arange(s) < lengths[:, None]), tokens, IGNORED)
            labels[:, 0] = tokens[:, 0]  # so that there is one
            tokens = np.where((labels != IGNORED) & less("replaced", tokens.shape, 0.8), ids("replacement", b, s), tokens)
        if self.config.arch == "encoder-decoder":
            labels = ids("target", b, self.decoder_seq)
            decoder_tokens = np.concatenate([np.full((b, 1), END_OF_TEXT), labels[:, :-1]], 1)
            labels[less("ignored", labels.shape, 0.125)] = IGNORED
        if step % 3 == 2:
            labels[0] = IGNORED
        tensor = lambda x: None if x is None else torch.from_numpy(np.ascontiguousarray(x))
        return Batch(tensor(tokens), tensor(labels), tensor(lengths), tensor(decoder_tokens), tensor(documents))

    def masks(self, step: int) -> oracle.Masks | None:
        """Dropout's masks of a step, each a pure function of (case, step, place): 0 where u < rate, else 1/(1-rate)."""
        if not (self.config.dropout.rate or self.config.dropout.slow):
            return None

        def mask(place: str, shape: torch.Size, rate: float) -> torch.Tensor:
            u = uniform(f"{self.name}/{step}/mask/{place}", shape.numel()).reshape(shape)
            return torch.from_numpy(np.where(u < rate, 0.0, 1 / (1 - rate)))

        return mask

    def taught(self, dtype) -> Teacher | None:
        if self.teacher is None:
            return None
        return Teacher({n: x.requires_grad_(False) for n, x in oracle.initial(self.teacher, dtype, "teacher.").items()}, self.teacher)


MASK_RULE = (
    "mask of a place, flat row-major index i from 0: u_i in [0,1) as in parameter_rule, with `CASE/STEP/mask/PLACE` in place of the name, "
    "STEP counted from 0 and PLACE a key of `places`, which gives its shape in the first batch; 0 where u_i < rate, else 1/(1-rate)"
)

# The first decoders: float32 gradients, larger sizes

TINY = baseline("decoder", vocab=256, length=64, d=96, heads=6, qkv_dim=16, ff=384)
MICRO = baseline("decoder", vocab=96, length=32, d=32, heads=4, qkv_dim=8, ff=64).but({"share.unique": 2, "share.uses": 2})
GPT2 = {"bias.qkv": True, "attn.scaled": True, "attn.local": "none"}  # biases everywhere, 1/sqrt(dk), all attention global


def micro(name: str, about: str, axes: dict, seq: int = 32) -> Case:
    return Case(f"micro_{name}", about, MICRO.but(axes), batch=3, seq=seq, quantise=False, samples=64)


def sharing(uses: int, assignment: str, unique: int) -> dict:
    return {"share.unique": unique, "share.uses": uses, "share.assignment": assignment}


FIRST = [
    Case("tiny_baseline", "study sharing's decoder baseline at scale tiny, but vocabulary 256 and length 64", TINY, batch=2, seq=64, samples=64),
    micro("cycle_rev", "two layers used six times: 0 1 0 1 1 0", sharing(6, "cycle_rev", 2)),
    micro("seq", "three layers used six times: 0 0 1 1 2 2, each once global and once local", sharing(6, "seq", 3)),
    micro("silu_glu", "feed-forward down(silu(x gate) * (x up)), all three with biases", dict(ff=40, act="silu", glu=True)),
    micro("gelu_glu", "feed-forward down(gelu(x gate) * (x up)), exact GELU", dict(ff=40, act="gelu", glu=True)),
    micro("relu", "plain feed-forward with ReLU", dict(act="relu")),
    micro("heads8", "eight heads of eight at width 32: the heads' join is wider than the model", dict(heads=8, qkv_dim=8)),
    micro("gpt2", "GPT-2-like: biases everywhere, 1/sqrt(dk), all attention global", GPT2),
    micro("short", "batch shorter (20) than the configured length (32): positions 20.. unused, window still 16", {}, seq=20),
    micro("combined", "axes together: GPT-2-like, two layers used six times by cycle, heads 2 x 24, SiLU GLU, batch of length 28",
          GPT2 | sharing(6, "cycle", 2) | dict(heads=2, qkv_dim=24, ff=40, act="silu", glu=True), seq=28),
]

# Study sharing. Feed-forward widths of wide and very_wide are near the baseline's count, as at the real scales.

ARCHES = {
    "decoder": (partial(baseline, "decoder", length=12), 12),
    "encoder": (partial(baseline, "encoder", length=16), 12),
}
SHAPES = {
    "deep": (dict(d=12, heads=6, ff=48), 6, 12),
    "very_deep": (dict(d=12, heads=6, ff=48), 6, 18),
    "wide": (dict(d=16, heads=8, ff=72), 3, 6),
    "very_wide": (dict(d=18, heads=9, ff=104), 2, 6),
    "wide_deep": (dict(d=16, heads=8, ff=72), 3, 12),
}


def share(arch: str, name: str, axes: dict, note: str = "", **more) -> Case:
    build, seq = ARCHES[arch]
    c = build(d=12, heads=6, qkv_dim=2, ff=48).but(axes)
    return Case(f"sharing_{arch}_{name}", f"study sharing, {arch}, {name}, at this size" + (f"; {note}" if note else ""), c, batch=2, seq=seq, variant=f"sharing/{name}", **more)


def shapes_of(arch: str) -> list[Case]:
    out = [share(arch, "baseline", {})]
    for shape, (sizes, unique, uses) in SHAPES.items():
        for a in ("seq", "cycle", "cycle_rev"):
            more = dict(vocab=40) if (arch, shape, a) == ("decoder", "wide", "cycle") else {}  # with 32 an entry's first gradients are all rounding
            out.append(share(arch, f"{shape}_{a}", sizes | sharing(uses, a, unique) | more))
    return out


UNIVERSAL = sharing(6, "seq", 1) | {"share.step_embedding": True}


def axes_of(arch: str) -> list[Case]:
    """The axes of the study's notes, each on its baseline."""
    plain = ARCHES[arch][0](d=12, heads=6, qkv_dim=2, ff=48)
    no_bias = {f"bias.{b}": False for b in ("qkv", "out", "ff", "output", "norm")}
    out = [
        share(arch, "share_ffn", {"share.ff_unique": 4}),
        share(arch, "no_bias", no_bias),
        share(arch, "universal", UNIVERSAL),
        share(arch, "universal_act", UNIVERSAL | {"halting.kind": "act"}),
        share(arch, "distill", {"training.distill.teacher": "baseline"}, teacher=plain),
        share(arch, "prune", {"training.prune.sparsity": 0.5}),
    ]
    if arch == "decoder":
        out += [share(arch, "bias_all", {"bias.qkv": True}), share(arch, "gqa", dict(kv_heads=2)), share(arch, "mqa", dict(kv_heads=1))]
    else:
        out += [share(arch, "linformer", {"attn.linformer": 5}, note="16 rows projected to 5, of which inputs of length 12 use the first 12")]
    return out


SHARING = shapes_of("decoder") + axes_of("decoder") + shapes_of("encoder") + axes_of("encoder")

# Study heads: 3 + 3 layers, 4 heads of 4 at width 16, feed-forward 4·16; GLUs floor(4·16·2/3)

HEADS = baseline("encoder-decoder", d=16, heads=4, qkv_dim=4, ff=64)
TWO = {"share.unique": 2, "share.uses": 2}
GLU = dict(glu=True, ff=42)
DIM = dict(d=14)  # d x 7/8


def heads(name: str, axes: dict, seq: int = 12, decoder_seq: int = 10, note: str = "", **more) -> Case:
    about = f"study heads, {name}, at this size" + (f"; {note}" if note else "")
    return Case(f"heads_{name}", about, HEADS.but(axes), batch=2, seq=seq, decoder_seq=decoder_seq, variant=f"heads/{name}", **more)


HEADS_CASES = [
    heads("baseline", {}, decoder_seq=12),
    heads("more_heads_less_layers", TWO | dict(heads=8)),
    heads("more_heads_less_qkv_dim", dict(heads=8, qkv_dim=2, vocab=40)),  # 40: farther from ReLU's kinks
    heads("more_heads_less_qkv_dim_less_layers", TWO | {"heads": 12, "qkv_dim": 2, "position.std": 1.0}),
    heads("less_heads_more_qkv_dim", dict(heads=2, qkv_dim=8)),
    heads("scaling_heads", dict(heads_by_layer="6-4-2"), decoder_seq=14),
    heads("inverse_scaling_heads", dict(heads_by_layer="2-4-6")),
    heads("scaling_heads_constant", dict(heads_by_layer="8-4-2", qkv_dim_by_layer="2-4-8")),
    heads("inverse_scaling_heads_constant", dict(heads_by_layer="2-4-8", qkv_dim_by_layer="8-4-2")),
    heads("ape_sum_over_average", {"position.combine": "sum"}),
    heads("ape_unit_variance", {"position.std": 1.0}),
    heads("relu_glu", GLU | dict(act="relu")),
    heads("gelu_glu", GLU | dict(act="gelu")),
    heads("silu_glu", GLU | dict(act="silu")),
    heads("mixed_act", dict(mix="mean", ff=42)),
    heads("mixed_act_sum_over_mean", dict(mix="sum", ff=42)),
    heads("mixed_act_som_dropout", {"mix": "sum", "ff": 42, "dropout.slow": 0.5}),
    heads("no_self_attention_residual", {"attn.residual": False, "qkv_dim": 16, "vocab": 40}, note="heads of 16, as with smaller ones the positions become nearly alike, and gradients cancel"),
    heads("database", {"database.rows": 16}),
    heads("database_from_heads", {"database.rows": 48, "heads": 2}),
    heads("database_from_heads_2", {"database.rows": 16, "heads": 3}),
    heads("database_from_layers", TWO | {"database.rows": 32}),
    heads("database_from_dim", DIM | {"heads": 7, "qkv_dim": 2, "ff": 56, "database.rows": 42, "position.std": 14**-0.5}),
    heads("unified_attention", {"attn.unified": True, "heads": 6}, decoder_seq=14),
    # second in order
    heads("kv_cross_attention", {"attn.cross_kv": "own"}),
    heads("more_dim_less_layers", TWO | {"d": 24, "heads": 8, "qkv_dim": 3, "ff": 96, "position.std": 24**-0.5}),
    heads("tp_weights", {"attn.role": True}),
    heads("big_heads", DIM | {"qkv_dim": 7, "position.std": 14**-0.5}),
    heads("big_heads_summed", DIM | {"qkv_dim": 7, "attn.summed": True, "position.std": 14**-0.5}),
    # beyond the study
    heads("bilinear_glu", GLU | dict(act="identity")),
    heads("sigmoid_glu", GLU | dict(act="sigmoid")),
    heads("squared_relu", dict(act="squared_relu")),
    heads("t5_relative_bias", {"position.kind": "relative", "length": 40}, seq=40, decoder_seq=36),
    heads("rope", {"position.kind": "rope"}, decoder_seq=14),
    heads("alibi", {"position.kind": "alibi"}),
    heads("sinusoidal", {"position.kind": "sinusoidal"}),
    heads("no_position", {"position.kind": "none"}),
    heads("post_norm", {"norm.place": "post"}),
    heads("layernorm", {"norm.kind": "layer", "norm.eps": 1e-5, "bias.norm": True}),
    heads("scaled_attention", {"attn.scaled": True}),
]

# Dropout with its masks given, and axes that meet

DROPOUT = {"dropout.rate": 0.1}


def mixed(name: str, about: str, arch: str, axes: dict, seq: int = 12, decoder_seq: int = 0) -> Case:
    if arch == "encoder-decoder":
        return Case(name, about, HEADS.but(axes), batch=2, seq=seq, decoder_seq=decoder_seq or 10)
    return Case(name, about, ARCHES[arch][0](d=16, heads=4, qkv_dim=4, ff=32).but(axes), batch=2, seq=seq)


BIASED = {"norm.kind": "layer", "norm.eps": 1e-5} | {f"bias.{b}": True for b in ("qkv", "out", "ff", "output", "norm")}

MIXED = [
    mixed("dropout_decoder", "dropout, two layers used four times: each use has masks of its own", "decoder", DROPOUT | sharing(4, "cycle", 2)),
    mixed("dropout_encoder", "dropout, two layers", "encoder", DROPOUT | TWO),
    mixed("dropout_encoder_linformer", "dropout on attention to projected positions", "encoder", DROPOUT | TWO | {"attn.linformer": 5}),
    mixed("dropout_encoder_decoder", "dropout, the sigmoid branch's too, with a database", "encoder-decoder",
          DROPOUT | TWO | {"mix": "sum", "ff": 42, "dropout.slow": 0.5, "database.rows": 16}),
    mixed("dropout_unified", "dropout on attention over both stacks' keys", "encoder-decoder", DROPOUT | TWO | {"attn.unified": True}, decoder_seq=14),
    mixed("combined_sharing_rope_gqa", "encoder-decoder, two layers used six times by cycle_rev, SiLU GLU, rope, two key heads for four", "encoder-decoder",
          sharing(6, "cycle_rev", 2) | GLU | {"act": "silu", "position.kind": "rope", "kv_heads": 2}, decoder_seq=14),
    mixed("combined_biases", "encoder-decoder, LayerNorm and biases everywhere, cross-attention with matrices of its own, roles, heads summed, a database", "encoder-decoder",
          BIASED | TWO | {"ff": 32, "attn.cross_kv": "own", "attn.role": True, "attn.summed": True, "attn.scaled": True, "database.rows": 12}),
    mixed("combined_post", "encoder-decoder like the encoder: post-norm, a norm behind the embeddings, a transform before the output; no residual around self-attention", "encoder-decoder",
          BIASED | TWO | {"norm.place": "post", "norm.embed": True, "output.transform": True, "act": "gelu", "attn.residual": False}),
    mixed("combined_unified_relative", "unified attention with relative positions, which only a layer's own keys have; key heads shared", "encoder-decoder",
          TWO | {"attn.unified": True, "position.kind": "relative", "kv_heads": 2}, decoder_seq=14),
    mixed("combined_unified_alibi", "unified attention with ALiBi, scaled", "encoder-decoder", TWO | {"attn.unified": True, "position.kind": "alibi", "attn.scaled": True}),
    mixed("combined_steps_ff", "step embeddings, a common feed-forward layer and sinusoids in both stacks", "encoder-decoder",
          {"share.unique": 4, "share.uses": 4, "share.ff_unique": 3, "share.step_embedding": True, "position.kind": "sinusoidal", "ff": 32}),
    mixed("combined_decoder", "study sharing's decoder with four layers used eight times by cycle_rev, step embeddings, rope, RMS norm, mixed activation, three heads and one in turn", "decoder",
          sharing(8, "cycle_rev", 4) | {"share.step_embedding": True, "position.kind": "rope", "norm.kind": "rms", "mix": "mean", "heads_by_layer": "3-1-3-1"}),
    mixed("combined_decoder_act", "halting at another threshold and dearer over two layers used six times, post-norm, ALiBi, SiLU GLU, few keys", "decoder",
          sharing(6, "cycle", 2) | {"share.step_embedding": True, "halting.kind": "act", "halting.threshold": 0.9, "halting.ponder": 0.5, "norm.place": "post", "position.kind": "alibi", "act": "silu", "glu": True, "kv_heads": 2}),
    mixed("combined_encoder", "study sharing's encoder with one common feed-forward layer for the first half, pre-norm, relative positions, squared ReLU", "encoder",
          {"share.unique": 4, "share.uses": 4, "share.ff_unique": 3, "norm.place": "pre", "position.kind": "relative", "act": "squared_relu"}),
    mixed("combined_encoder_linformer_rope", "projected positions of rotated keys, output scaled, heads summed", "encoder",
          TWO | {"attn.linformer": 5, "position.kind": "rope", "output.scaled": True, "attn.summed": True}),
    mixed("documents_decoder", "attention stays within a document, learned positions run on", "decoder", TWO | {"training.document_mask": True}),
    mixed("documents_decoder_rope", "attention within a document and a window, rope, two key heads for four, two layers used four times", "decoder",
          sharing(4, "cycle", 2) | {"training.document_mask": True, "position.kind": "rope", "kv_heads": 2}),
]

CASES = FIRST + SHARING + HEADS_CASES + MIXED
if len({c.name for c in CASES}) != len(CASES):
    raise ValueError("two cases of one name")
