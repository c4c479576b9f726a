"""What positions do beside a learned table: sinusoids, rotation, and biases of the attention logits."""
import torch

BASE = 10000.0


def angles(positions: int, pairs: int, dtype) -> torch.Tensor:
    """[positions, pairs]: position * 10000^(-j/pairs)."""
    frequency = BASE ** -(torch.arange(pairs, dtype=torch.float64) / pairs)
    return (torch.arange(positions, dtype=torch.float64)[:, None] * frequency).to(dtype)


def sinusoidal(positions: int, d: int, dtype) -> torch.Tensor:
    """[positions, D], the first half sines, the second cosines (Vaswani et al. 2017, with halves in place of pairs)."""
    a = angles(positions, d // 2, torch.float64)
    return torch.cat([a.sin(), a.cos()], -1).to(dtype)


def rotate(x: torch.Tensor) -> torch.Tensor:
    """Rotary embedding of [..., S, K] (Su et al. 2021): the pair (j, j + K/2) turned by angle j of its position."""
    a = angles(x.shape[-2], x.shape[-1] // 2, torch.float64)
    cos, sin = a.cos().to(x.dtype), a.sin().to(x.dtype)
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1)


def alibi(s: int, heads: int, dtype) -> torch.Tensor:
    """Bias [H,S,S] (Press et al. 2021): -slope * |i - j|, slope of head h = 1 ... H: 2^(-8h/H)."""
    slope = 2.0 ** (-8.0 * torch.arange(1, heads + 1, dtype=dtype) / heads)
    position = torch.arange(s, dtype=dtype)
    return -slope[:, None, None] * (position[:, None] - position[None, :]).abs()


def bucket(relative: int, bidirectional: bool, buckets: int = 32, largest: int = 128) -> int:
    """T5's bucket of key - query (Raffel et al. 2020): half of a direction's buckets exact, the rest logarithmic up to `largest`.

    In integers: exact + floor(exact * log(n/exact) / log(largest/exact)), counted by its thresholds, so no rounding decides.
    """
    base = 0
    if bidirectional:
        buckets //= 2
        base, n = (buckets if relative > 0 else 0), abs(relative)
    else:
        n = max(-relative, 0)  # what lies ahead is masked anyway
    exact = buckets // 2
    if n < exact:
        return base + n
    steps = sum(n**exact * exact**k >= exact**exact * largest**k for k in range(1, exact))
    return base + exact + steps


def relative(table: torch.Tensor, s: int, bidirectional: bool) -> torch.Tensor:
    """Bias [H,S,S] from the table [32,H]; query i, key j."""
    index = torch.tensor([[bucket(j - i, bidirectional) for j in range(s)] for i in range(s)])
    return table[index].permute(2, 0, 1)
