"""Other people's models given the oracle's parameters, for check_oracle.py: of transformers GPT-Neo, GPT-2, Llama (rotary, grouped
heads, RMS norm, GLU), Bloom (ALiBi, a norm behind the embeddings), RoBERTa (encoder), T5 (encoder-decoder); and the plain PyTorch
models that march's speed is compared with.

None of them shares layers: each *use* becomes a layer of its own with a copy of the parameters, and the gradients of the copies are
summed here. That is what sharing means, so it is checked by the way.
"""
import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from config import Config
from oracle import Batch, Params, causal_mask, length_mask
from shapes import shapes

# One link: the oracle's name, the other model's tensor, and a view of that which has the oracle's layout but for split dimensions.
Link = tuple[str, torch.nn.Parameter, Callable[[torch.Tensor], torch.Tensor]]
same = lambda x: x
transposed = lambda x: x.T
FLOAT32 = 1e-5  # bound where a part of theirs is computed in float32 whatever the model's type


class Public:
    """A model whose parameters are set through its links on construction."""

    def __init__(self, p: Params, c: Config, logits: Callable[[Batch], torch.Tensor], links: Iterator[Link], bound: float = 1e-10):
        self.logits, self.links, self.bound, self.shapes = logits, list(links), bound, shapes(c)
        if missing := self.shapes.keys() - {name for name, *_ in self.links}:
            raise ValueError(f"no link for {', '.join(sorted(missing))}")
        with torch.no_grad():
            for name, theirs, view in self.links:
                to = view(theirs)
                to.copy_(p[name].reshape(to.shape))

    def gradients(self) -> Params:
        out = {n: torch.zeros(s, dtype=torch.float64) for n, s in self.shapes.items()}
        for name, theirs, view in self.links:
            if theirs.grad is not None:
                out[name] += view(theirs.grad).reshape(out[name].shape)
        return out


def per_use(c: Config, stack: str, layers, of_layer: Callable[[str, object], Iterator[Link]]) -> Iterator[Link]:
    for layer, i in zip(layers, c.layers(), strict=True):
        yield from of_layer(f"{stack}.{i}.", layer)


def norm(at: str, n) -> Iterator[Link]:
    yield f"{at}norm.weight", n.weight, same
    if getattr(n, "bias", None) is not None:
        yield f"{at}norm.bias", n.bias, same


def linear(name: str, bias: str, m) -> Iterator[Link]:
    yield name, m.weight, transposed
    if m.bias is not None:
        yield bias, m.bias, same


def projections(at: str, q, k, v, o) -> Iterator[Link]:
    for m, x in zip("qkvo", (q, k, v, o)):
        yield from linear(f"{at}w{m}", f"{at}b{m}", x)


def ends(c: Config, tokens, positions, layers: Iterator[Link], last) -> Iterator[Link]:
    """The links of a decoder."""
    yield "embed.tokens", tokens.weight, same
    if positions is not None:
        yield "embed.positions", positions.weight, same
    yield from layers
    yield from norm("decoder.", last)


ACTIVATION = {"gelu_tanh": "gelu_new", "gelu": "gelu", "relu": "relu", "silu": "silu", "sigmoid": "sigmoid", "tanh": "tanh", "identity": "linear", "squared_relu": "relu2"}
COMMON = dict(tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, pad_token_id=None, attn_implementation="eager")


def gpt_neo(p: Params, c: Config) -> Public:
    from transformers import GPTNeoConfig, GPTNeoForCausalLM

    pairs, odd = divmod(c.share.uses, 2)
    assert not odd and c.heads * c.qkv_dim == c.d and not c.glu
    model = GPTNeoForCausalLM(GPTNeoConfig(
        vocab_size=c.vocab, max_position_embeddings=c.length, hidden_size=c.d, num_layers=c.share.uses, num_heads=c.heads, intermediate_size=c.ff,
        attention_types=[[["global", "local"], pairs]], window_size=c.length // 2, activation_function=ACTIVATION[c.act],
        resid_dropout=0, embed_dropout=0, attention_dropout=0, layer_norm_epsilon=c.norm.eps, **COMMON)).double().eval()

    def of_layer(at, h):
        a = h.attn.attention
        yield from norm(f"{at}attn.", h.ln_1)
        yield from projections(f"{at}attn.", a.q_proj, a.k_proj, a.v_proj, a.out_proj)
        yield from norm(f"{at}ff.", h.ln_2)
        yield from linear(f"{at}ff.up", f"{at}ff.up_bias", h.mlp.c_fc)
        yield from linear(f"{at}ff.down", f"{at}ff.down_bias", h.mlp.c_proj)

    t = model.transformer
    return Public(p, c, lambda b: model(b.tokens).logits, ends(c, t.wte, t.wpe, per_use(c, "decoder", t.h, of_layer), t.ln_f), FLOAT32)


