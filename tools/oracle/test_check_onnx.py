"""What check_onnx.py must accept and refuse: python -m unittest discover tools/oracle"""
import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

import check_onnx

FLOAT = TensorProto.FLOAT


def model(*nodes, output=(2, 3), extra=(), value_info=(), initializers=()):
    x, y = (helper.make_tensor_value_info(n, FLOAT, s) for n, s in (("x", (2, 3)), ("y", output)))
    graph = helper.make_graph(nodes, "g", [x], [y], initializer=initializers, value_info=value_info)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18), *(helper.make_opsetid(d, 1) for d in extra)], ir_version=8)


def fused(out):
    return helper.make_node("FusedMatMul", ["x", "x"], [out], domain="com.microsoft", transB=1)


ADD = helper.make_node("Add", ["x", "x"], ["y"])
MS = "com.microsoft"
h = helper.make_tensor_value_info("h", FLOAT, (2, 2))
BRANCHES = dict(zip(("then_branch", "else_branch"), (
    helper.make_graph([helper.make_node("FusedMatMul", ["x", "x"], [n], domain=MS, transB=1)], n, [], [helper.make_tensor_value_info(n, FLOAT, (2, 2))]) for n in "ab")))
TRUE = numpy_helper.from_array(np.array(True), "yes")


class Check(unittest.TestCase):
    cases = [  # name, model, target, exit code, what the line must say
        ("good", model(ADD), "portable", 0, "target portable, ai.onnx:18, 1 nodes, 0 of them outside"),
        ("no manifest", model(ADD), None, 0, "target -"),
        ("no target", model(ADD), "", 1, "names no target"),
        ("wrong shape", model(ADD, output=(3, 2)), "portable", 1, "FAIL"),
        ("no such operator", model(helper.make_node("Ad", ["x", "x"], ["y"])), "portable", 1, "No Op registered for Ad"),
        ("missing input", model(helper.make_node("Add", ["x", "z"], ["y"])), "portable", 1, "FAIL"),
        ("foreign operator, portable", model(fused("y"), output=(2, 2), extra=[MS]), "portable", 1, "com.microsoft.FusedMatMul"),
        ("foreign import only, portable", model(ADD, extra=[MS]), "portable", 1, "operator set com.microsoft"),
        ("foreign operator in a branch, portable", model(helper.make_node("If", ["yes"], ["y"], **BRANCHES), output=(2, 2), extra=[MS], initializers=[TRUE]), "portable", 1, "com.microsoft.FusedMatMul"),
        ("foreign operator, ort", model(fused("y"), output=(2, 2), extra=[MS]), "ort", 0, "1 of them outside ai.onnx"),
        ("foreign operator inside, value declared", model(fused("h"), helper.make_node("Neg", ["h"], ["y"]), output=(2, 2), extra=[MS], value_info=[h]), "ort", 0, "2 nodes"),
        ("foreign operator inside, value not declared", model(fused("h"), helper.make_node("Neg", ["h"], ["y"]), output=(2, 2), extra=[MS]), "ort", 1, "FAIL"),
    ]

    def run_on(self, folder):
        out = io.StringIO()
        with mock.patch("sys.argv", ["check_onnx.py", str(folder)]), contextlib.redirect_stdout(out):
            return check_onnx.main(), out.getvalue()

    def test_cases(self):
        for name, m, target, code, says in self.cases:
            with self.subTest(name), tempfile.TemporaryDirectory() as folder:
                sub = Path(folder) / "study" / "variant"
                sub.mkdir(parents=True)
                save(m, sub / "grad.onnx")
                if target is not None:
                    (sub / "manifest.json").write_text(json.dumps({"target": target}))
                got, text = self.run_on(folder)
                self.assertEqual(got, code, text)
                self.assertIn(says, text)

    def test_nothing_to_check(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertEqual(self.run_on(folder)[0], 2)

    def test_one_bad_file_hides_no_other(self):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "a.onnx").write_bytes(b"not a model")
            save(model(ADD), Path(folder) / "b.onnx")
            code, text = self.run_on(folder)
            self.assertEqual(code, 1)
            self.assertIn("ok   ", text)
            self.assertIn("2 files, 1 failed", text)


if __name__ == "__main__":
    unittest.main()
