"""python -m unittest discover tools/gpu"""
import importlib.machinery, importlib.util, io, json, os, struct, sys, tempfile, unittest
from contextlib import redirect_stdout

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True


def load(name):
    loader = importlib.machinery.SourceFileLoader(name.removesuffix(".py"), os.path.join(HERE, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


pack, table = load("pack"), load("table.py")


def fat_binary(*images):
    """A fat binary of (generation, code) pairs, with headers as the CUDA compiler writes them."""
    body = b""
    for generation, code in images:
        header = bytearray(64)
        struct.pack_into("<HHIQ", header, 0, 2, 0x101, 64, len(code))
        struct.pack_into("<I", header, 28, generation)
        body += bytes(header) + code
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


class Strip(unittest.TestCase):
    def test_one_generation_is_left(self):
        library = b"before" + fat_binary((75, b"a" * 40), (90, b"b" * 48)) + b"between" + pack.FAT_MAGIC + b"x" * 40 + fat_binary((90, b"c" * 8)) + b"after"
        cut = bytearray(library)
        self.assertEqual(pack.strip(cut, 90, None), (56, 40, 0))
        self.assertEqual(bytes(cut), library.replace(b"a" * 40, bytes(40)))

    def test_unused_kernels_go(self):
        def code(*names):
            return pack.ZSTD_MAGIC + b"".join(b"\x00.text._Z" + n for n in names) + b"\x00"

        moe, softmax = code(b"N7cutlass6KernelINS_3MoE"), code(b"7softmax")
        mixed = code(b"7softmax", b"N7cutlass6KernelINS_3MoE")
        cut = bytearray(fat_binary((90, moe)) + fat_binary((90, softmax)) + fat_binary((90, mixed)) + fat_binary((90, b"plain code, whatever moe it says")))
        kept, others, useless = pack.strip(cut, 90, lambda data: data)
        self.assertEqual((others, useless), (0, len(moe)))
        left = {bytes(cut[start:end]): generation for generation, _, start, end in pack.images(cut)}
        self.assertEqual(left[bytes(len(moe))], 75)  # the driver is not to take zeros for code of its generation
        self.assertEqual(left[softmax], 90)
        self.assertEqual(left[mixed], 90)
        self.assertEqual(kept, len(softmax) + len(mixed) + len(b"plain code, whatever moe it says"))


class Table(unittest.TestCase):
    def test_best_of_each(self):
        with tempfile.TemporaryDirectory() as d:
            with open(os.path.join(d, "march-P1.json"), "w") as f:
                json.dump([{"ms": 30.0, "precision": "tf32"}, {"ms": 12.0, "precision": "bf16", "device_gb": 5.5}], f)
            with open(os.path.join(d, "peers-P1.jsonl"), "w") as f:
                f.write('a warning\n{"ms": 20.0, "peer": "eager", "precision": "bf16"}\n{"ms": 16.0, "peer": "compile", "precision": "bf16", "process_gb": 4.0}\n'
                        '{"workload": "P1", "mode": "reduce-overhead", "error": "no"}\n')
            sys.argv, out = ["table.py", d, "P1", "P2"], io.StringIO()
            with redirect_stdout(out):
                table.main()
        lines = [line.split() for line in out.getvalue().splitlines()]
        self.assertEqual(lines[1][:6], ["P1", "12.00", "16.00", "0.75", "5.50", "4.00"])
        self.assertIn("compile,", lines[1])
        self.assertEqual(lines[2][:6], ["P2"] + ["-"] * 5)


if __name__ == "__main__":
    unittest.main()
