#!/usr/bin/env python3
"""Test vectors for trainloop/safetensors, made and read by the reference library.

    safetensors_vectors.py write trainloop/safetensors/testdata/python.safetensors
    safetensors_vectors.py check FILE

`write` makes the committed file; the Go package must read it and, given the same tensors, write
the same bytes. `check` reads a file made by Go (`go test ./trainloop/safetensors -run Golden
-save FILE`) with the reference library and compares every value.

Needs: torch, safetensors (made with 2.15.0 and 0.8.0).
"""

import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file

# One key only: the library writes several in no fixed order.
METADATA = {"format": 'march "test" \u00fc\n'}


def tensors():
    """Every dtype by its bytes: byte i of the tensor with number n is (37 * n + 11 * i) % 251."""
    table = [  # name, dtype, shape
        ("z.f32", torch.float32, [2, 3]),
        ("a.f32", torch.float32, [4]),
        ("f64", torch.float64, [2, 1, 2]),
        ("f16", torch.float16, [3]),
        ("bf16", torch.bfloat16, [5]),
        ("i64", torch.int64, [2]),
        ("u64", torch.uint64, [1]),
        ("i32", torch.int32, [3]),
        ("u32", torch.uint32, [3]),
        ("i16", torch.int16, [3]),
        ("u16", torch.uint16, [1]),
        ("i8", torch.int8, [3]),
        ("u8", torch.uint8, [2, 2]),
        ("f8_e4m3", torch.float8_e4m3fn, [3]),
        ("f8_e5m2", torch.float8_e5m2, [3]),
        ("f8_e8m0", torch.float8_e8m0fnu, [2]),
        ("f8_e4m3fnuz", torch.float8_e4m3fnuz, [1]),
        ("f8_e5m2fnuz", torch.float8_e5m2fnuz, [1]),
        ("c64", torch.complex64, [2]),
        ("bool", torch.bool, [3]),
        ("scalar", torch.float32, []),
        ("empty", torch.float32, [0, 3]),
        ("\u00fcml \"quoted\"", torch.float32, [1]),
    ]
    out = {}
    for n, (name, dtype, shape) in enumerate(table):
        count = 1
        for s in shape:
            count *= s
        size = count * torch.empty(0, dtype=dtype).element_size()
        raw = [(37 * n + 11 * i) % 251 for i in range(size)]
        if dtype == torch.bool:
            raw = [r % 2 for r in raw]
        out[name] = torch.tensor(raw, dtype=torch.uint8).view(dtype).reshape(shape)
    return out


def raw(t):
    return t.contiguous().reshape(-1).view(torch.uint8).tolist() if t.numel() else []


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("write", "check"):
        sys.exit(__doc__)
    verb, path = sys.argv[1:]
    want = tensors()
    if verb == "write":
        save_file(want, path, metadata=METADATA)
        return
    with safe_open(path, "pt") as f:
        if f.metadata() != METADATA:
            sys.exit(f"{path}: metadata {f.metadata()}, want {METADATA}")
        if sorted(f.keys()) != sorted(want):
            sys.exit(f"{path}: tensors {sorted(f.keys())}, want {sorted(want)}")
        for name, t in want.items():
            got = f.get_tensor(name)
            if got.dtype != t.dtype or got.shape != t.shape or raw(got) != raw(t):
                sys.exit(f"{path}: {name}: got {got}, want {t}")
    print(f"{path}: {len(want)} tensors as expected")


if __name__ == "__main__":
    main()
