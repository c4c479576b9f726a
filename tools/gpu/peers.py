#!/usr/bin/env python3
"""Measure PyTorch on the reference workloads, as march's peer.

    python3 peers.py P1                                        # training step, every mode
    python3 peers.py P1 P1-short P1-long heads --modes eager,compile --optimizer
    python3 peers.py --list
    python3 peers.py E1 --tokens items.jsonl                   # evaluation: one JSON list of token ids a line

One line of JSON a measurement. Training: forward + backward + gradient accumulation (with --optimizer also a fused AdamW step), median of timed
steps. The peer of a comparison is the *best* mode: eager, compile, compile with reduce-overhead (CUDA graphs), compile with max-autotune.
WORKLOADS defines the workloads; `march perf --workload` has those of the same names.
"""
import argparse, json, resource, statistics, time

import torch
import torch.nn as nn
import torch.nn.functional as F

BASE = dict(arch="decoder", B=32, S=512, d=512, L=8, H=8, dk=64, ff=2048, V=16384, norm="layer", order="pre", act="gelu", bias="all",
            scale=None, local=False, average=False, logit_scale=1.0, device="cuda")


def but(**changes):
    return {**BASE, **changes}


HEADS = dict(arch="encdec", B=64, S=512, L=3, V=30000, norm="rms", act="relu", bias="none", scale=1.0, average=True, logit_scale=512 ** -0.5)
WORKLOADS = {
    "P1": but(),
    "P1-short": but(B=128, S=128),
    "P1-long": but(B=8, S=2048),
    "P1-heads32": but(H=16, dk=32),
    "P1-heads128": but(H=4, dk=128),
    "P1-swiglu": but(act="silu_glu", ff=1408),
    "P2": but(B=8, S=128, d=128, L=4, H=4, dk=32, ff=512, V=2048, device="cpu"),
    "tiny": but(B=8, S=128, d=96, L=6, H=6, dk=16, ff=384, V=2048),
    "heads": but(**HEADS),
    "sharing-decoder": but(d=384, L=6, H=6, ff=1536, V=10000, bias="gptneo", scale=1.0, local=True),
    "sharing-encoder": but(arch="encoder", d=384, L=6, H=6, ff=1536, V=10000, order="post", act="gelu_exact"),
}


def make_norm(w):
    return nn.LayerNorm(w["d"]) if w["norm"] == "layer" else nn.RMSNorm(w["d"], eps=1e-6)


class Attention(nn.Module):
    def __init__(self, w, cross=False, causal=False, window=None):
        super().__init__()
        self.w, self.cross, self.causal = w, cross, causal
        inner = w["H"] * w["dk"]
        qkv_bias, out_bias = w["bias"] == "all", w["bias"] in ("all", "gptneo")
        self.qkv = nn.Linear(w["d"], inner if cross else 3 * inner, bias=qkv_bias)
        self.out = nn.Linear(inner, w["d"], bias=out_bias)
        if window:
            i = torch.arange(w["S"])
            self.register_buffer("mask", (i[:, None] >= i) & (i[:, None] - i < window))
        else:
            self.mask = None

    def forward(self, x, memory=None):
        B, S, _ = x.shape
        H, dk = self.w["H"], self.w["dk"]
        if self.cross:
            q = self.qkv(x).view(B, S, H, dk).transpose(1, 2)
            k, v = memory
        else:
            q, k, v = self.qkv(x).view(B, S, 3, H, dk).permute(2, 0, 3, 1, 4).unbind(0)
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask, is_causal=self.causal and self.mask is None, scale=self.w["scale"])
        return self.out(a.transpose(1, 2).reshape(B, S, H * dk)), (k, v)


class FeedForward(nn.Module):
    def __init__(self, w):
        super().__init__()
        bias = w["bias"] in ("all", "gptneo")
        self.act = w["act"]
        self.up = nn.Linear(w["d"], w["ff"] * (2 if self.act.endswith("glu") else 1), bias=bias)
        self.down = nn.Linear(w["ff"], w["d"], bias=bias)

    def forward(self, x):
        h = self.up(x)
        if self.act == "silu_glu":
            gate, h = h.chunk(2, -1)
            h = F.silu(gate) * h
        elif self.act == "relu":
            h = F.relu(h)
        else:
            h = F.gelu(h, approximate="tanh" if self.act == "gelu" else "none")
        return self.down(h)


