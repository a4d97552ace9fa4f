"""Budgets of error and size, kept by the files that are written."""

from __future__ import annotations

import numpy as np
import pytest

import tensorferry
from quantised_nets import Net, walk
from tensorferry.errors import OptionError
from tensorferry.quant.budget import BudgetError
from tensorferry.quant.mixing import relative_error
from tensorferry.runtimes.litert import LiteRtModel
from tensorferry.tensor import DType
from tensorferry.writers.graphdef import write_graphdef

SAMPLES = [{"image": np.random.default_rng(seed).normal(size=(1, 12, 12, 8)).astype(np.float32)} for seed in range(6)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Channels of each layer differ a hundredfold, which one scale for all of them serves badly."""
    net = Net(1, 12, 12, 8)
    net.conv("first", 24)
    net.depthwise("deep")
    net.conv("second", 32, size=1)
    net.depthwise("deeper")
    net.conv("third", 16, activation="Relu")
    net.then("Mean", "pooled", np.array([1, 2], np.int32))
    net.dense("logits", 40)
    path = tmp_path_factory.mktemp("net") / "net.pb"
    write_graphdef(net.done("logits"), path)
    return path


def run_all(path, samples=SAMPLES):
    with LiteRtModel(path) as model:
        return [{name: array.copy() for name, array in model.run(each).items()} for each in samples]


def convert(source, folder, **options):
    options = {"calibrate": SAMPLES, "outputs": ["logits"], **options}
    report = tensorferry.convert(source, folder / "net.tflite", **options)
    return folder / "net.tflite", report.targets[0]


def error_of(path, source, folder):
    """By the book, from the outputs alone."""
    tensorferry.convert(source, folder / "float.tflite", outputs=["logits"])
    pairs = zip(run_all(folder / "float.tflite"), run_all(path), strict=True)
    apart, whole = zip(*((np.square(b["logits"] - a["logits"]).sum(), np.square(a["logits"]).sum()) for a, b in pairs), strict=True)
    return float(np.sqrt(np.sum(apart, dtype=np.float64) / np.sum(whole, dtype=np.float64)))


@pytest.mark.parametrize("mode", ["int8", "dynamic"])
def test_an_error_is_kept_with_some_operators_in_float(source, tmp_path, mode):
    path, target = convert(source, tmp_path, quantize=mode, max_error=10.0)
    coarse, smallest = error_of(path, source, tmp_path), path.stat().st_size
    assert any("all" in note and "operators are quantised" in note and "1 trial on 6" in note for note in target.notices)
    path, target = convert(source, tmp_path, quantize=mode, max_error=coarse / 2)
    assert error_of(path, source, tmp_path) <= coarse / 2
    largest = (tmp_path / "float.tflite").stat().st_size
    assert smallest < path.stat().st_size < largest
    (note,) = (note for note in target.notices if "stay float for the budget" in note)
    assert f"(at most {coarse / 2:g})" in note and f"error {coarse:.3g}" in note


def test_a_size_is_kept_and_used(source, tmp_path):
    path, _ = convert(source, tmp_path, quantize="int8")
    smallest, coarse = path.stat().st_size, error_of(path, source, tmp_path)
    largest = (tmp_path / "float.tflite").stat().st_size
    limit = smallest + (largest - smallest) // 2
    path, _ = convert(source, tmp_path, quantize="int8", max_size=limit)
    assert smallest < path.stat().st_size <= limit
    assert error_of(path, source, tmp_path) < coarse


def test_inputs_may_be_whole_numbers_and_a_metric_of_ones_own_decides(source, tmp_path):
    seen = []

    def share_of_other_winners(reference, outputs):
        seen.append(len(outputs))
        return float(np.mean([a["logits"].argmax() != b["logits"].argmax() for a, b in zip(reference, outputs, strict=True)]))

    path, target = convert(source, tmp_path, quantize="int8", io_dtype="int8", max_error=0.01, metric=share_of_other_winners)
    assert set(seen) == {6}
    with LiteRtModel(path) as model:
        assert model.inputs[0].dtype == np.int8 or any("stay float" in note for note in target.notices)


def test_the_reason_stands_in_the_plan(source, tmp_path):
    path, _ = convert(source, tmp_path, quantize="int8", max_error=10.0)
    coarse = error_of(path, source, tmp_path)
    _, target = convert(source, tmp_path, quantize="int8", max_error=coarse / 2)
    reasons = [each["why"] for each in target.as_dict()["quantisation"]["float"]]
    assert any(why.startswith("it alone moves the result by 0.") for why in reasons)


def test_what_is_spared_may_compute_in_sixteen_bits(source, tmp_path):
    path, _ = convert(source, tmp_path, quantize="int8", max_error=10.0)
    coarse = error_of(path, source, tmp_path)
    path, target = convert(source, tmp_path, quantize="int8", max_error=coarse * 0.8, spare_as="int16", io_dtype="int8")
    told = target.as_dict()["quantisation"]
    assert told["fully_whole"] and told["float"] == [] and len(told["sixteen_bits"]) >= 1
    assert all(each["why"].startswith("16 bits: it alone moves") for each in told["sixteen_bits"])
    kinds = {tensor.dtype for operator in walk(path) for tensor in operator.outputs}
    assert kinds == {DType.INT8, DType.INT16}
    plain, _ = convert(source, tmp_path, quantize="int8", max_error=coarse * 0.8, spare_as="int16")
    assert error_of(plain, source, tmp_path) <= coarse * 0.8
    with LiteRtModel(plain, xnnpack=False) as model:
        for each, other in zip(run_all(plain), (model.run(sample) for sample in SAMPLES), strict=True):
            np.testing.assert_allclose(each["logits"], other["logits"], atol=0.1 * np.abs(other["logits"]).max())


@pytest.mark.parametrize(
    ("options", "error", "what"),
    [
        ({"max_error": 0.0}, OptionError, "max_error must be"),
        ({"max_error": float("nan")}, OptionError, "max_error must be"),
        ({"max_size": 0}, OptionError, "max_size must be"),
        ({"max_error": 0.1, "calibrate": None}, OptionError, "errors are measured on samples"),
        ({"max_error": 0.1, "quantize": None, "calibrate": None}, OptionError, "says how to quantise"),
        ({"spare_as": "int16"}, OptionError, "spare_as is for an error"),
        ({"spare_as": "int16", "max_size": 9000}, OptionError, "spare_as is for an error"),
        ({"spare_as": "int4", "max_error": 0.1}, OptionError, "not spared as 'int4'"),
        ({"max_size": 1000}, BudgetError, "cannot be made as small as 1000"),
    ],
)
def test_budgets_that_cannot_be_kept_write_nothing(source, tmp_path, options, error, what):
    with pytest.raises(error, match=what):
        convert(source, tmp_path, **{"quantize": "int8", **options})
    assert list(tmp_path.iterdir()) == []


def outputs(*arrays):
    return [{"a": np.asarray(each)} for each in arrays]


def test_the_relative_error_is_that_of_the_worst_output_over_all_samples():
    reference = [{"a": np.asarray([3.0, 4.0]), "b": np.asarray([10.0])}, {"a": np.asarray([0.0]), "b": np.asarray([10.0])}]
    found = [{"a": np.asarray([3.0, 4.5]), "b": np.asarray([10.1])}, {"a": np.asarray([0.5]), "b": np.asarray([10.0])}]
    assert relative_error(reference, found) == pytest.approx(np.sqrt(0.5) / 5)
    assert relative_error(reference, reference) == 0
    assert relative_error(outputs([1, 2, 3, 4]), outputs([1, 2, 0, 0])) == 0.5
    assert relative_error(outputs([0.0]), outputs([0.1])) == float("inf")
    assert relative_error(outputs([0.0]), outputs([0.0])) == 0
    assert relative_error(outputs([1.0, np.nan]), outputs([1.0, np.nan])) == 0
    assert relative_error(outputs([1.0, np.nan]), outputs([1.0, 2.0])) == float("inf")
    assert relative_error(outputs([1.0]), outputs([1.0, 2.0])) == float("inf")