def gpt2(p: Params, c: Config) -> Public:
    from transformers import GPT2Config, GPT2LMHeadModel

    assert c.heads * c.qkv_dim == c.d and not c.glu
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=c.vocab, n_positions=c.length, n_embd=c.d, n_layer=c.share.uses, n_head=c.heads, n_inner=c.ff, activation_function=ACTIVATION[c.act],
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, layer_norm_epsilon=c.norm.eps, **COMMON)).double().eval()

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

    t = model.transformer
    return Public(p, c, lambda b: model(b.tokens).logits, ends(c, t.wte, t.wpe, per_use(c, "decoder", t.h, of_layer), t.ln_f))


def llama(p: Params, c: Config) -> Public:
    from transformers import LlamaConfig, LlamaForCausalLM

    assert c.glu and c.attn.scaled and c.position.kind == "rope" and c.norm.kind == "rms"
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=c.vocab, hidden_size=c.d, intermediate_size=c.ff, num_hidden_layers=c.share.uses, num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads_of(0), head_dim=c.qkv_dim, hidden_act=ACTIVATION[c.act], max_position_embeddings=c.length,
        rms_norm_eps=c.norm.eps, **COMMON)).double().eval()

    def of_layer(at, h):
        a = h.self_attn
        yield from norm(f"{at}attn.", h.input_layernorm)
        yield from projections(f"{at}attn.", a.q_proj, a.k_proj, a.v_proj, a.o_proj)
        yield from norm(f"{at}ff.", h.post_attention_layernorm)
        for m in ("up", "gate", "down"):
            yield from linear(f"{at}ff.{m}", "", getattr(h.mlp, f"{m}_proj"))

    t = model.model
    return Public(p, c, lambda b: model(b.tokens).logits, ends(c, t.embed_tokens, None, per_use(c, "decoder", t.layers, of_layer), t.norm), FLOAT32)


def bloom(p: Params, c: Config) -> Public:
    from transformers import BloomConfig, BloomForCausalLM

    assert c.heads * c.qkv_dim == c.d and c.ff == 4 * c.d and c.position.kind == "alibi" and c.norm.embed and c.attn.scaled
    model = BloomForCausalLM(BloomConfig(
        vocab_size=c.vocab, hidden_size=c.d, n_layer=c.share.uses, n_head=c.heads, hidden_dropout=0, attention_dropout=0,
        layer_norm_epsilon=c.norm.eps, **COMMON)).double().eval()

    def of_layer(at, h):  # q, k and v side by side within each head
        a = h.self_attention
        yield from norm(f"{at}attn.", h.input_layernorm)
        for i, m in enumerate("qkv"):
            yield f"{at}attn.w{m}", a.query_key_value.weight, lambda x, i=i: x.view(c.heads, 3, c.qkv_dim, c.d)[:, i].permute(2, 0, 1)
            yield f"{at}attn.b{m}", a.query_key_value.bias, lambda x, i=i: x.view(c.heads, 3, c.qkv_dim)[:, i]
        yield from linear(f"{at}attn.wo", f"{at}attn.bo", a.dense)
        yield from norm(f"{at}ff.", h.post_attention_layernorm)
        yield from linear(f"{at}ff.up", f"{at}ff.up_bias", h.mlp.dense_h_to_4h)
        yield from linear(f"{at}ff.down", f"{at}ff.down_bias", h.mlp.dense_4h_to_h)

    def links():
        t = model.transformer
        yield from norm("embed.", t.word_embeddings_layernorm)
        yield from ends(c, t.word_embeddings, None, per_use(c, "decoder", t.h, of_layer), t.ln_f)

    return Public(p, c, lambda b: model(b.tokens).logits, links(), FLOAT32)


