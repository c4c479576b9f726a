"""Say what fp16 and bf16 cost: logits of what `march export --precision` writes, beside those of fp32.

    python tools/interop/halves.py MARCH PROGRAM_OR_RUN …

MARCH is the binary; the others are folders of march gen (their start values are exported) or of runs. fp16 runs on ONNX Runtime and on
onnx's reference evaluator, bf16 on the latter alone: ONNX Runtime's CPU provider has no kernels for it. Prints the largest difference to fp32
in units of the largest logit, and on how many of the positions the most likely token is another one.
"""
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator


def main() -> int:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    march = sys.argv[1]
    for source in map(Path, sys.argv[2:]):
        flag = "--run" if (source / "settings.json").exists() else "--program"
        with tempfile.TemporaryDirectory() as folder:
            want = None
            for precision in "fp32", "fp16", "bf16":
                out = Path(folder) / precision
                subprocess.run([march, "export", flag, str(source), "--precision", precision, "--out", str(out)], check=True, capture_output=True)
                file = out / "infer.onnx"
                onnx.checker.check_model(file, full_check=True)
                graph = onnx.load(file, load_external_data=False).graph
                rng, vocab = np.random.default_rng(3), graph.output[0].type.tensor_type.shape.dim[2].dim_value
                feed = {i.name: rng.integers(0, vocab, (2, 48)) for i in graph.input if i.name != "lengths"}
                if len(feed) < len(graph.input):
                    feed["lengths"] = np.array([48, 31])
                runs = {}
                if precision != "bf16":
                    runs["ONNX Runtime"] = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(None, feed)[0]
                with np.errstate(all="ignore"):
                    runs["the reference evaluator"] = ReferenceEvaluator(str(file)).run(None, feed)[0]
                for name, got in runs.items():
                    assert got.dtype == np.float32
                    if want is None:
                        want = got
                    here = np.arange(want.shape[1]) < feed["lengths"][:, None] if "lengths" in feed and "decoder_tokens" not in feed else np.ones(want.shape[:2], bool)
                    d = np.abs(got - want)[here].max() / np.abs(want)[here].max()
                    other = (got.argmax(2) != want.argmax(2))[here].mean()
                    print(f"{source.name} {precision} on {name}: {d:.1e}, another token at {100 * other:.1f} % of the positions", flush=True)
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
