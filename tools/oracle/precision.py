#!/usr/bin/env python3
"""How far a program's gradients in bf16 are from those in fp32.

    march gen --variant NAME --scale tiny --precision fp32 --out A
    march gen --variant NAME --scale tiny --precision bf16 --out B      # either target
    python tools/oracle/precision.py A B [A B …]

Interprets both grad.onnx node by node in torch on the CPU, each operator in the types that the graph gives it (torch sums bfloat16
products in float32, as a GPU does), on the same random tokens and the start values, scaled up by --scale so that attention and activations
leave their linear range. Prints the losses, ‖bf16 − fp32‖/‖fp32‖ over the whole gradient and for the worst tensor, and exits with 1
where they pass --whole or --tensor. Tensors whose gradient is below 1e-3 of the whole (a key's bias has none but rounding) count with
that in the denominator.
"""
import argparse
import sys
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool, 11: torch.float64, 16: torch.bfloat16}


def initializer(t):
    return torch.frombuffer(bytearray(t.raw_data), dtype=TYPES[t.data_type]).reshape(tuple(t.dims)) if t.raw_data else torch.empty(tuple(t.dims), dtype=TYPES[t.data_type])


def attributes(node):
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def swap(x, transposed):
    return x.transpose(-1, -2) if transposed else x


def gemm(a, b, c=None, transA=0, transB=0, alpha=1.0, beta=1.0):
    y = swap(a, transA).float() @ swap(b, transB).float() * alpha  # one rounding, at the end
    return (y if c is None else y + beta * c.float()).to(a.dtype)


def reduce(f):
    def run(x, axes=None, keepdims=1):
        dims = list(range(x.dim())) if axes is None else axes.tolist()
        return f(x, dims, bool(keepdims))
    return run


def layer_norm(x, w, b, axis=-1, epsilon=1e-5):
    mean = x.float().mean(-1, keepdim=True)
    inv = torch.rsqrt(x.float().var(-1, keepdim=True, correction=0) + epsilon)
    return ((x.float() - mean) * inv * w.float() + b.float()).to(x.dtype), mean, inv


def scatter(data, index, updates, axis=0, reduction=b"none"):
    assert reduction == b"add" and data.dtype != torch.bfloat16, "a sum in bfloat16"
    return data.scatter_add(axis, index, updates)


def gather(x, index, axis=0):
    index = torch.where(index < 0, index + x.shape[axis], index)
    return torch.index_select(x, axis, index.reshape(-1)).reshape(*x.shape[:axis], *index.shape, *x.shape[axis + 1:])


def slices(x, starts, ends, axes):
    for s, e, a in zip(starts.tolist(), ends.tolist(), axes.tolist()):
        x = x.narrow(a, s, min(e, x.shape[a]) - s)
    return x


def reshape(x, shape):
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())])


OPS = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "Neg": torch.neg, "Max": torch.maximum, "Min": torch.minimum,
    "Exp": torch.exp, "Log": torch.log, "Sqrt": torch.sqrt, "Tanh": torch.tanh, "Sigmoid": torch.sigmoid, "Relu": torch.relu, "Erf": torch.erf,
    "Sin": torch.sin, "Cos": torch.cos, "Identity": lambda x: x, "Where": torch.where, "And": torch.logical_and, "Or": torch.logical_or,
    "Less": torch.lt, "LessOrEqual": torch.le, "Greater": torch.gt, "GreaterOrEqual": torch.ge, "Equal": torch.eq, "Mod": torch.remainder,
    "Sum": lambda *x: sum(x[1:], x[0]), "QuickGelu": lambda x, alpha: (x.float() * torch.sigmoid(alpha * x.float())).to(x.dtype),
    "FastGelu": lambda x: F.gelu(x.float(), approximate="tanh").to(x.dtype), "Gelu": lambda x: F.gelu(x.float()).to(x.dtype),
    "Cast": lambda x, to: x.to(TYPES[to]), "Gemm": gemm, "MatMul": gemm, "FusedMatMul": gemm,
    "Softmax": lambda x, axis=-1: F.softmax(x.float(), axis).to(x.dtype), "LayerNormalization": layer_norm,
    "ReduceSum": reduce(lambda x, d, k: x.sum(d, keepdim=k)), "ReduceMax": reduce(lambda x, d, k: x.amax(d, keepdim=k)),
    "Gather": gather, "GatherElements": lambda x, i, axis=0: torch.gather(x, axis, i), "ScatterElements": scatter,
    "Transpose": lambda x, perm: x.permute(perm), "Reshape": reshape, "Slice": slices, "Expand": lambda x, s: x.expand(torch.broadcast_shapes(x.shape, s.tolist())),
    "Unsqueeze": lambda x, axes: x.unsqueeze(int(axes)), "Concat": lambda *x, axis: torch.cat(x, axis),
    "Split": lambda x, sizes, axis=0: torch.split(x, sizes.tolist(), axis),
    "ConstantOfShape": lambda s, value: initializer(value).reshape(-1)[0].expand(s.tolist()),
    "Range": lambda a, b, c: torch.arange(int(a), int(b), int(c)),
}