def roberta(p: Params, c: Config) -> Public:
    from transformers import RobertaConfig, RobertaForMaskedLM

    assert c.heads * c.qkv_dim == c.d and c.act == "gelu"  # its head's activation
    offset = 2  # its first position's row
    model = RobertaForMaskedLM(RobertaConfig(
        vocab_size=c.vocab, max_position_embeddings=c.length + offset, hidden_size=c.d, num_hidden_layers=c.share.uses, num_attention_heads=c.heads,
        intermediate_size=c.ff, hidden_act="gelu", hidden_dropout_prob=0, attention_probs_dropout_prob=0, type_vocab_size=1,
        layer_norm_eps=c.norm.eps, **COMMON | dict(pad_token_id=1))).double().eval()
    e, head = model.roberta.embeddings, model.lm_head
    e.word_embeddings.padding_idx = None  # token 1 is one like any other here
    with torch.no_grad():
        e.token_type_embeddings.weight.zero_()

    def of_layer(at, h):
        a = h.attention
        yield from projections(f"{at}attn.", a.self.query, a.self.key, a.self.value, a.output.dense)
        yield from norm(f"{at}attn.", a.output.LayerNorm)
        yield from linear(f"{at}ff.up", f"{at}ff.up_bias", h.intermediate.dense)
        yield from linear(f"{at}ff.down", f"{at}ff.down_bias", h.output.dense)
        yield from norm(f"{at}ff.", h.output.LayerNorm)

    def links():
        yield "embed.tokens", e.word_embeddings.weight, same
        yield "embed.positions", e.position_embeddings.weight, lambda x: x[offset:]
        yield from norm("embed.", e.LayerNorm)
        yield from per_use(c, "encoder", model.roberta.encoder.layer, of_layer)
        yield from linear("output.dense", "output.dense_bias", head.dense)
        yield from norm("output.", head.layer_norm)
        yield "output.bias", head.decoder.bias, same

    def logits(b: Batch):
        s = b.tokens.shape[1]
        here = (torch.arange(s) < b.lengths[:, None]).long()
        return model(b.tokens, attention_mask=here, position_ids=(torch.arange(s) + offset).expand_as(b.tokens)).logits

    return Public(p, c, logits, links())


