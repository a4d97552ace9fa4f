"""Two models side by side: what is the same, what differs and by how much, whatever the formats."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from small_graphs import freeze, small_net
from tensorferry import convert, diff
from tensorferry.cli import app
from tensorferry.errors import OptionError
from tensorferry.ir import Graph, Port, Typed
from tensorferry.tensor import DType
from tensorferry.writers.graphdef import write_graphdef


def call(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def product(path: Path, *, name: str = "kernel", change: float = 0.0, width: int = 4, op: str = "Relu") -> Path:
    """y = op(x @ kernel + bias); `change` is added to one element of the kernel."""
    graph = Graph("product")
    typed = Typed(DType.FLOAT32, (2, 3))
    image = graph.add("Placeholder", (), {"dtype": typed.dtype, "shape": typed.shape}, typed=[typed], name="x").output
    values = np.random.default_rng(0).standard_normal((3, width)).astype(np.float32)
    values[1, 2] += change
    kernel = graph.constant(values, name)
    bias = graph.constant(np.arange(width, dtype=np.float32), "bias")
    out = Typed(DType.FLOAT32, (2, width))
    attrs = {"transpose_a": False, "transpose_b": False, "T": DType.FLOAT32}
    made = graph.add("MatMul", [image, kernel], attrs, typed=[out], name="product").output
    added = graph.add("BiasAdd", [made, bias], {"T": DType.FLOAT32, "data_format": "NHWC"}, typed=[out], name="sum").output
    result = graph.add(op, [added], {"T": DType.FLOAT32}, typed=[out], name="y").output
    graph.inputs, graph.outputs = [Port("x", image)], [Port("y", result)]
    write_graphdef(graph, path, [])
    return path


def test_a_model_is_the_same_as_itself(tmp_path):
    one, other = product(tmp_path / "a.pb"), product(tmp_path / "b.pb")
    found = diff(one, other, run=True)
    assert (found.same, found.weights_same, found.before.parameters) == (True, 2, 16)
    assert found.outputs[0].max_absolute == 0
    assert call("diff", one, other).exit_code == 0


def test_a_changed_weight_is_named_with_its_distance(tmp_path):
    one, other = product(tmp_path / "a.pb"), product(tmp_path / "b.pb", change=0.25)
    found = diff(one, other, run=True)
    (weight,) = found.weights
    assert (weight.before, weight.matched, weight.elements, weight.differing) == ("kernel", "name", 12, 1)
    assert weight.max_absolute == pytest.approx(0.25, abs=1e-6)
    assert (found.weights_same, found.ops_added, found.ports) == (1, {}, ())
    assert not found.outputs[0].passed
    result = call("diff", one, other)
    assert (result.exit_code, "2.50e-01" in result.output, "1 of 12" in result.output) == (1, True, True)


def test_a_renamed_weight_is_found_by_its_content_and_no_difference(tmp_path):
    found = diff(product(tmp_path / "a.pb"), product(tmp_path / "b.pb", name="weights/w"))
    assert (found.same, found.weights_same, found.weights_renamed) == (True, 2, 1)


def test_a_renamed_and_changed_weight_is_found_by_its_place(tmp_path):
    found = diff(product(tmp_path / "a.pb"), product(tmp_path / "b.pb", name="weights/w", change=1.0))
    (weight,) = found.weights
    assert (weight.before, weight.after, weight.matched) == ("kernel", "weights/w", "position")
    assert weight.max_absolute == pytest.approx(1.0, abs=1e-6)


def test_another_shape_and_another_op_are_told(tmp_path):
    found = diff(product(tmp_path / "a.pb"), product(tmp_path / "b.pb", width=5, op="Tanh"))
    assert (found.ops_gone, found.ops_added) == ({"Relu": 1}, {"Tanh": 1})
    kernel = next(weight for weight in found.weights if weight.before == "kernel")
    assert (kernel.before_type, kernel.after_type, kernel.max_absolute) == ("float32 [3,4]", "float32 [3,5]", None)
    (port,) = found.ports
    assert (port.role, port.before, port.after) == ("output", "float32 [2,4]", "float32 [2,5]")


def test_a_converted_model_holds_the_weights_of_its_source(tmp_path):
    source = freeze(tmp_path / "net.pb", small_net)
    names = {"inputs": ["image"], "outputs": ["scores"]}
    convert(source, [tmp_path / "saved", tmp_path / "back.ckpt"], to=["savedmodel", "checkpoint"], verify=False, **names)
    found = diff(source, tmp_path / "saved", outputs=["scores"])
    assert (found.weights, found.weights_added, found.weights_gone, found.ports) == ((), (), (), ())
    assert found.weights_same > 0
    lite = tmp_path / "net.tflite"
    convert(source, lite, verify=False, **names)
    ran = diff(source, lite, run=True, outputs=["scores"])
    assert [output.passed for output in ran.outputs] == [True]


def test_json_is_complete_and_strict(tmp_path):
    one, other = product(tmp_path / "a.pb"), product(tmp_path / "b ü.pb", change=float("inf"))
    result = call("diff", one, other, "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["same"]) == (1, False)
    assert document["weights"][0]["max_absolute"] is None  # infinity, which JSON lacks
    assert document["after"]["path"].endswith("b ü.pb")


def test_what_cannot_be_read_is_exit_code_2(tmp_path):
    one = product(tmp_path / "a.pb")
    (tmp_path / "bad.pb").write_bytes(one.read_bytes()[:-20])
    assert call("diff", one, tmp_path / "bad.pb").exit_code == 2
    assert call("diff", one, tmp_path / "absent.pb").exit_code == 2
    assert call("diff", one).exit_code == 2


def test_models_of_other_names_are_not_run_on_each_others_inputs(tmp_path):
    one, other = product(tmp_path / "a.pb"), freeze(tmp_path / "net.pb", small_net)
    with pytest.raises(OptionError):
        diff(one, other, run=True)


def test_not_a_number_equals_itself(tmp_path):
    one, other = (product(tmp_path / f"{name}.pb", change=float("nan")) for name in "ab")
    assert diff(one, other).same


def test_large_weights_are_streamed(tmp_path):
    """Two files of 96 MB each, compared in a process that stays far below one of them."""
    for name in ("a", "b"):
        graph = Graph("large")
        values = np.zeros((24, 1 << 20), np.float32)
        values[5, 7] = name == "b"
        large = graph.constant(values, "large")
        typed = Typed(DType.FLOAT32, (1, 24))
        given = graph.add("Placeholder", (), {"dtype": DType.FLOAT32, "shape": (1, 24)}, typed=[typed], name="x").output
        out = Typed(DType.FLOAT32, (1, 1 << 20))
        attrs = {"transpose_a": False, "transpose_b": False, "T": DType.FLOAT32}
        made = graph.add("MatMul", [given, large], attrs, typed=[out], name="y").output
        graph.inputs, graph.outputs = [Port("x", given)], [Port("y", made)]
        write_graphdef(graph, tmp_path / f"{name}.pb", [])
    code = (
        "import sys, tensorferry, tensorferry.conversion, tensorferry.difference\n"
        "from tensorferry.report import peak_memory\n"
        "before = peak_memory(); found = tensorferry.diff(*sys.argv[1:])\n"
        "print(found.weights[0].differing, found.weights[0].max_absolute, peak_memory() - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "a.pb"), str(tmp_path / "b.pb")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    differing, largest, grown = result.stdout.split()
    assert (differing, largest) == ("1", "1.0")
    assert int(grown) < 48 << 20
