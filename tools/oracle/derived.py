"""Attention once more, by loops over sequences, heads, queries and keys in numpy: for what no public model has. Written from the
definitions and sharing nothing with oracle.py but the parameters' names."""
import cmath
import math

import numpy as np

from config import Config

Arrays = dict[str, np.ndarray]


def affine(p: Arrays, x: np.ndarray, weight: str, bias: str) -> np.ndarray:
    return np.array([[row @ p[weight] + p.get(bias, 0) for row in rows] for rows in x])


def turned(x: np.ndarray, position: int) -> np.ndarray:
    """Rotary embedding by complex numbers."""
    half = len(x) // 2
    z = [complex(x[j], x[j + half]) * cmath.exp(1j * position * 10000 ** (-2 * j / len(x))) for j in range(half)]
    return np.array([a.real for a in z] + [a.imag for a in z])


def bucket(ahead: int, bidirectional: bool) -> int:
    """T5's, by logarithms; a hair is added where rounding could put an exact power below its bucket."""
    exact, first = (8, 16 if ahead > 0 else 0) if bidirectional else (16, 0)
    n = abs(ahead) if bidirectional else max(0, -ahead)
    return first + (n if n < exact else min(2 * exact - 1, exact + int(math.log(n / exact) / math.log(128 / exact) * exact + 1e-9)))


def mean_of(logits: list[float], values: list[np.ndarray]) -> np.ndarray:
    w = np.exp(np.array(logits) - max(logits))
    return sum(a * v for a, v in zip(w / w.sum(), values))


def finished(p: Arrays, c: Config, at: str, heads: list[np.ndarray], x: np.ndarray) -> np.ndarray:
    """One query's heads, joined; x is the sub-layer's input there."""
    if c.attn.role:
        roles = x @ p[f"{at}wr"]
        heads = [h * roles[i * len(h) : (i + 1) * len(h)] for i, h in enumerate(heads)]
    if c.attn.summed:
        heads = [a + b for a, b in zip(heads[0::2], heads[1::2])]
    return np.concatenate(heads) @ p[f"{at}wo"] + p.get(f"{at}bo", 0)


def self_attention(p: Arrays, c: Config, stack: str, use: int, layer: int, x: np.ndarray, lengths, memory) -> np.ndarray:
    """memory: the encoder's keys and values [B,kv,S,K], where attention is unified."""
    at, K, H, kv = f"{stack}.{layer}.attn.", c.qkv_dim_of(layer), c.heads_of(layer), c.kv_heads_of(layer)
    q, k, v = (affine(p, x, f"{at}w{m}", f"{at}b{m}") for m in "qkv")
    out = np.zeros_like(x)
    for b in range(len(x)):
        for i in range(x.shape[1]):
            heads = []
            for h in range(H):
                mine, g = slice(h * K, (h + 1) * K), h // (H // kv)
                theirs = slice(g * K, (g + 1) * K)
                keys, values, bias = [], [], []
                for j in range(x.shape[1]):
                    window = c.length // 2 if c.attn.local == "alternate" and use % 2 == 1 else 10**9
                    if j >= lengths[b] if stack == "encoder" else not 0 <= i - j < window:
                        continue
                    rope = c.position.kind == "rope"
                    keys.append(turned(k[b, j, theirs], j) if rope else k[b, j, theirs])
                    values.append(v[b, j, theirs])
                    bias.append(-abs(i - j) / 2 ** (8 * (h + 1) / H) if c.position.kind == "alibi"
                                else p[f"{stack}.relative"][bucket(j - i, stack == "encoder"), h] if c.position.kind == "relative" else 0.0)
                if c.attn.linformer:
                    e, f = (p[f"{at}linformer.{name}"] for name in ("keys", "values"))
                    keys, values = ([sum(m[j, r] * y[j] for j in range(len(y))) for r in range(m.shape[1])] for m, y in ((e, keys), (f, values)))
                    bias = [0.0] * len(keys)
                if c.attn.unified and stack == "decoder":
                    for j in range(lengths[b]):
                        keys.append(memory[0][b, g, j])
                        values.append(memory[1][b, g, j])
                        bias.append(0.0)
                query = turned(q[b, i, mine], i) if c.position.kind == "rope" else q[b, i, mine]
                heads.append(mean_of([query @ y / (math.sqrt(K) if c.attn.scaled else 1) + z for y, z in zip(keys, bias)], values))
            out[b, i] = finished(p, c, at, heads, x[b, i])
    return out


def cross_attention(p: Arrays, c: Config, layer: int, x: np.ndarray, lengths, memory) -> np.ndarray:
    at, K, H, kv = f"decoder.{layer}.cross.", c.qkv_dim_of(layer), c.heads_of(layer), c.kv_heads_of(layer)
    q, out = affine(p, x, f"{at}wq", f"{at}bq"), np.zeros_like(x)
    for b in range(len(x)):
        k, v = ([np.concatenate(m[b, :, j]) for j in range(lengths[b])] for m in memory)
        if c.attn.cross_kv == "own":
            k, v = ([y @ p[f"{at}w{m}"] + p.get(f"{at}b{m}", 0) for y in x] for m, x in (("k", k), ("v", v)))
        for i in range(x.shape[1]):
            heads = []
            for h in range(H):
                query, g = q[b, i, h * K : (h + 1) * K], h // (H // kv)
                theirs = slice(g * K, (g + 1) * K)
                heads.append(mean_of([query @ y[theirs] / (math.sqrt(K) if c.attn.scaled else 1) for y in k], [y[theirs] for y in v]))
            out[b, i] = finished(p, c, at, heads, x[b, i])
    return out


def database(p: Arrays, c: Config, stack: str, layer: int, x: np.ndarray) -> np.ndarray:
    at, K, out = f"{stack}.{layer}.database.", c.qkv_dim, np.zeros_like(x)
    q = affine(p, x, f"{at}wq", f"{at}bq")
    for b in range(len(x)):
        for i in range(x.shape[1]):
            queries = q[b, i].reshape(-1, K) / (math.sqrt(K) if c.attn.scaled else 1)
            heads = [mean_of([y @ row for row in p["database.keys"]], list(p["database.values"])) for y in queries]
            out[b, i] = np.concatenate(heads) @ p[f"{at}wo"] + p.get(f"{at}bo", 0)
    return out


def halted(probabilities: list[float], outputs: list[np.ndarray], threshold: float) -> tuple[np.ndarray, float]:
    """Adaptive computation time of one position: its output and steps + remainder."""
    total, before = np.zeros_like(outputs[0]), 0.0
    for n, (halt, y) in enumerate(zip(probabilities, outputs)):
        if before + halt >= threshold or n == len(outputs) - 1:
            return total + (1 - before) * y, n + 1 + (1 - before)
        total, before = total + halt * y, before + halt
    raise AssertionError
