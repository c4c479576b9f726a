"""What the matrix compares with: for each variant its program at micro size, inputs, and what tools/oracle (PyTorch, float64) makes of them.

A program is what `march gen --target portable` writes for the oracle's case of the variant; its start values are replaced by the case's,
which no symmetry makes zero. Moments are not zero either, so that a first step of AdamW is no sign function of rounding.
"""
import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "oracle"))
import oracle  # noqa: E402
import parameters  # noqa: E402
from cases import CASES, Case  # noqa: E402
from config import Config  # noqa: E402
from oracle import IGNORED, Model  # noqa: E402
from training import Teacher, backward, losses, pruning_masks, sparsity  # noqa: E402

GRAPHS = ("infer", "eval", "score", "grad", "step")
STEP, RATE = 3, 1e-3  # what step.onnx is given
PRUNE_STEP = 5  # whose masks grad.onnx and step.onnx are given
STANDS_FOR = {"micro_gpt2": "plain/gpt2"}  # variants of which the goldens have another name


@dataclass(frozen=True)
class Program:
    """A variant's files. Of GRAPH, inputs lie in GRAPH.inputs.safetensors and the oracle's outputs in GRAPH.expected.safetensors."""

    variant: str
    arch: str
    folder: Path

    @property
    def name(self) -> str:
        return f"{self.variant} {self.arch}"

    def model(self, graph: str) -> Path:
        return self.folder / f"{graph}.onnx"

    def inputs(self, graph: str) -> Path:
        return self.folder / f"{graph}.inputs.safetensors"

    def expected(self, graph: str) -> dict[str, np.ndarray]:
        return load_file(self.folder / f"{graph}.expected.safetensors")


