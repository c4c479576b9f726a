"""Hold the cached graphs that `march export --cache` writes against the whole ones: every variant that decodes, at micro size.

    python tools/interop/cache.py MARCH [VARIANT …]

MARCH is the binary. For each variant a program is made (march gen), its start values are exported with and without the cache,
onnx's checker reads every file, and ONNX Runtime reads a text at once, token by token, and in stretches; two texts at a time. Prints
the largest difference of the logits in units of the largest logit, and leaves with 1 where one is above 1e-5 or no number,
and where a VARIANT is none that decodes.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

BOUND, VOCAB, LENGTH, BATCH = 1e-5, 61, 14, 2


def session(path: Path) -> onnxruntime.InferenceSession:
    onnx.checker.check_model(path, full_check=True)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def empty(s: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
    past = [i for i in s.get_inputs() if i.name.startswith("past_key_values")]
    return {i.name: np.zeros((BATCH, i.shape[1], 0, i.shape[3]), np.float32) for i in past}


def compare(march: str, variant: str, arch: str, folder: Path) -> float:
    run = lambda *args: subprocess.run([march, *args], check=True, stdout=subprocess.DEVNULL)
    run("gen", "--variant", variant, "--arch", arch, "--scale", "tiny", "--set", f"vocab={VOCAB}", "--set", f"length={LENGTH}", "--out", str(folder / "program"))
    run("export", "--program", str(folder / "program"), "--out", str(folder / "whole"))
    run("export", "--program", str(folder / "program"), "--cache", "--weights", "beside", "--out", str(folder / "cached"))
    rng = np.random.default_rng(2)
    tokens = rng.integers(0, VOCAB, (BATCH, LENGTH))
    given, name, file = {}, "tokens", "infer.onnx"
    whole = {"tokens": tokens}
    if arch == "encoder-decoder":
        source, lengths = rng.integers(0, VOCAB, (BATCH, 9)), np.array([9, 6])
        whole = {"tokens": source, "lengths": lengths, "decoder_tokens": tokens}
        encoder = session(folder / "cached" / "encoder.onnx")
        given = dict(zip([o.name for o in encoder.get_outputs()], encoder.run(None, {"tokens": source, "lengths": lengths})), lengths=lengths)
        name, file = "decoder_tokens", "decoder.onnx"
    want = session(folder / "whole" / "infer.onnx").run(["logits"], whole)[0]
    cached = session(folder / "cached" / file)
    outputs = [o.name for o in cached.get_outputs()]
    wanted = {i.name for i in cached.get_inputs()}
    differences = []
    for sizes in [1] * LENGTH, [LENGTH], [5, 1, 1, 4, 3]:
        past, at, got = empty(cached), 0, []
        for n in sizes:
            feed = {name: tokens[:, at : at + n], **{k: v for k, v in given.items() if k in wanted}, **past}
            result = dict(zip(outputs, cached.run(None, feed)))
            got.append(result.pop("logits"))
            past = {k.replace("present", "past_key_values"): v for k, v in result.items()}
            at += n
        differences.append(np.abs(np.concatenate(got, 1) - want).max() / np.abs(want).max())
    return float(np.max(differences))  # which a NaN is not lost in, as in max


def main() -> int:
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    march, differences = sys.argv[1], []
    catalogue = json.loads(subprocess.run([march, "list", "--scale", "tiny", "--json"], check=True, capture_output=True).stdout)
    chosen = [(v["name"], v["arch"]) for v in catalogue if v["arch"] != "encoder"]
    if sys.argv[2:]:
        chosen = [c for c in chosen if c[0] in sys.argv[2:]]
    if missing := [name for name in sys.argv[2:] if name not in {c[0] for c in chosen}]:
        sys.exit(f"no variant that decodes is called {', '.join(missing)}")
    if not chosen:
        sys.exit(f"{march} lists no variant that decodes")
    for variant, arch in chosen:
        with tempfile.TemporaryDirectory() as folder:
            d = compare(march, variant, arch, Path(folder))
        print(f"{variant} {arch}: {d:.1e}", flush=True)
        differences.append(d)
    worst = np.max(differences)
    print(f"{len(chosen)} models, onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}: {worst:.1e} at most, bound {BOUND:.0e}")
    return not worst <= BOUND


if __name__ == "__main__":
    sys.exit(main())
