"""Other people's models given the oracle's parameters, for check_oracle.py: transformers' GPT-Neo, GPT-2 and T5 feed-forward, and the
plain PyTorch models that march's speed is compared with.

None of them shares layers: each *use* becomes a layer of its own with a copy of the parameters, and the gradients of the copies are
summed here. That is what sharing means, so it is checked by the way.
"""
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import oracle

# One link: the oracle's name, the other model's tensor, and how the oracle's layout is had from the other's.
Link = tuple[str, torch.nn.Parameter, Callable[[torch.Tensor], torch.Tensor]]
same = lambda x: x
transposed = lambda x: x.T


class Public:
    """A model whose parameters are set through its links on construction."""

    def __init__(self, p: oracle.Params, c: oracle.Config, logits: Callable, links: Iterator[Link], bound: float):
        self.logits, self.links, self.bound, self.shapes = logits, list(links), bound, oracle.shapes(c)
        with torch.no_grad():
            for name, theirs, view in self.links:
                view(theirs).copy_(p[name])

    def gradients(self) -> oracle.Params:
        out = {n: torch.zeros(s, dtype=torch.float64) for n, s in self.shapes.items()}
        for name, theirs, view in self.links:
            out[name] += view(theirs.grad)
        return out


def per_use(c: oracle.Config, layers, of_layer: Callable[[str, object], Iterator[Link]]) -> Iterator[Link]:
    for layer, i in zip(layers, oracle.assign(c.assignment, c.unique, c.uses), strict=True):
        yield from of_layer(f"decoder.{i}.", layer)


def norm(at: str, n) -> Iterator[Link]:
    yield f"{at}norm.weight", n.weight, same
    yield f"{at}norm.bias", n.bias, same


def linear(name: str, bias: str, m) -> Iterator[Link]:
    yield name, m.weight, transposed
    if m.bias is not None:
        yield bias, m.bias, same


ACTIVATION = {"gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu", "silu": "silu"}


def gpt_neo(p: oracle.Params, c: oracle.Config) -> Public:
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    pairs, odd = divmod(c.uses, 2)
    assert not odd and c.heads * c.qkv_dim == c.d and not c.glu
    model = GPTNeoForCausalLM(GPTNeoConfig(
        vocab_size=c.vocab, max_position_embeddings=c.length, hidden_size=c.d, num_layers=c.uses, num_heads=c.heads, intermediate_size=c.ff,
        attention_types=[[["global", "local"], pairs]], window_size=c.length // 2, activation_function=ACTIVATION[c.act],
        resid_dropout=0, embed_dropout=0, attention_dropout=0, layer_norm_epsilon=1e-5, tie_word_embeddings=True,
        bos_token_id=0, eos_token_id=0, attn_implementation="eager")).double().eval()

    def of_layer(at, h):
        a = h.attn.attention
        yield from norm(f"{at}attn.", h.ln_1)
        for m, x in zip(("wq", "wk", "wv"), (a.q_proj, a.k_proj, a.v_proj)):
            yield from linear(f"{at}attn.{m}", "", x)
        yield from linear(f"{at}attn.wo", f"{at}attn.bo", a.out_proj)
        yield from norm(f"{at}ff.", h.ln_2)
        yield from linear(f"{at}ff.up", f"{at}ff.up_bias", h.mlp.c_fc)
        yield from linear(f"{at}ff.down", f"{at}ff.down_bias", h.mlp.c_proj)

    def links():
        t = model.transformer
        yield "embed.tokens", t.wte.weight, same
        yield "embed.positions", t.wpe.weight, same
        yield from per_use(c, t.h, of_layer)
        yield from norm("decoder.", t.ln_f)

    return Public(p, c, lambda tokens: model(tokens).logits, links(), bound=1e-5)  # its attention logits are float32 whatever the rest is