def march(binary: Path, *args: str) -> str:
    done = subprocess.run([binary, *args], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"march {' '.join(args)}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def variant_cases(binary: Path) -> list[tuple[str, Case]]:
    """Every variant of march's catalogue in each architecture, with the oracle's case of it."""
    known = {(STANDS_FOR.get(c.name, c.variant), c.config.arch): c for c in CASES}
    wanted = [(v["name"], v["arch"]) for v in json.loads(march(binary, "list", "--json", "--scale", "tiny"))]
    if missing := [" ".join(k) for k in wanted if k not in known]:
        raise ValueError(f"tools/oracle/cases.py has no case of {', '.join(missing)}")
    return [(name, known[name, arch]) for name, arch in wanted]


def prepare(binary: Path, variant: str, case: Case, work: Path, emission: list[str]) -> Program:
    """The program with inputs and expected outputs, made anew; emission are further flags of march gen."""
    folder = work / variant.replace("/", "-") / case.config.arch
    folder.mkdir(parents=True, exist_ok=True)
    case = replace(case, config=case.config.but({"dropout.rate": 0.0, "dropout.slow": 0.0}))  # whose numbers are no business of the oracle's
    axes = folder / "config.json"
    axes.write_text(json.dumps(case.config.to_json()))
    march(binary, "gen", "--config", str(axes), "--scale", "tiny", "--batch", str(case.batch), "--seq", str(case.seq), "--out", str(folder), *emission)
    manifest = json.loads((folder / "manifest.json").read_text())
    teacher = teacher_of(binary, case, manifest)
    start = rewrite_start(folder / "init.safetensors", case.config)

    c = case.config
    graph = {i["name"]: i["shape"] for i in manifest["graphs"]["grad"]["inputs"]}
    b = replace(case, seq=graph["tokens"][1], decoder_seq=graph.get("decoder_tokens", [0, 0])[1]).batches()[0]
    batch = {n: x.numpy() for n, x in dict(tokens=b.tokens, labels=b.labels, lengths=b.lengths, decoder_tokens=b.decoder_tokens).items() if x is not None}
    p = oracle.initial(c)
    with torch.no_grad():
        logits = Model(p, c).forward(b).logits
        scores = logits.log_softmax(-1)
        picked = torch.where(b.labels == IGNORED, 0.0, scores.gather(-1, b.labels.clamp(min=0)[..., None])[..., 0])
    top2 = logits.topk(2).values
    top = torch.where(top2[..., 0] - top2[..., 1] > 1e-4, logits.argmax(-1), -1)  # -1: too close to call
    at = scored(b.labels, manifest["graphs"]["score"])
    expected = dict(infer=dict(logits=logits), eval=dict(logprob=picked, top=top), score=dict(logprob=picked.flatten()[at], top=top.flatten()[at]))

    pruned = pruning_masks(p, sparsity(c.training.prune, PRUNE_STEP)) if c.training.prune.sparsity else None
    l = losses(p, c, b, teacher, None, pruned)
    backward(p, l.objective)
    sums = dict(loss_sum=l.loss_sum, count=torch.tensor(b.count)) | {n: torch.tensor(x) for n, x in l.extra().items()}
    if h := l.result.halting:
        sums["steps_sum"] = h.steps[b.labels != IGNORED].sum()
    values = start | batch | {f"{n}.mask": m.numpy().astype(np.float32) for n, m in (pruned or {}).items()}
    values |= {f"teacher.{n}": x.numpy().astype(np.float32) for n, x in (teacher.p if teacher else {}).items()}
    values |= dict(lr=np.float32(RATE), step=np.int64(STEP))
    after = {}
    for n, x in p.items():
        for suffix, center, amplitude in (("grad", 0.0, 0.1), ("m", 0.0, 1e-3), ("v", 1.5e-4, 5e-5)):
            u = parameters.uniform(f"{n}.{suffix}", x.numel())
            values[f"{n}.{suffix}"] = (center + amplitude * (2 * u - 1)).astype(np.float32).reshape(x.shape)
        after[f"{n}.grad.new"] = x.grad + torch.from_numpy(values[f"{n}.grad"])
    expected["grad"] = sums | after
    expected["step"] = sums | one_step(p, b.count, values, manifest["config"]["training"])

    chosen = values | dict(scored=at.numpy(), labels=b.labels.flatten()[at].numpy())
    for name in GRAPHS:
        ports, given = manifest["graphs"][name], chosen if name == "score" else values
        save_file({i["name"]: np.asarray(given[i["name"]]) for i in ports["inputs"]}, folder / f"{name}.inputs.safetensors")
        want = {o["name"]: np.asarray(expected[name][o["name"]].detach().numpy()) for o in ports["outputs"]}
        save_file(want, folder / f"{name}.expected.safetensors")
    return Program(variant, c.arch, folder)


def scored(labels: torch.Tensor, ports: dict) -> torch.Tensor:
    """Positions for score.onnx, counted through the labels' rows: every other one of those that have a label, from the last to the
    first, so that number and order are no other graph's; and behind them the rest, where the graph has a static number of them."""
    here = labels.flatten().ne(IGNORED).nonzero().flatten().flip(0)[::2].contiguous()
    size = next(i["shape"] for i in ports["inputs"] if i["name"] == "scored")[0]
    if size < 0:
        return here
    rest = torch.ones(labels.numel(), dtype=torch.bool)
    rest[here] = False
    return torch.cat([here, rest.nonzero().flatten()])[:size]


def rewrite_start(file: Path, c: Config) -> dict[str, np.ndarray]:
    """Puts the case's values in place of march's start values. infer.onnx points into the file, so every tensor keeps its place."""
    data = bytearray(file.read_bytes())
    begin = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:begin])
    values = {n: x.detach().numpy().astype(np.float32) for n, x in oracle.initial(c).items()}
    for name, x in values.items():
        at, end = (begin + i for i in header[name]["data_offsets"])
        if header[name]["shape"] != list(x.shape) or end - at != x.nbytes:
            raise ValueError(f"{file}: {name} has the shape {header[name]['shape']}, the oracle's {list(x.shape)}")
        data[at:end] = x.tobytes()
    file.write_bytes(data)
    return values


