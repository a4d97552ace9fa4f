"""Ranges of a file's tensors while LiteRT runs it."""

from __future__ import annotations

import numpy as np
import pytest

from tensorferry import ops
from tensorferry.errors import FerryError, OptionError
from tensorferry.ir import Graph, Port
from tensorferry.quant.observing import Watch, observe, watchable
from tensorferry.quant.ranges import Method
from tensorferry.runtimes.litert import LiteRtModel
from tensorferry.tensor import DType
from tensorferry.writers.tflite import write_program
from tensorferry.writers.tflite_program import make_program

WEIGHTS = np.random.default_rng(3).normal(0, 0.5, (3, 3, 3, 4)).astype(np.float32)


def small_net():
    """log(image) -> convolution -> ReLU, and an argument of another type."""
    graph = Graph("small")
    image = ops.add(graph, "Placeholder", attrs={"dtype": DType.FLOAT32, "shape": ("batch", 6, 6, 3)}, name="image").output
    shift = ops.add(graph, "Placeholder", attrs={"dtype": DType.INT32, "shape": ()}, name="shift").output
    graph.inputs = [Port("picture", image), Port("shift", shift)]
    log = ops.add(graph, "Log", [image], name="log").output
    attributes = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    made = ops.add(graph, "Conv2D", [log, graph.constant(WEIGHTS, "filter")], attrs=attributes, name="made").output
    active = ops.add(graph, "Relu", [made], name="active").output
    moved = ops.add(graph, "AddV2", [shift, graph.constant(np.int32(1), "one")], name="moved").output
    graph.outputs = [Port("result", active), Port("moved", moved)]
    return graph


@pytest.fixture
def net(tmp_path):
    program = make_program(small_net(), "serving_default")
    write_program(program, tmp_path / "net.tflite")
    with LiteRtModel(tmp_path / "net.tflite", keep_intermediates=True) as model:

        def run(sample):
            model.run(sample)
            return model.tensors()

        yield program, run


def samples(count=5):
    generator = np.random.default_rng(0)
    for _ in range(count):
        yield {"picture": generator.uniform(0.1, 9, (1, 6, 6, 3)).astype(np.float32), "shift": np.asarray(2, np.int32)}


def test_what_is_computed_in_float_can_be_watched_and_nothing_else(net):
    program, _ = net
    assert watchable(program) == ["image", "log", "made", "active"]


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "entropy"])
def test_ranges_are_those_of_numpy_over_all_samples(net, method):
    program, run = net
    told = []
    found = observe(run, samples(), Watch(watchable(program), Method(method), by_channel=["made"]), told.append)
    assert told == [1, 2, 3, 4, 5] and found.samples == 5 and found.unusable == {}
    logs = np.log(np.stack([each["picture"] for each in samples()]))
    if method == "minmax":
        assert found.ranges["log"] == pytest.approx((logs.min(), logs.max()), rel=1e-6)
        assert found.ranges["active"].low == 0 and found.histograms == {}
        made = [np.asarray(run(each)["made"]).copy() for each in samples()]
        np.testing.assert_allclose(found.channels["made"].mean, np.concatenate(made).mean((0, 1, 2)), rtol=1e-5, atol=1e-6)
        assert found.channels["made"].high.max() == found.ranges["made"].high
    else:
        assert logs.min() - 1e-6 <= found.ranges["log"].low < 0 < found.ranges["log"].high <= logs.max() + 1e-6
        assert found.histograms["log"].total == logs.size


def test_a_tensor_with_infinities_is_named_with_its_sample_and_the_others_keep_their_ranges(net):
    program, run = net
    spoilt = list(samples(3))
    spoilt[1]["picture"][0, 0, 0, 0] = 0
    found = observe(run, spoilt, Watch(watchable(program)))
    assert set(found.ranges) == {"image"}
    assert found.unusable["log"] == "a value is NaN or infinite (sample 2)"


def test_a_name_that_the_runtime_does_not_keep_is_said(net):
    _, run = net
    found = observe(run, samples(1), Watch(["image", "nowhere", "moved"]))
    assert found.unusable == {
        "nowhere": "the runtime keeps no value of it (sample 1)",
        "moved": "it holds int32 while it runs (sample 1)",
    }
    with pytest.raises(FerryError, match="no usable value"):
        observe(run, samples(1), Watch(["nowhere"]))


def test_without_samples_there_is_nothing_to_calibrate_with(net):
    with pytest.raises(OptionError, match="no samples"):
        observe(net[1], [], Watch(["image"]))


def test_histograms_are_kept_on_demand(net):
    program, run = net
    found = observe(run, samples(2), Watch(watchable(program), histograms=True))
    edges, counts = found.histograms["active"].cut()
    assert edges[-1] >= found.ranges["active"].high > edges[-2] and counts.sum() + found.histograms["active"].zeros == 2 * 6 * 6 * 4


def test_samples_of_several_sizes_may_follow_each_other(net):
    program, run = net
    pair = [{"picture": np.full((batch, 6, 6, 3), batch, np.float32), "shift": np.asarray(0, np.int32)} for batch in (1, 3)]
    assert observe(run, pair, Watch(watchable(program))).ranges["image"] == (1, 3)
