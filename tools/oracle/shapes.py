"""Name and shape of every parameter of a configuration. Matrices are [in, out]; i is a unique layer of a stack."""
from config import Config

BUCKETS = 32  # rows of the relative-position tables


def shapes(c: Config) -> dict[str, tuple[int, ...]]:
    """In the model's order: embeddings, the stacks, the database, the head."""
    out: dict[str, tuple[int, ...]] = {"embed.tokens": (c.vocab, c.d)}
    if c.position.kind == "learned":
        out["embed.positions"] = (c.length, c.d)
    cross = "decoder" if c.arch == "encoder-decoder" and not c.attn.unified else None

    def norm(at: str):
        out[f"{at}norm.weight"] = (c.d,)
        if c.norm.kind == "layer" and c.bias.norm:
            out[f"{at}norm.bias"] = (c.d,)

    def linear(at: str, weight: str, bias: str, rows: int, columns: int, biased: bool):
        out[f"{at}{weight}"] = (rows, columns)
        if biased:
            out[f"{at}{bias}"] = (columns,)

    def output(at: str, inner: int):  # what follows the heads, in self- and cross-attention
        if c.attn.role:
            out[f"{at}wr"] = (c.d, inner)
        linear(at, "wo", "bo", inner // 2 if c.attn.summed else inner, c.d, c.bias.out)

    def feed_forward(at: str):
        norm(at)
        for m in ("slow", "fast") if c.mix != "none" else ("up", "gate") if c.glu else ("up",):
            linear(at, m, f"{m}_bias", c.d, c.ff, c.bias.ff)
        linear(at, "down", "down_bias", c.ff, c.d, c.bias.ff)

    if c.norm.embed:
        norm("embed.")
    for stack in c.stacks:
        for i in range(c.share.unique):
            k = c.qkv_dim_of(i)
            inner, kv = c.heads_of(i) * k, c.kv_heads_of(i) * k
            at = f"{stack}.{i}.attn."
            norm(at)
            linear(at, "wq", "bq", c.d, inner, c.bias.qkv)
            for m in "kv":
                linear(at, f"w{m}", f"b{m}", c.d, kv, c.bias.qkv)
            output(at, inner)
            if c.attn.linformer:
                out[f"{at}linformer.keys"] = out[f"{at}linformer.values"] = (c.length, c.attn.linformer)
            if stack == cross:
                at = f"{stack}.{i}.cross."
                norm(at)
                linear(at, "wq", "bq", c.d, inner, c.bias.qkv)
                if c.attn.cross_kv == "own":
                    for m in "kv":
                        linear(at, f"w{m}", f"b{m}", kv, kv, c.bias.qkv)
                output(at, inner)
            if c.database.rows:
                at = f"{stack}.{i}.database."
                norm(at)
                linear(at, "wq", "bq", c.d, inner, c.bias.qkv)
                linear(at, "wo", "bo", inner, c.d, c.bias.out)
            if not c.share.ff_unique:
                feed_forward(f"{stack}.{i}.ff.")
        for j in range(c.share.ff_unique):
            feed_forward(f"{stack}.ff.{j}.")
        if c.position.kind == "relative":
            out[f"{stack}.relative"] = (BUCKETS, c.heads)
        if c.share.step_embedding:
            out[f"{stack}.steps"] = (c.share.uses, c.d)
        if c.halting.kind == "act":
            out[f"{stack}.halting.weight"], out[f"{stack}.halting.bias"] = (c.d, 1), (1,)
        if c.norm.place == "pre":
            norm(f"{stack}.")
    if c.database.rows:
        out["database.keys"] = out["database.values"] = (c.database.rows, c.qkv_dim)
    if c.output.transform:
        linear("output.", "dense", "dense_bias", c.d, c.d, c.bias.output)
        norm("output.")
    if c.bias.output:
        out["output.bias"] = (c.vocab,)
    return out