def teacher_of(binary: Path, case: Case, manifest: dict) -> Teacher | None:
    """The teacher as march has it (the named variant at scale tiny), with values by the oracle's rule."""
    if not manifest.get("teacher"):
        return None
    c = case.config
    shown = march(binary, "show", f"{manifest['study']}/{c.training.distill.teacher}", "--arch", c.arch, "--scale", "tiny",
                  "--set", f"vocab={c.vocab}", "--set", f"length={c.length}", "--set", "dropout.rate=0", "--json")
    config = Config.from_json(like(json.loads(shown)["config"], c.to_json()))
    p = {n: x.requires_grad_(False) for n, x in oracle.initial(config, prefix="teacher.").items()}
    if (want := {t["name"]: tuple(t["shape"]) for t in manifest["teacher"]}) != (got := {f"teacher.{n}": tuple(x.shape) for n, x in p.items()}):
        raise ValueError(f"the teacher of {case.name} and the oracle's differ in {sorted(set(want.items()) ^ set(got.items()))[:3]}")
    return Teacher(p, config)


def like(given: dict, pattern: dict) -> dict:
    """The keys of the pattern: march's config has more about training than the oracle's."""
    return {k: like(given[k], v) if isinstance(v, dict) else given[k] for k, v in pattern.items()}


def one_step(p: oracle.Params, count: int, values: dict, training: dict) -> dict[str, torch.Tensor]:
    """Clipping and AdamW by torch, from moments that are given; p has the gradients of the sum."""
    names = {n: q.detach().clone().requires_grad_() for n, q in p.items()}
    for n, q in names.items():
        q.grad = p[n].grad / count
    groups = [dict(params=[q for n, q in names.items() if parameters.decayed(n) == yes], weight_decay=training["decay"] if yes else 0.0) for yes in (True, False)]
    adamw = torch.optim.AdamW(groups, lr=float(np.float32(RATE)), betas=(training["beta1"], training["beta2"]), eps=training["eps"], foreach=False)
    for n, q in names.items():
        adamw.state[q] = dict(step=torch.tensor(STEP - 1.0), exp_avg=torch.from_numpy(values[f"{n}.m"]).double(), exp_avg_sq=torch.from_numpy(values[f"{n}.v"]).double())
    norm = torch.nn.utils.clip_grad_norm_(names.values(), training["clip"])
    adamw.step()
    out = dict(grad_norm=norm)
    for n, q in names.items():
        out |= {f"{n}.new": q, f"{n}.m.new": adamw.state[q]["exp_avg"], f"{n}.v.new": adamw.state[q]["exp_avg_sq"]}
    return out


# Outputs that are compared by their own size, tensor by tensor, as the goldens' gradients are.
STATES = (".grad.new", ".m.new", ".v.new", ".new")


def error(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> float:
    """The largest error of a graph's outputs. Log-probabilities and logits: absolute. Sums and norms: relative. Gradients, moments and
    parameters: over max(tensor's largest entry, 1e-3 × the largest of its kind). Counts and most likely tokens must be equal."""
    kind = lambda n: next((s for s in STATES if n.endswith(s)), "")
    largest = {}
    for n, w in want.items():
        largest[kind(n)] = max(largest.get(kind(n), 0.0), float(np.abs(w).max()))
    worst = 0.0
    for n, w in want.items():
        if n not in got:
            raise ValueError(f"output {n} is missing")
        g = got[n]
        if g.shape != w.shape:
            raise ValueError(f"output {n} has the shape {list(g.shape)}, wanted {list(w.shape)}")
        if w.dtype.kind == "i":
            if n2 := int(((g != w) & (w >= 0)).sum()):
                raise ValueError(f"output {n} has {n2} of {w.size} numbers wrong")
            continue
        if not np.isfinite(g).all():
            raise ValueError(f"output {n} is not finite")
        scale = 1.0 if n in ("logits", "logprob") else max(float(np.abs(w).max()), 1e-3 * largest[kind(n)] if kind(n) else 0.0) or 1.0
        worst = max(worst, float(np.abs(g - w).max()) / scale)
    return worst