def run(graph, feeds):
    """The graph's outputs by name; a tensor is dropped behind its last reader."""
    values = {**feeds, **{t.name: initializer(t) for t in graph.initializer}}
    outputs = {o.name for o in graph.output}
    last = {name: i for i, n in enumerate(graph.node) for name in n.input}
    for i, n in enumerate(graph.node):
        y = OPS[n.op_type](*[values[x] if x else None for x in n.input], **attributes(n))
        for name, t in zip(n.output, y if isinstance(y, (tuple, list)) else [y]):
            values[name] = t
        for name in n.input:
            if last.get(name) == i and name not in outputs:
                values.pop(name, None)
    return {name: values[name] for name in outputs}


def feeds(graph, params, scale, rng):
    """Inputs of the graph: parameters or their copies, accumulators of zero, tokens and labels."""
    out = {}
    for v in graph.input:
        shape, typ = [d.dim_value for d in v.type.tensor_type.shape.dim], TYPES[v.type.tensor_type.elem_type]
        name = v.name.removesuffix(".bf16").removeprefix("teacher.")
        if name in params and list(params[name].shape) == shape:
            x = params[name]
            grown = x * scale if x.dim() == 2 and "embed" not in name else x
            out[v.name] = grown.to(typ)
        elif v.name.endswith(".grad") or v.name.startswith("teacher."):
            out[v.name] = torch.zeros(shape)
        elif v.name.endswith(".mask"):
            out[v.name] = torch.ones(shape)
        elif v.name == "lengths":
            out[v.name] = torch.tensor([min_length(graph)] * shape[0])
        elif v.name == "dropout_seed":
            out[v.name] = torch.tensor(5)
        elif v.name in ("tokens", "labels", "decoder_tokens"):
            out[v.name] = torch.from_numpy(rng.integers(0, vocab(params), shape))
        else:
            raise ValueError(f"input {v.name} is not known")
    return out


def vocab(params):
    return params["embed.tokens"].shape[0]


def min_length(graph):
    tokens = next(v for v in graph.input if v.name == "tokens")
    return tokens.type.tensor_type.shape.dim[1].dim_value - 3


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="+", type=Path, help="pairs: fp32 then bf16")
    parser.add_argument("--scale", type=float, default=2.0)
    parser.add_argument("--whole", type=float, default=2e-2)
    parser.add_argument("--tensor", type=float, default=5e-2)
    args = parser.parse_args()
    failed = False
    for wide, narrow in zip(args.folders[::2], args.folders[1::2], strict=True):
        params = load_file(wide / "init.safetensors")
        got = []
        for folder in (wide, narrow):
            graph = onnx.load(folder / "grad.onnx").graph
            with torch.no_grad():
                got.append(run(graph, feeds(graph, params, args.scale, np.random.default_rng(1))))
        want, have = got
        names = [n for n in want if n.endswith(".grad.new")]
        norm = lambda x: float(x.double().norm())
        total = norm(torch.cat([want[n].flatten() for n in names]))
        off = norm(torch.cat([(have[n] - want[n]).flatten() for n in names])) / total
        worst = max(names, key=lambda n: norm(have[n] - want[n]) / max(norm(want[n]), 1e-3 * total))
        most = norm(have[worst] - want[worst]) / max(norm(want[worst]), 1e-3 * total)
        sums = " ".join(f"{n} {float(want[n]):.4f} {float(have[n]):.4f}" for n in want if n.endswith("_sum"))
        bad = not (off <= args.whole and most <= args.tensor)
        failed |= bad
        print(f"{'BAD ' if bad else ''}{narrow.name}: whole {off:.2e}, worst {most:.2e} ({worst.removesuffix('.grad.new')}); {sums}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