def t5(p: Params, c: Config) -> Public:
    """T5's own layers. Its cross-attention has keys and values of its own over the encoder's last states; study heads' attends over
    those of one encoder layer, so each cross-attention is given that layer's normed input and that layer's wk and wv."""
    from transformers import T5Config, T5Model

    assert c.position.kind in ("relative", "none") and c.output.scaled and not c.attn.scaled
    model = T5Model(T5Config(
        vocab_size=c.vocab, d_model=c.d, d_kv=c.qkv_dim, d_ff=c.ff, num_layers=c.share.uses, num_decoder_layers=c.share.uses, num_heads=c.heads,
        relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0, layer_norm_epsilon=c.norm.eps,
        feed_forward_proj=("gated-" if c.glu else "") + ACTIVATION[c.act], **COMMON | dict(pad_token_id=0))).double().eval()
    encoder, decoder = model.encoder, model.decoder

    def feed_forward(at, f):
        yield from norm(f"{at}ff.", f.layer_norm)
        d = f.DenseReluDense
        for name, m in [("gate", d.wi_0), ("up", d.wi_1)] if c.glu else [("up", d.wi)]:
            yield from linear(f"{at}ff.{name}", "", m)
        yield from linear(f"{at}ff.down", "", d.wo)

    def self_attention(at, h):
        a = h.layer[0].SelfAttention
        yield from norm(f"{at}attn.", h.layer[0].layer_norm)
        yield from projections(f"{at}attn.", a.q, a.k, a.v, a.o)
        yield from feed_forward(at, h.layer[-1])

    def cross_attention(at, h):
        a = h.layer[1].EncDecAttention
        yield from norm(f"{at}cross.", h.layer[1].layer_norm)
        yield from linear(f"{at}cross.wq", "", a.q)
        yield from linear(f"{at}cross.wo", "", a.o)
        source = at.replace("decoder", "encoder")
        yield from linear(f"{source}attn.wk", "", a.k)
        yield from linear(f"{source}attn.wv", "", a.v)

    def links():
        yield "embed.tokens", model.shared.weight, same
        for name, stack in (("encoder", encoder), ("decoder", decoder)):
            yield from per_use(c, name, stack.block, self_attention)
            if c.position.kind == "relative":
                yield f"{name}.relative", stack.block[0].layer[0].SelfAttention.relative_attention_bias.weight, same
            yield from norm(f"{name}.", stack.final_layer_norm)
        yield from per_use(c, "decoder", decoder.block, cross_attention)

    def bias(stack, visible):
        s = visible.shape[-1]
        learned = stack.block[0].layer[0].SelfAttention.compute_bias(s, s) if c.position.kind == "relative" else torch.zeros(1, c.heads, s, s, dtype=torch.float64)
        return learned.masked_fill(~visible, float("-inf"))

    def logits(b: Batch):
        x, memory, there = model.shared(b.tokens), [], length_mask(b.lengths, b.tokens.shape[1])
        for h in encoder.block:
            memory.append(h.layer[0].layer_norm(x))
            x = h.layer[-1](h.layer[0](x, position_bias=bias(encoder, there))[0])
        x = model.shared(b.decoder_tokens)
        for h, m in zip(decoder.block, memory):
            x = h.layer[0](x, position_bias=bias(decoder, causal_mask(x.shape[1], None)))[0]
            hidden = torch.zeros(len(x), c.heads, x.shape[1], m.shape[1], dtype=x.dtype).masked_fill(~there, float("-inf"))
            x = h.layer[-1](h.layer[1](x, m, position_bias=hidden)[0])
        return decoder.final_layer_norm(x) * c.d**-0.5 @ model.shared.weight.T

    return Public(p, c, logits, links(), FLOAT32)


def peer(path: Path, p: Params, c: Config) -> Public | None:
    """The peers' model, or None where it lacks the activation."""
    act = {("gelu_tanh", False): "gelu", ("gelu", False): "gelu_exact", ("relu", False): "relu", ("silu", True): "silu_glu"}.get((c.act, c.glu))
    if act is None:
        print(f"skipped: the peers' model has no {c.act}{' GLU' if c.glu else ''}")
        return None
    spec = importlib.util.spec_from_file_location("torch_peers", path)
    peers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peers)
    model = peers.Model(peers.but(S=c.length, d=c.d, L=c.share.uses, H=c.heads, dk=c.qkv_dim, ff=c.ff, V=c.vocab, act=act,
                                  bias="all" if c.bias.qkv else "gptneo", scale=None if c.attn.scaled else 1.0, local=c.attn.local != "none")).double().eval()
    inner = c.heads * c.qkv_dim

    def of_layer(at, h):
        yield from norm(f"{at}attn.", h.n1)
        for i, m in enumerate("qkv"):
            block = slice(i * inner, (i + 1) * inner)
            yield f"{at}attn.w{m}", h.attn.qkv.weight, lambda x, block=block: x[block].T
            if c.bias.qkv:
                yield f"{at}attn.b{m}", h.attn.qkv.bias, lambda x, block=block: x[block]
        yield from linear(f"{at}attn.wo", f"{at}attn.bo", h.attn.out)
        yield from norm(f"{at}ff.", h.n2)
        for i, m in enumerate(("gate", "up") if c.glu else ("up",)):
            block = slice(i * c.ff, (i + 1) * c.ff)
            yield f"{at}ff.{m}", h.ff.up.weight, lambda x, block=block: x[block].T
            yield f"{at}ff.{m}_bias", h.ff.up.bias, lambda x, block=block: x[block]
        yield from linear(f"{at}ff.down", f"{at}ff.down_bias", h.ff.down)

    def logits(b: Batch):  # its local mask has the configured size: pad to it; a causal model does not see what follows
        s = b.tokens.shape[1]
        return model.logits(torch.nn.functional.pad(b.tokens, (0, c.length - s)))[:, :s]

    return Public(p, c, logits, ends(c, model.tok, model.pos, per_use(c, "decoder", model.decoder, of_layer), model.norms[1]))