class Layer(nn.Module):
    def __init__(self, w, causal, cross=False, window=None):
        super().__init__()
        self.post = w["order"] == "post"
        self.n1, self.attn = make_norm(w), Attention(w, causal=causal, window=window)
        if cross:
            self.nx, self.xattn = make_norm(w), Attention(w, cross=True)
        self.n2, self.ff = make_norm(w), FeedForward(w)

    def forward(self, x, memory=None):
        if self.post:
            a, kv = self.attn(x)
            x = self.n1(x + a)
            return self.n2(x + self.ff(x)), kv
        a, kv = self.attn(self.n1(x))
        x = x + a
        if memory is not None:
            x = x + self.xattn(self.nx(x), memory)[0]
        return x + self.ff(self.n2(x)), kv


class Model(nn.Module):
    def __init__(self, w):
        super().__init__()
        self.w = w
        self.tok, self.pos = nn.Embedding(w["V"], w["d"]), nn.Embedding(w["S"], w["d"])
        nn.init.normal_(self.tok.weight, std=0.02)
        nn.init.normal_(self.pos.weight, std=0.02)
        window = lambda i: w["S"] // 2 if w["local"] and i % 2 else None
        self.encoder = nn.ModuleList(Layer(w, False) for _ in range(w["L"] if w["arch"] != "decoder" else 0))
        self.decoder = nn.ModuleList(Layer(w, True, cross=w["arch"] == "encdec", window=window(i)) for i in range(w["L"] if w["arch"] != "encoder" else 0))
        self.norms = nn.ModuleList(make_norm(w) for _ in range(2))
        if w["arch"] == "encoder":
            self.head = nn.Sequential(nn.Linear(w["d"], w["d"]), nn.GELU(), nn.LayerNorm(w["d"]))
            self.head_bias = nn.Parameter(torch.zeros(w["V"]))

    def embed(self, tokens):
        x = self.tok(tokens) + self.pos.weight[: tokens.size(1)]
        return x / 2 if self.w["average"] else x

    def logits(self, tokens, decoder_tokens=None):
        w = self.w
        x, memories = self.embed(tokens), [None] * w["L"]
        if w["order"] == "post":
            x = self.norms[0](x)
        if w["arch"] != "decoder":
            for i, layer in enumerate(self.encoder):
                x, memories[i] = layer(x)
        if w["arch"] == "encdec":
            x = self.embed(decoder_tokens)
        if w["arch"] != "encoder":
            for i, layer in enumerate(self.decoder):
                x, _ = layer(x, memories[i] if w["arch"] == "encdec" else None)
        if w["arch"] == "encoder":
            return F.linear(self.head(x), self.tok.weight, self.head_bias)
        return F.linear(self.norms[1](x) * w["logit_scale"], self.tok.weight)

    def forward(self, tokens, labels):
        logits = self.logits(tokens, tokens)
        return F.cross_entropy(logits.float().view(-1, self.w["V"]), labels.view(-1))


MODES = {"eager": None, "compile": {}, "reduce-overhead": dict(mode="reduce-overhead"), "max-autotune": dict(mode="max-autotune-no-cudagraphs")}


def used_gpu_bytes():
    free, total = torch.cuda.mem_get_info()
    return total - free


