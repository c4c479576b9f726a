#!/usr/bin/env python3
"""Train twenty steps in every language and compare the losses with those of `march train` on the same batches: `make examples`.

    python examples/run.py [LANGUAGE…]      # python javascript rust java page; all but page if none is given

Needs bin/march, and for each language its tools (node and npm; cargo; javac and mvn); ONNX Runtime comes from each language's own package
registry, for Rust from march's set-up. A language without its tools is a failure that says so. page opens the page of the JavaScript
example in headless Chromium, trains there on a text that it types, and leaves a picture.
"""
import argparse
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
WORK = ROOT / "bin" / "examples"
RATE, STEPS, BOUND = 0.003, 20, 1e-4
MODEL = ["--variant", "baseline", "--scale", "tiny", "--batch", "4", "--set", "length=32", "--set", "training.tokens_per_step=128"]
CONSTANT = ["--rate", str(RATE), "--set", "training.schedule=constant", "--set", "training.warmup=0", "--steps", str(STEPS)]
PAGE = ["--variant", "baseline", "--scale", "tiny", "--vocab", "256", "--batch", "4", "--set", "length=64", "--set", "d=64", "--set", "heads=4",
        "--set", "qkv_dim=16", "--set", "ff=256", "--set", "share.unique=2", "--set", "share.uses=2"]
PAGE_STEPS = 60
JAVA = "com.microsoft.onnxruntime:onnxruntime:1.29.0"


def call(*command, cwd: Path | None = None, **env: str) -> str:
    if not (shutil.which(command[0]) or Path(command[0]).exists()):
        raise RuntimeError(f"there is no {command[0]} here")
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=os.environ | env, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command[:3]))} …: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def expected() -> list[float]:
    """march's own losses; the program and the batches lie in WORK then."""
    march = ROOT / "bin" / "march"
    shutil.rmtree(WORK / "run", ignore_errors=True)
    shutil.rmtree(WORK / "batches", ignore_errors=True)
    call(march, "train", *MODEL, *CONSTANT, "--device", "cpu", "--suite", "none", "--out", WORK / "run")
    call(march, "train", *MODEL, *CONSTANT, "--device", "cpu", "--save-batches", WORK / "batches.safetensors", "--out", WORK / "batches")
    call(march, "gen", *MODEL, "--out", WORK / "program")
    return [json.loads(line)["loss"] for line in (WORK / "run" / "metrics.jsonl").read_text().splitlines()]


GIVEN = [WORK / "program", WORK / "batches.safetensors", str(RATE)]


def python() -> str:
    return call(sys.executable, HERE / "python" / "train.py", *GIVEN)


def javascript() -> str:
    folder = HERE / "javascript"
    modules(folder)
    return call("node", folder / "train.mjs", *GIVEN)


def rust() -> str:
    target = WORK / "rust"
    call("cargo", "build", "--quiet", "--manifest-path", HERE / "rust" / "Cargo.toml", CARGO_TARGET_DIR=str(target))
    library = json.loads(call(ROOT / "bin" / "march", "doctor", "--json"))["library"]
    return call(target / "debug" / "train", *GIVEN, ORT_DYLIB_PATH=library)


def java() -> str:
    jar = WORK / "java" / f"onnxruntime-{JAVA.rsplit(':', 1)[1]}.jar"
    if not jar.exists():
        call("mvn", "-q", "-B", "dependency:copy", f"-Dartifact={JAVA}", f"-DoutputDirectory={jar.parent}")
    call("javac", "-cp", jar, "-d", WORK / "java", HERE / "java" / "Train.java")
    return call("java", "-cp", f"{jar}{os.pathsep}{WORK / 'java'}", "Train", *GIVEN)


def modules(folder: Path) -> None:
    if not all((folder / "node_modules" / name).exists() for name in ("onnxruntime-web", "puppeteer-core")):
        call("npm", "install", "--silent", "--no-package-lock", "--ignore-scripts", cwd=folder)


def page() -> str:
    """What the page came to; its loss must fall below half of what knowing nothing costs."""
    folder, picture = HERE / "javascript", WORK / "page.png"
    modules(folder)
    call(ROOT / "bin" / "march", "gen", *PAGE, "--out", WORK / "page")
    with subprocess.Popen(["node", folder / "serve.mjs", WORK / "page", "0"], stdout=subprocess.PIPE, text=True) as server:
        try:
            loss = float(call("node", folder / "watch.mjs", server.stdout.readline().strip(), str(PAGE_STEPS), picture))
        finally:
            server.terminate()
    if not loss < math.log(256) / 2:
        raise RuntimeError(f"loss {loss} after {PAGE_STEPS} steps, wanted less than {math.log(256) / 2:.2f}")
    return f"loss {loss} a byte after {PAGE_STEPS} steps in Chromium; picture in {picture.relative_to(ROOT)}"


LANGUAGES = {f.__name__: f for f in (python, javascript, rust, java)}


def main() -> int:
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("languages", nargs="*", metavar="LANGUAGE", help=" ".join([*LANGUAGES, "page"]))
    chosen = ap.parse_args().languages or list(LANGUAGES)
    if unknown := [n for n in chosen if n not in LANGUAGES and n != "page"]:
        ap.error(f"there is no example in {', '.join(unknown)}; wanted {', '.join(LANGUAGES)} or page")
    if not (ROOT / "bin" / "march").exists():
        ap.error("there is no bin/march; make build makes it")
    WORK.mkdir(parents=True, exist_ok=True)
    want, failed = [], 0
    if chosen != ["page"]:
        want = expected()
        print(f"march train: {len(want)} losses from {want[0]:.6f} to {want[-1]:.6f}", flush=True)
    for name in chosen:
        try:
            if name == "page":
                print(f"{name:11} {page()}", flush=True)
                continue
            got = [float(line) for line in LANGUAGES[name]().split()]
            if len(got) != len(want):
                raise RuntimeError(f"{len(got)} losses, wanted {len(want)}")
            largest = max((abs(g / w - 1) for g, w in zip(got, want)), key=lambda d: (math.isnan(d), d))  # a NaN is the largest
            failed += not largest <= BOUND
            print(f"{name:11} {len(got)} losses, largest relative difference {largest:.1e}{'' if largest <= BOUND else f': more than {BOUND:.0e}'}", flush=True)
        except RuntimeError as e:
            failed += 1
            print(f"{name:11} failed: {e}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
