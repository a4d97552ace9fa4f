"""Plans as files: written, followed to the same bytes, refused where they do not fit."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tensorferry
from quantised_nets import Net, classifier
from tensorferry.errors import OptionError
from tensorferry.ir import Graph
from tensorferry.tensor import Array
from tensorferry.writers.graphdef import write_graphdef


def samples(graph: Graph, count: int = 4) -> list[dict[str, Array]]:
    random = np.random.default_rng(5)
    return [
        {port.name: random.normal(size=port.value.static_shape).astype(np.float32) for port in graph.inputs} for _ in range(count)
    ]


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> tuple[Path, Graph]:
    graph = classifier()
    path = tmp_path_factory.mktemp("plans") / "net.pb"
    write_graphdef(graph, path)
    return path, graph


def planned(source: tuple[Path, Graph], tmp_path: Path, mode: str, **options) -> tuple[Path, Path]:
    """A file and the plan it was made by."""
    path, graph = source
    target, plan = tmp_path / "first.tflite", tmp_path / "plan.json"
    if mode != "float16":
        options.setdefault("calibrate", samples(graph))
    tensorferry.convert(path, target, quantize=mode, plan_out=plan, **options)
    return target, plan


@pytest.mark.parametrize("mode", ["dynamic", "float16", "weights4", "int8", "int16x8"])
def test_a_plan_is_followed_to_the_same_bytes(source, tmp_path, mode):
    first, plan = planned(source, tmp_path, mode)
    again, plan_again = tmp_path / "again.tflite", tmp_path / "again.json"
    calibrate = None if mode == "float16" else samples(source[1])
    report = tensorferry.convert(source[0], again, plan=plan, plan_out=plan_again, calibrate=calibrate)
    assert again.read_bytes() == first.read_bytes()
    assert plan_again.read_bytes() == plan.read_bytes()
    assert report.targets[0].quantisation["mode"] == mode
    assert report.verified


@pytest.mark.parametrize("mode", ["int8", "int16x8"])
def test_without_corrections_no_samples_are_needed(source, tmp_path, mode):
    io = "uint8" if mode == "int8" else "int16"
    first, plan = planned(source, tmp_path, mode, corrections="none", io_dtype=io)
    again = tmp_path / "again.tflite"
    assert tensorferry.convert(source[0], again, plan=plan).verified
    assert again.read_bytes() == first.read_bytes()


def test_corrections_need_the_samples_again(source, tmp_path):
    _, plan = planned(source, tmp_path, "int8")
    with pytest.raises(OptionError, match="fitted to samples"):
        tensorferry.convert(source[0], tmp_path / "again.tflite", plan=plan)
    assert not (tmp_path / "again.tflite").exists()


def test_a_plan_says_what_becomes_of_each_tensor_and_why(source, tmp_path):
    _, plan = planned(source, tmp_path, "int8", keep_float=["SOFTMAX"])
    content = json.loads(plan.read_text())
    by_name = {each["name"]: each for each in content["operators"]}
    data, weight, bias = by_name["first/act"]["inputs"]
    assert (data["tensor"], data["dtype"], weight["axis"], len(weight["scale"]), bias["dtype"]) == ("image", "int8", 0, 32, "int32")
    np.testing.assert_allclose(bias["scale"], np.asarray(weight["scale"]) * data["scale"][0], rtol=1e-6)
    assert by_name["classes"]["why"] == "asked for"


# -- plans that do not fit -----------------------------------------------------------------------------------------


def entry(content, name):
    return next(each for each in content["operators"] if each["name"] == name)


SPOILT = {
    "another mode": lambda plan: plan.update(mode="int7"),
    "another format": lambda plan: plan.update(format="x"),
    "another version": lambda plan: plan.update(version=2),
    "another model": lambda plan: plan.update(counts=[3]),
    "an operator elsewhere": lambda plan: entry(plan, "first/act").update(place=99),
    "a negative place": lambda plan: entry(plan, "first/act").update(place=-1),
    "a place that is no number": lambda plan: entry(plan, "first/act").update(place="0"),
    "another operator": lambda plan: entry(plan, "first/act").update(operator="SIN"),
    "an operator twice": lambda plan: plan["operators"].append(entry(plan, "first/act")),
    "too few tensors": lambda plan: entry(plan, "first/act")["inputs"].pop(),
    "another tensor": lambda plan: entry(plan, "first/act")["inputs"][0].update(tensor="y"),
    "another type": lambda plan: entry(plan, "first/act")["inputs"][0].update(dtype="float64"),
    "no scale": lambda plan: entry(plan, "first/act")["inputs"][0].pop("scale"),
    "a scale of zero": lambda plan: entry(plan, "first/act")["inputs"][0].update(scale=[0]),
    "a scale that is text": lambda plan: entry(plan, "first/act")["inputs"][0].update(scale=["1"]),
    "a zero point too far": lambda plan: entry(plan, "first/act")["inputs"][0].update(zero_point=300),
    "too few scales": lambda plan: entry(plan, "first/act")["inputs"][1]["scale"].pop(),
    "another axis": lambda plan: entry(plan, "first/act")["inputs"][1].update(axis=9),
    "a computed tensor as float16": lambda plan: entry(plan, "first/act")["inputs"][0].update(dtype="float16"),
    "a grid that the kernel does not have": lambda plan: entry(plan, "classes")["outputs"][0].update(scale=[0.5]),
    "an operator that falls away": lambda plan: entry(plan, "first/act").update(removed=True),
    "operators that are no list": lambda plan: plan.update(operators={}),
    "an entry that is no record": lambda plan: plan["operators"].append(3),
    "inputs of a subgraph that is not there": lambda plan: plan.update(inputs={"7": []}),
    "notices that are no texts": lambda plan: plan.update(notices=[1]),
    "strange corrections": lambda plan: plan.update(corrections=["magic"]),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_plan_that_does_not_fit_is_refused(source, tmp_path, what):
    _, plan = planned(source, tmp_path, "int8", corrections="none", io_dtype="int8", verify=False)
    content = json.loads(plan.read_text())
    SPOILT[what](content)
    plan.write_text(json.dumps(content))
    with pytest.raises(OptionError, match="plan"):
        tensorferry.convert(source[0], tmp_path / "again.tflite", plan=plan)
    assert not (tmp_path / "again.tflite").exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"format": NaN}', "[" * 100_000, '{"format": 1e999}'])
def test_what_is_no_plan_is_refused(source, tmp_path, text):
    plan = tmp_path / "plan.json"
    plan.write_text(text)
    with pytest.raises(OptionError, match="plan"):
        tensorferry.convert(source[0], tmp_path / "net.tflite", plan=plan)


def test_a_plan_for_another_net_is_refused(source, tmp_path):
    _, plan = planned(source, tmp_path, "dynamic", corrections="none")
    net = Net(1, 4)
    net.dense("other", 3)
    write_graphdef(net.done("other"), tmp_path / "other.pb")
    with pytest.raises(OptionError, match="plan"):
        tensorferry.convert(tmp_path / "other.pb", tmp_path / "other.tflite", plan=plan)


@pytest.mark.parametrize("extra", [{"quantize": "int8"}, {"keep_float": ["x"]}, {"per_tensor": True}, {"corrections": "none"}])
def test_what_the_plan_says_is_not_said_twice(source, tmp_path, extra):
    with pytest.raises(OptionError):
        tensorferry.convert(source[0], tmp_path / "net.tflite", plan=tmp_path / "plan.json", **extra)


def test_no_plan_appears_when_the_conversion_fails(source, tmp_path):
    with pytest.raises(tensorferry.errors.VerificationError):
        planned(source, tmp_path, "int8", tolerance=1e-9)
    assert list(tmp_path.iterdir()) == []
