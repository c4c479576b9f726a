"""Parameter values as a pure function of (name, shape): nothing is stored, both sides compute them.

This is the rule that `RULE` states in words and that every case.json repeats. It is no initialisation for training: norm weights
are away from 1 and biases away from 0, so that no gradient is zero by symmetry and no term can be dropped unnoticed.
"""
import math

import numpy as np

RULE = (
    "value i (flat, row-major, from 0) of tensor `name`: h = FNV-1a 64 of the UTF-8 name; z = h + (i+1)*0x9E3779B97F4A7C15 mod 2^64; "
    "z ^= z>>30; z *= 0xBF58476D1CE4E5B9; z ^= z>>27; z *= 0x94D049BB133111EB; z ^= z>>31; u = (z>>11)*2^-53; "
    "value = center + amplitude*(2u-1) in float64 (product and sum rounded separately), then rounded to float32. "
    "center and amplitude stand in the parameter's row."
)

BIASES = {"bias", "bq", "bk", "bv", "bo"}  # and every name that ends in _bias
_U64 = np.uint64


def fnv1a64(text: str) -> int:
    h = 0xCBF29CE484222325
    for byte in text.encode("utf-8"):
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def splitmix64(seed: int, n: int) -> np.ndarray:
    """Outputs 1..n of the generator SplitMix64 started at `seed` (Steele, Lea, Flood 2014), uint64 [n]."""
    z = _U64(seed) + np.arange(1, n + 1, dtype=_U64) * _U64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> _U64(27))) * _U64(0x94D049BB133111EB)
    return z ^ (z >> _U64(31))


def uniform(name: str, n: int) -> np.ndarray:
    """n float64 in [0, 1), a pure function of the name."""
    return (splitmix64(fnv1a64(name), n) >> _U64(11)).astype(np.float64) * 2.0**-53


def is_norm(name: str) -> bool:
    return "norm." in name


def is_bias(name: str) -> bool:
    last = name.rsplit(".", 1)[-1]
    return last in BIASES or last.endswith("_bias")


def decayed(name: str) -> bool:
    """Weight decay is for everything but norms and biases; embeddings are decayed."""
    return not (is_norm(name) or is_bias(name))


def spread(name: str, shape: tuple[int, ...], embeddings: float) -> tuple[float, float]:
    """(center, amplitude) of a parameter; that of the embeddings' tables is the configuration's."""
    if name.endswith("norm.weight"):
        return 1.0, 0.2
    if name.endswith("halting.bias"):
        return -1.0, 0.1  # several steps before a position halts
    if is_bias(name):
        return 0.0, 0.1
    if "embed." in name:
        return 0.0, embeddings
    if len(shape) != 2:
        raise ValueError(f"parameter {name}: shape {shape} is no matrix, and the name is neither a norm, a bias nor an embedding")
    if name.endswith(".relative") or name.endswith(".halting.weight") or name in ("database.keys", "database.values"):
        return 0.0, 1.0
    if name.endswith(".steps"):
        return 0.0, 0.2
    return 0.0, 1.0 / math.sqrt(shape[0])


def value(name: str, shape: tuple[int, ...], embeddings: float) -> np.ndarray:
    """The parameter, float32 in `shape`."""
    center, amplitude = spread(name, shape, embeddings)
    u = uniform(name, math.prod(shape))
    return (center + amplitude * (2.0 * u - 1.0)).astype(np.float32).reshape(shape)
