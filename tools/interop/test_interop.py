"""python -m unittest discover tools/interop: the measure of errors, what errors name, and workers that die. Needs what interop.py needs."""
import sys
import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

from reference import error, scored
from runtimes import Runtime, Worker, pinned
from table import operator

# Answers as a worker does, but dies or hangs at some jobs.
ODD = r"""
import json, os, sys, time
print('RESULT {"runtime": "odd", "version": "1"}', flush=True)
for line in sys.stdin:
    model = json.loads(line)["model"]
    if model == "die": os.abort()
    if model == "hang": time.sleep(60)
    print("noise that is no answer")
    print('RESULT {"ok": true}', flush=True)
"""


class TestInterop(unittest.TestCase):
    def test_error(self):
        want = {"a.new": np.array([1.0, 1000.0]), "b.new": np.array([1e-9]), "logits": np.array([10.0]), "count": np.array(3), "top": np.array([1, -1])}
        got = {n: x.copy() for n, x in want.items()}
        self.assertEqual(error(got, want), 0)
        got["a.new"][0] += 0.1  # of a largest entry of 1000
        self.assertAlmostEqual(error(got, want), 1e-4)
        got["logits"][0] += 0.5  # absolute
        self.assertAlmostEqual(error(got, want), 0.5)
        got["top"][1] = 7  # too close to call
        self.assertAlmostEqual(error(got, want), 0.5)
        for name, wrong in (("count", np.array(4)), ("top", np.array([2, -1])), ("logits", np.array([np.nan])), ("logits", np.array([[10.0]]))):
            with self.assertRaisesRegex(ValueError, name):
                error(got | {name: wrong}, want)
        with self.assertRaisesRegex(ValueError, "missing"):
            error({}, want)

    def test_scored(self):
        labels = torch.tensor([[-100, 4, 5, -100], [6, -100, 7, 8]])  # labels at 1, 2, 4, 6, 7
        for size, want in ((-1, [7, 4, 1]), (8, [7, 4, 1, 0, 2, 3, 5, 6]), (4, [7, 4, 1, 0])):
            got = scored(labels, {"inputs": [{"name": "labels", "shape": [size]}, {"name": "scored", "shape": [size]}]})
            self.assertEqual(got.numpy().tolist(), want)
            self.assertTrue(got.is_contiguous())  # the files' writer knows no strides

    def test_operator(self):
        for text, name in (
            ("NotImplementedError: Converter is not implemented (OperationDescription(domain='', operation_type='LessOrEqual', version=16))", "LessOrEqual-16"),
            ('Failed analyse for node #2 "decoder.0.attn/range" Range', "Range"),
            ("Non-zero status code returned while running Gemm node. Name:'x'", "Gemm"),
            ("RuntimeError: shape '[2, 12, -1]' is invalid for input of size 12", "Reshape"),
            ("crash: signal 11", ""),
        ):
            self.assertEqual(operator(text), name)

    def test_worker(self):
        with tempfile.TemporaryDirectory() as folder:
            w = Worker(Runtime("odd", "", lambda _: ([sys.executable, "-c", ODD], {})), Path(folder), 2)
            self.assertEqual(w.run({"model": "good"}), {"ok": True})
            self.assertEqual(w.run({"model": "die"}), {"error": "crash: signal 6"})
            self.assertEqual(w.run({"model": "good"}), {"ok": True})
            self.assertIn("no answer within 2 s", w.run({"model": "hang"})["error"])
            self.assertEqual(w.run({"model": "good"}), {"ok": True})
            w.stop()
            w.log.close()

    def test_pinned(self):
        self.assertRegex(pinned("Version"), r"^\d+\.\d+\.\d+$")
        with self.assertRaisesRegex(ValueError, "Nothing"):
            pinned("Nothing")


if __name__ == "__main__":
    unittest.main()
