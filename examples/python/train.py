#!/usr/bin/env python3
"""Train with step.onnx in Python: `train.py PROGRAM BATCHES RATE` prints a loss a step. Needs onnxruntime, numpy, safetensors."""
import sys

import numpy as np
import onnxruntime
from safetensors.numpy import load_file

program, batches, rate = sys.argv[1], load_file(sys.argv[2]), np.array(sys.argv[3], np.float32)

step = onnxruntime.InferenceSession(f"{program}/step.onnx")
inputs, outputs = {i.name: i for i in step.get_inputs()}, [o.name for o in step.get_outputs()]
state = {n: x for n, x in load_file(f"{program}/init.safetensors").items() if n in inputs}
state |= {n: np.zeros(i.shape, np.float32) for n, i in inputs.items() if n.endswith((".m", ".v"))}
for t in range(len(batches["tokens"])):
    batch = {n: x[t].astype(np.int64) for n, x in batches.items()}
    out = dict(zip(outputs, step.run(outputs, state | batch | {"lr": rate, "step": np.array(t + 1)})))
    state = {n: out[n + ".new"] for n in state}
    print(out["loss_sum"] / out["count"], flush=True)