def gpt2(p: oracle.Params, c: oracle.Config) -> Public:
    from transformers import GPT2Config, GPT2LMHeadModel

    assert c.heads * c.qkv_dim == c.d and not c.glu
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=c.vocab, n_positions=c.length, n_embd=c.d, n_layer=c.uses, n_head=c.heads, n_inner=c.ff, activation_function=ACTIVATION[c.act],
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, layer_norm_epsilon=1e-5, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0,
        attn_implementation="eager")).double().eval()

    def of_layer(at, h):  # its matrices are [in, out] too, with q, k and v side by side
        yield from norm(f"{at}attn.", h.ln_1)
        for i, m in enumerate("qkv"):
            block = slice(i * c.d, (i + 1) * c.d)
            yield f"{at}attn.w{m}", h.attn.c_attn.weight, lambda x, block=block: x[:, block]
            yield f"{at}attn.b{m}", h.attn.c_attn.bias, lambda x, block=block: x[block]
        yield f"{at}attn.wo", h.attn.c_proj.weight, same
        yield f"{at}attn.bo", h.attn.c_proj.bias, same
        yield from norm(f"{at}ff.", h.ln_2)
        for ours, m in (("up", h.mlp.c_fc), ("down", h.mlp.c_proj)):
            yield f"{at}ff.{ours}", m.weight, same
            yield f"{at}ff.{ours}_bias", m.bias, same

    def links():
        t = model.transformer
        yield "embed.tokens", t.wte.weight, same
        yield "embed.positions", t.wpe.weight, same
        yield from per_use(c, t.h, of_layer)
        yield from norm("decoder.", t.ln_f)

    return Public(p, c, lambda tokens: model(tokens).logits, links(), bound=1e-10)


def t5_feed_forward(p: oracle.Params, c: oracle.Config, x: torch.Tensor) -> torch.Tensor:
    from transformers import T5Config
    from transformers.models.t5.modeling_t5 import T5DenseActDense, T5DenseGatedActDense

    t5 = T5Config(d_model=c.d, d_ff=c.ff, dropout_rate=0.0)
    t5.dense_act_fn = ACTIVATION[c.act]
    m = (T5DenseGatedActDense if c.glu else T5DenseActDense)(t5).double().eval()
    pairs = [("gate", m.wi_0), ("up", m.wi_1)] if c.glu else [("up", m.wi)]
    with torch.no_grad():
        for name, theirs in [*pairs, ("down", m.wo)]:
            theirs.weight.copy_(p[f"decoder.0.ff.{name}"].T)
        return m(x)


def peer(path: Path, p: oracle.Params, c: oracle.Config) -> Public | None:
    """The peers' model, or None where it lacks the activation."""
    act = {("gelu_tanh", False): "gelu", ("gelu", False): "gelu_exact", ("relu", False): "relu", ("silu", True): "silu_glu"}.get((c.act, c.glu))
    if act is None:
        print(f"skipped: the peers' model has no {c.act}{' GLU' if c.glu else ''}")
        return None
    spec = importlib.util.spec_from_file_location("torch_peers", path)
    peers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peers)
    t = oracle.PRESETS[c.preset]
    model = peers.Model(peers.but(S=c.length, d=c.d, L=c.uses, H=c.heads, dk=c.qkv_dim, ff=c.ff, V=c.vocab, act=act,
                                  bias="all" if t.qkv_bias else "gptneo", scale=None if t.scaled else 1.0, local=t.local)).double().eval()
    inner = c.heads * c.qkv_dim

    def of_layer(at, h):
        yield from norm(f"{at}attn.", h.n1)
        for i, m in enumerate("qkv"):
            block = slice(i * inner, (i + 1) * inner)
            yield f"{at}attn.w{m}", h.attn.qkv.weight, lambda x, block=block: x[block].T
            if t.qkv_bias:
                yield f"{at}attn.b{m}", h.attn.qkv.bias, lambda x, block=block: x[block]
        yield from linear(f"{at}attn.wo", f"{at}attn.bo", h.attn.out)
        yield from norm(f"{at}ff.", h.n2)
        for i, m in enumerate(("gate", "up") if c.glu else ("up",)):
            block = slice(i * c.ff, (i + 1) * c.ff)
            yield f"{at}ff.{m}", h.ff.up.weight, lambda x, block=block: x[block].T
            yield f"{at}ff.{m}_bias", h.ff.up.bias, lambda x, block=block: x[block]
        yield from linear(f"{at}ff.down", f"{at}ff.down_bias", h.ff.down)

    def links():
        yield "embed.tokens", model.tok.weight, same
        yield "embed.positions", model.pos.weight, same
        yield from per_use(c, model.decoder, of_layer)
        yield from norm("decoder.", model.norms[1])

    def logits(tokens):  # its local mask has the configured size: pad to it; a causal model does not see what follows
        s = tokens.shape[1]
        return model.logits(torch.nn.functional.pad(tokens, (0, c.length - s)))[:, :s]

    return Public(p, c, logits, links(), bound=1e-10)
