#!/usr/bin/env python3
"""Trains a program's model in PyTorch on the batches that march trains it on, from the same start values.

    march train --variant V --data D --steps N … --save-batches B.safetensors --out R     # batches, and R/program
    python tools/oracle/train.py R/program B.safetensors --device cuda --bf16 --save-at 100,500 --out O
    march eval --program R/program --params O/step-100.safetensors --data D --suite ppl    # validation by one evaluator

The model is oracle.py's, optimizer and clipping are torch's, the learning rate follows the program's schedule. Prints a JSON line a step:
step, loss (mean over the step's labels), lr, grad_norm, seconds. --bf16: torch.autocast, with float32 parameters and optimizer.
Models with dropout, a teacher or pruning are refused.
"""
import argparse
import dataclasses
import json
import math
import time
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import parameters
import training
from config import Config, Training
from oracle import Batch


def rate(t: dict, step: int, steps: int) -> float:
    """As docs/architecture.md has it: linear warm-up; then constant, half a cosine, or constant with a linear end."""
    warm = 0 if t["schedule"] == "constant" else math.floor(t["warmup"] * steps + 0.5)
    if step <= warm:
        return t["rate"] * step / warm
    if t["schedule"] == "cosine":
        done = (step - warm) / max(1, steps - warm)
        return t["rate"] * (t["final_rate"] + (1 - t["final_rate"]) * (1 + math.cos(math.pi * done)) / 2)
    if t["schedule"] == "wsd":
        cool, left = math.floor(t["cooldown"] * steps + 0.5), steps - step
        if left < cool:
            return t["rate"] * (t["final_rate"] + (1 - t["final_rate"]) * left / cool)
    return t["rate"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("batches", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--save-at", default="", help="steps, joined by commas; the last step is always saved")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    manifest = json.loads((args.program / "manifest.json").read_text())
    t = manifest["config"]["training"]
    known = {f.name for f in dataclasses.fields(Training)}
    c = Config.from_json({**manifest["config"], "training": {k: v for k, v in t.items() if k in known} | {"prune": {k: v for k, v in t["prune"].items() if k != "every"}}})
    if c.dropout.rate or c.dropout.slow or c.training.distill.teacher or c.training.prune.sparsity:
        parser.error("the model has dropout, a teacher or pruning")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_default_device(args.device)  # the model makes masks
    p = {n: x.to(args.device).requires_grad_() for n, x in load_file(args.program / "init.safetensors").items()}
    with safe_open(args.batches, "pt") as f:
        data = {n: f.get_tensor(n) for n in f.keys()}
        per_step = int(f.metadata()["micro_batches_per_step"])
    steps = len(data["tokens"]) // per_step
    groups = [dict(params=[x for n, x in p.items() if parameters.decayed(n) == yes], weight_decay=t["decay"] if yes else 0.0) for yes in (True, False)]
    adamw = torch.optim.AdamW(groups, lr=t["rate"], betas=(t["beta1"], t["beta2"]), eps=t["eps"])
    save_at = {int(s) for s in args.save_at.split(",") if s} | {steps}
    args.out.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    for step in range(1, steps + 1):
        adamw.zero_grad()
        total, count = 0.0, 0
        for k in range((step - 1) * per_step, step * per_step):
            b = Batch(**{n: x[k].long().to(args.device) for n, x in data.items()})
            with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
                l = training.losses(p, c, b)
            training.backward(p, l.objective)
            total, count = total + l.loss_sum.detach(), count + b.count
        for x in p.values():
            x.grad /= count
        norm = torch.nn.utils.clip_grad_norm_(p.values(), t["clip"]) if t["clip"] else torch.tensor(0.0)
        for g in adamw.param_groups:
            g["lr"] = rate(t, step, steps)
        adamw.step()
        if step % 10 == 0 or step in save_at or step == 1:
            print(json.dumps(dict(step=step, loss=float(total) / count, lr=rate(t, step, steps), grad_norm=float(norm), seconds=round(time.perf_counter() - began, 2))), flush=True)
        if step in save_at:
            save_file({n: x.detach().float().cpu().contiguous() for n, x in p.items()}, args.out / f"step-{step}.safetensors")


if __name__ == "__main__":
    main()