def train(name, w, mode, a):
    gpu = w["device"] == "cuda"
    bf16 = (a.precision or ("bf16" if gpu else "fp32")) == "bf16"
    sync = torch.cuda.synchronize if gpu else (lambda: None)
    torch._dynamo.reset()
    if gpu:
        torch.zeros(1, device="cuda")
        torch.cuda.empty_cache()
        idle = used_gpu_bytes()
    torch.manual_seed(0)
    model = Model(w).to(w["device"])
    for p in model.parameters():  # accumulate in place from the first step, as later micro-batches do
        p.grad = torch.zeros_like(p)
    call = model if MODES[mode] is None else torch.compile(model, **MODES[mode])
    rand = lambda: torch.randint(0, w["V"], (w["B"], w["S"]), device=w["device"])
    tokens, labels = rand(), rand()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=gpu)

    def step():
        for _ in range(a.micro_batches):
            if mode == "reduce-overhead":
                torch.compiler.cudagraph_mark_step_begin()
            with torch.autocast(w["device"], torch.bfloat16, enabled=bf16):
                loss = call(tokens, labels)
            loss.backward()
        if a.optimizer:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            opt.zero_grad(set_to_none=False)

    t0 = time.perf_counter()
    for _ in range(6):
        step()
    sync()
    warm, times = time.perf_counter() - t0, []
    for _ in range(a.steps):
        t0 = time.perf_counter()
        step()
        sync()
        times.append(time.perf_counter() - t0)
    ms = statistics.median(times) * 1e3
    out = dict(workload=name, peer=f"torch {torch.__version__} {mode}", precision="bf16" if bf16 else "fp32", optimizer=a.optimizer, micro_batches=a.micro_batches,
               parameters=sum(p.numel() for p in model.parameters()), ms=round(ms, 3), tokens_per_s=round(a.micro_batches * w["B"] * w["S"] / ms * 1e3), warm_s=round(warm, 1))
    if gpu:
        out["process_gb"] = round((used_gpu_bytes() - idle) / 1e9, 2)
        out["allocator_peak_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 2)
        torch.cuda.reset_peak_memory_stats()
    else:
        out["process_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)
    print(json.dumps(out), flush=True)
    del model, call, opt, tokens, labels


def evaluate(a):
    """Score lists of token ids by summed log-probability: sorted by length, padded, batched. The plain thing a user would write."""
    items = [json.loads(line) for line in open(a.tokens)]
    device = "cuda" if torch.cuda.is_available() and a.device != "cpu" else "cpu"
    w = dict(WORKLOADS["P1" if device == "cuda" else "P2"], V=max(max(i) for i in items) + 1, S=max(map(len, items)))
    model = Model(w).to(device).eval()
    order = sorted(range(len(items)), key=lambda i: len(items[i]))
    for warm in (True, False):
        t0 = time.perf_counter()
        for at in range(0, len(order) if not warm else 4 * a.batch, a.batch):
            ids = [items[i] for i in order[at : at + a.batch]]
            n = max(map(len, ids))
            x = torch.tensor([i + [0] * (n - len(i)) for i in ids], device=device)
            keep = torch.tensor([[1] * (len(i) - 1) + [0] * (n - len(i)) for i in ids], device=device)
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                lp = model.logits(x)[:, :-1].float().log_softmax(-1)
            (lp.gather(-1, x[:, 1:, None])[..., 0] * keep).sum(-1).tolist()
        seconds = time.perf_counter() - t0
    print(json.dumps(dict(workload="E1", peer=f"torch {torch.__version__} eager", device=device, items=len(items), items_per_s=round(len(items) / seconds, 1))), flush=True)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("workloads", nargs="*")
    ap.add_argument("--list", action="store_true")
    ap.add_argument("--modes", default="eager,compile,reduce-overhead", help="of " + ",".join(MODES))
    ap.add_argument("--precision", choices=("bf16", "fp32"), help="default bf16 on a GPU, fp32 (TF32) on a CPU")
    ap.add_argument("--steps", type=int, default=30)
    ap.add_argument("--micro-batches", type=int, default=1, help="forward and backward passes of a step")
    ap.add_argument("--optimizer", action="store_true", help="clip and take a fused AdamW step too")
    ap.add_argument("--tokens", help="E1: JSONL of token id lists")
    ap.add_argument("--batch", type=int, default=256, help="E1")
    ap.add_argument("--device", choices=("cuda", "cpu"), help="default: the workload's; for E1 a GPU where there is one")
    a = ap.parse_args()
    if a.list:
        for name, w in WORKLOADS.items():
            print(name, json.dumps({k: v for k, v in w.items() if v != BASE[k]}))
        return
    torch.backends.cuda.matmul.allow_tf32 = True
    unknown = [name for name in a.workloads if name != "E1" and name not in WORKLOADS]
    if unknown:
        ap.error(f"no workload {', '.join(unknown)}: --list shows them")
    for name in a.workloads:
        if name == "E1":
            evaluate(a)
            continue
        for mode in a.modes.split(","):
            w = dict(WORKLOADS[name], device=a.device or WORKLOADS[name]["device"])
            if w["device"] == "cpu" and mode in ("reduce-overhead", "max-autotune"):
                continue
            try:
                train(name, w, mode, a)
            except Exception as e:
                print(json.dumps(dict(workload=name, mode=mode, error=str(e)[:200])), flush=True)


if __name__ == "__main__":
    main()
