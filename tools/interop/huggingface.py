"""Hold what `march export --hf` writes against what `march export` writes: transformers' model and tokenizer in the one folder,
ONNX Runtime on infer.onnx in the other. Both are of one run.

    python tools/interop/huggingface.py HF_FOLDER ONNX_FOLDER [HF_FOLDER ONNX_FOLDER …]

Prints the largest difference of the logits, over random tokens of several lengths (with padding, for encoders), and leaves with 1
where one is above 1e-4 or no number. Needs transformers, torch, onnxruntime, numpy.
"""
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

BOUND = 1e-4
TEXT = "The cat sees the old dog. Naïve 日本 🙂\n\n  It's 1234 <|endoftext|> again"


def compare(hf: Path, onnx: Path) -> float:
    config = json.loads((hf / "config.json").read_text())
    masked = "MaskedLM" in config["architectures"][0]
    model, info = (AutoModelForMaskedLM if masked else AutoModelForCausalLM).from_pretrained(hf, output_loading_info=True, dtype=torch.float32)
    model.eval()
    for what in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[what], f"{what}: {info[what]}"
    tokenizer = AutoTokenizer.from_pretrained(hf)
    ids = tokenizer(TEXT)["input_ids"]
    assert tokenizer.decode(ids) == TEXT, tokenizer.decode(ids)
    session = onnxruntime.InferenceSession(onnx / "infer.onnx", providers=["CPUExecutionProvider"])
    rng, differences, longest = np.random.default_rng(1), [], tokenizer.model_max_length
    for batch, length in (1, 1), (2, longest // 2 + 3), (3, longest):
        tokens = rng.integers(3, tokenizer.vocab_size, (batch, length))  # not those of padding
        lengths = np.maximum(1, length - 5 * np.arange(batch))
        here = np.arange(length) < lengths[:, None]
        feed = {"tokens": tokens}
        if masked:
            tokens[~here] = config["pad_token_id"]
            feed["lengths"] = lengths
        with torch.no_grad():
            kwargs = {"attention_mask": torch.from_numpy(here.astype(np.int64))} if masked else {}
            theirs = model(torch.from_numpy(tokens), **kwargs).logits.numpy()
        ours = session.run(["logits"], feed)[0]
        difference = np.abs(theirs - ours)
        differences.append((difference[here] if masked else difference).max())
    worst = float(np.max(differences))  # which a NaN is not lost in, as in max
    print(f"{hf}: {config['architectures'][0]}, {sum(p.numel() for p in model.parameters()):,} parameters, logits up to {np.abs(ours).max():.1f}: they differ by {worst:.1e} at most")
    return worst


def main() -> int:
    folders = [Path(a) for a in sys.argv[1:]]
    if len(folders) < 2 or len(folders) % 2:
        sys.exit(__doc__)
    transformers.logging.set_verbosity_error()
    worst = np.max([compare(hf, onnx) for hf, onnx in zip(folders[::2], folders[1::2])])
    print(f"transformers {transformers.__version__}, torch {torch.__version__}, onnxruntime {onnxruntime.__version__}: {worst:.1e}, bound {BOUND:.0e}")
    return not worst <= BOUND


if __name__ == "__main__":
    sys.exit(main())
