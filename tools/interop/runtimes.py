"""The runtimes of the matrix: how each is installed, and how its worker is started and asked (worker.py has the protocol).

Each is installed by its registry's own client into a folder of the work folder, beside the others, so that two versions of one package do
not meet. A worker is a process of its own: what crashes or hangs costs one cell.
"""
import json
import os
import re
import selectors
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def pinned(constant: str) -> str:
    """A version of ONNX Runtime that march names (runtime/ortlib/ortlib.go)."""
    text = (ROOT / "runtime" / "ortlib" / "ortlib.go").read_text()
    if not (found := re.search(rf'^\s*{constant}\s*=\s*"([\d.]+)"', text, re.M)):
        raise ValueError(f"runtime/ortlib/ortlib.go has no {constant}")
    return found[1]


@dataclass(frozen=True)
class Runtime:
    name: str  # a column
    about: str
    command: Callable[[Path], tuple[list[str], dict[str, str]]]  # installs into the folder; the worker's arguments and environment
    reads: bool = False  # it only reads files


def pip(runtime: str, *packages: str, deps: bool = True):
    def command(work: Path):
        folder = work / "-".join(packages).replace("==", "-").replace("*", "x")
        once(folder, [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), *([] if deps else ["--no-deps"]), *packages])
        return [sys.executable, str(HERE / "worker.py"), runtime], {"PYTHONPATH": str(folder)}

    return command


def here(runtime: str):
    return lambda work: ([sys.executable, str(HERE / "worker.py"), runtime], {})


def npm(*packages: str):
    def command(work: Path):
        folder = work / "-".join(packages).replace("@", "-")
        once(folder, ["npm", "install", "--silent", "--no-save", "--ignore-scripts", "--prefix", str(folder), *packages])
        return ["node", str(HERE / "web.mjs"), str(folder)], {}

    return command


def cargo(work: Path):
    target = work / "tract"
    target.mkdir(parents=True, exist_ok=True)
    check(["cargo", "build", "--quiet", "--release", "--manifest-path", str(HERE / "tract" / "Cargo.toml")], env={"CARGO_TARGET_DIR": str(target)})
    return [str(target / "release" / "interop-tract")], {}


def go(work: Path):
    binary = work / "decode"
    check(["go", "build", "-o", str(binary), "./tools/interop/decode"], cwd=ROOT)
    return [str(binary)], {}


RUNTIMES = [
    Runtime("ORT", "ONNX Runtime, the version that march pins", pip("onnxruntime", f"onnxruntime=={pinned('Version')}")),
    Runtime("ORT oldest", "the oldest ONNX Runtime that march supports", pip("onnxruntime", f"onnxruntime=={pinned('MinVersion')}.*")),
    Runtime("reference", "onnx's reference evaluator", here("reference")),
    Runtime("web", "onnxruntime-web: WebAssembly, here in Node", npm(f"onnxruntime-web@{pinned('Version')}")),
    Runtime("OpenVINO", "OpenVINO on the CPU, in float32", pip("openvino", "openvino==2026.4.1")),
    Runtime("tract", "tract, in Rust", cargo),
    Runtime("onnx2torch", "onnx2torch, an importer into PyTorch", pip("onnx2torch", "onnx2torch==1.5.15", "torchvision==0.29.2", "pillow==13.0.0", deps=False)),
    Runtime("onnx-go", "onnx-go, in Go: reads files and runs none", go, reads=True),
]


def once(folder: Path, install: list[str]) -> None:
    """Runs an installer unless it ended well before."""
    done = folder / ".installed"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        check(install)
        done.touch()


def check(command: list[str], env: dict[str, str] | None = None, cwd: Path | None = None) -> None:
    print("  " + " ".join(command), file=sys.stderr, flush=True)
    done = subprocess.run(command, env=os.environ | (env or {}), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:4])} …: exit code {done.returncode}: {done.stdout.strip()[-300:]}")


class Worker:
    """A runtime's process. It is started when first needed, and again behind a job that it did not survive."""

    def __init__(self, runtime: Runtime, work: Path, timeout: float):
        self.runtime, self.timeout = runtime, timeout
        self.argv, self.env = runtime.command(work / "runtimes")
        self.log = (work / f"{runtime.name.replace(' ', '-')}.log").open("a")
        self.process, self.version = None, ""
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.argv, env=os.environ | self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        self.rest = b""
        answer = self.answer(max(60.0, self.timeout))
        if "version" not in answer:
            raise RuntimeError(f"{self.runtime.name} does not start: {answer.get('error')} (more in {self.log.name})")
        self.version = answer["version"]

    def run(self, job: dict[str, str]) -> dict:
        """The answer of worker.py's protocol; a crash or a timeout is an error too."""
        if self.process is None:
            self.start()
        try:
            self.process.stdin.write((json.dumps(job) + "\n").encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # how it ended is read below
        return self.answer(self.timeout)

    def answer(self, seconds: float) -> dict:
        end = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while True:
                while b"\n" in self.rest:
                    line, self.rest = self.rest.split(b"\n", 1)
                    if line.startswith(b"RESULT "):
                        return json.loads(line[7:])
                if not selector.select(max(0.0, end - time.monotonic())):
                    self.stop()
                    return {"error": f"no answer within {seconds:.0f} s"}
                if not (more := os.read(self.process.stdout.fileno(), 1 << 16)):
                    code = self.process.wait()
                    self.stop()
                    return {"error": f"crash: {'signal' if code < 0 else 'exit code'} {abs(code)}"}
                self.rest += more

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass  # a job that it did not take
            self.process = None
