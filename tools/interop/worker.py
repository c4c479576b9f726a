#!/usr/bin/env python3
"""Run ONNX files in one runtime, a job a line of stdin, until stdin ends: `worker.py RUNTIME`.

The protocol is every worker's, whatever its language (web.mjs, tract/, decode/). First a line `RESULT {"runtime", "version"}`. A job is
`{"model": FILE, "inputs": FILE, "outputs": FILE}`; tensors lie in safetensors files, by the names of the graph's inputs and outputs, F32 or
I64. The answer is `RESULT {"ok": true}` or `RESULT {"error": TEXT}`. Whatever else a runtime prints is no answer. A worker that dies
or hangs is the cell that it was at: the caller starts another.
"""
import importlib.metadata
import json
import os
import sys

import numpy as np
from safetensors.numpy import load_file, save_file


def onnxruntime():
    import onnxruntime as ort

    ort.set_default_logger_severity(4)

    def run(model: str, inputs: dict) -> dict:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        return dict(zip(names, session.run(names, {i.name: inputs[i.name] for i in session.get_inputs()})))

    return ort.__version__, run


def reference():
    import onnx
    from onnx.reference import ReferenceEvaluator

    def run(model: str, inputs: dict) -> dict:
        evaluator = ReferenceEvaluator(model)
        return dict(zip(evaluator.output_names, evaluator.run(None, {n: inputs[n] for n in evaluator.input_names})))

    return onnx.__version__, run


def openvino():
    import openvino as ov

    core = ov.Core()
    # Without the hint some processors compute in bfloat16.
    config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}

    def run(model: str, inputs: dict) -> dict:
        compiled = core.compile_model(core.read_model(model), "CPU", config)
        results = compiled({p.get_any_name(): inputs[p.get_any_name()] for p in compiled.inputs})
        named = {}
        for port in compiled.outputs:
            for name in port.get_names():
                named[name] = results[port]
        return named

    return importlib.metadata.version("openvino"), run


def onnx2torch():
    import onnx
    import torch
    from onnx2torch import convert

    def run(model: str, inputs: dict) -> dict:
        loaded = onnx.load(model)
        weights = {t.name for t in loaded.graph.initializer}
        names = [i.name for i in loaded.graph.input if i.name not in weights]
        with torch.no_grad():
            given = convert(loaded)(*(torch.from_numpy(inputs[n]) for n in names))
        given = [given] if isinstance(given, torch.Tensor) else given
        return {o.name: x.numpy() for o, x in zip(loaded.graph.output, given)}

    return importlib.metadata.version("onnx2torch"), run


RUNTIMES = {"onnxruntime": onnxruntime, "reference": reference, "openvino": openvino, "onnx2torch": onnx2torch}


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1] not in RUNTIMES:
        print(f"usage: worker.py {'|'.join(RUNTIMES)}", file=sys.stderr)
        return 2
    answers = os.fdopen(os.dup(1), "w")  # libraries print to the real stdout
    os.dup2(2, 1)

    def answer(**what) -> None:
        print("RESULT", json.dumps(what), file=answers, flush=True)

    version, run = RUNTIMES[sys.argv[1]]()
    answer(runtime=sys.argv[1], version=version)
    for line in sys.stdin:
        job = json.loads(line)
        try:
            outputs = run(job["model"], load_file(job["inputs"]))
            save_file({n: np.ascontiguousarray(x) if np.ndim(x) else np.asarray(x).copy() for n, x in outputs.items()}, job["outputs"])
        except Exception as e:  # a job's failure is its answer
            answer(error=f"{type(e).__name__}: {e}")
        else:
            answer(ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
