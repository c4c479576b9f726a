#!/usr/bin/env python3
"""Train by the bindings of training.onnx (ONNX's TrainingInfoProto), and compare with step.onnx: `training.py PROGRAM [STEPS]`.

PROGRAM is a folder of `march gen --training-info`. Both run in onnx's reference evaluator, on the same random batches. The checker judges the
file, and, as it does not look into training information, both graphs of that by themselves. Needs onnx, numpy, safetensors.
"""
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import helper
from onnx.external_data_helper import load_external_data_for_tensor
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file

RATE, BOUND = 1e-3, 1e-5


def alone(model: onnx.ModelProto, graph: onnx.GraphProto, given: list[onnx.TensorProto]) -> ReferenceEvaluator:
    """A graph of the training information as a model of its own; what it reads outside itself and what is bound become inputs."""
    names = {t.name for t in given}
    kept = [t for t in graph.initializer if t.name not in names]
    inputs = [*graph.input, *(helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in given)]
    g = helper.make_graph(graph.node, graph.name, inputs, graph.output, kept, value_info=graph.value_info)
    m = helper.make_model(g, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(m, full_check=True)
    return ReferenceEvaluator(m)


def named(evaluator: ReferenceEvaluator, inputs: dict) -> dict:
    return dict(zip(evaluator.output_names, evaluator.run(None, inputs)))


def by_bindings(program: Path, batches: list[dict]) -> list[float]:
    """The loop of the specification: initialize once, then run the algorithm and assign what is bound."""
    onnx.checker.check_model(str(program / "training.onnx"), full_check=True)
    model = onnx.load(program / "training.onnx")
    (info,) = model.training_info
    for t in info.initialization.initializer:
        if t.data_location == onnx.TensorProto.EXTERNAL:
            load_external_data_for_tensor(t, str(program))
            t.data_location = onnx.TensorProto.DEFAULT
            del t.external_data[:]
    initializers = {t.name: t for t in [*model.graph.initializer, *info.algorithm.initializer]}
    updates = {b.key: b.value for b in info.update_binding}
    outputs = {o.name for o in info.algorithm.output}
    if wrong := [k for k, v in updates.items() if k not in initializers or v not in outputs]:
        raise ValueError(f"bindings of {', '.join(wrong)} are not from an output to an initializer")

    started = named(alone(model, info.initialization, []), {})
    state = {b.key: started[b.value] for b in info.initialization_binding}
    if state.keys() != updates.keys():
        raise ValueError(f"initialized and updated differ in {sorted(state.keys() ^ updates.keys())}")
    step = alone(model, info.algorithm, [initializers[n] for n in updates])
    losses = []
    for batch in batches:
        out = named(step, state | batch | {"lr": np.array(RATE, np.float32)})
        state = {name: out[bound] for name, bound in updates.items()}
        losses.append(float(out["loss_sum"] / out["count"]))
    if state["step"] != len(batches) + 1:
        raise ValueError(f"step is {state['step']} after {len(batches)} steps")
    return losses


def by_step(program: Path, batches: list[dict]) -> list[float]:
    step = ReferenceEvaluator(str(program / "step.onnx"))
    start = load_file(program / "init.safetensors")
    shapes = inputs_of(program / "step.onnx")
    state = {n: start[n] if n in start else np.zeros(s, np.float32) for n, s in shapes.items() if n in start or n.endswith((".m", ".v"))}
    losses = []
    for t, batch in enumerate(batches):
        out = named(step, state | batch | {"lr": np.array(RATE, np.float32), "step": np.array(t + 1)})
        state = {n: out[f"{n}.new"] for n in state}
        losses.append(float(out["loss_sum"] / out["count"]))
    return losses


def inputs_of(file: Path) -> dict[str, list[int]]:
    return {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in onnx.load(file).graph.input}


def random_batches(program: Path, steps: int) -> list[dict]:
    shapes, rng = inputs_of(program / "step.onnx"), np.random.default_rng(1)
    vocab = load_file(program / "init.safetensors")["embed.tokens"].shape[0]
    draw = {n: (1, shapes["tokens"][1] + 1) if n == "lengths" else (0, vocab) for n in ("tokens", "labels", "lengths", "decoder_tokens") if n in shapes}
    return [{n: rng.integers(*bounds, shapes[n]) for n, bounds in draw.items()} for _ in range(steps)]


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    program, steps = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) == 3 else 5
    batches = random_batches(program, steps)
    got, want = by_bindings(program, batches), by_step(program, batches)
    largest = np.max([abs(g / w - 1) for g, w in zip(got, want)])  # a NaN is not lost in it, as in max
    print(f"{program}: {steps} steps, loss {want[0]:.6f} to {want[-1]:.6f}, largest relative difference {largest:.1e}")
    return 0 if largest <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
