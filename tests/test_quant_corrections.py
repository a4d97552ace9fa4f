"""Corrections of quantised constants: against TensorFlow's windows, brute force, and the error that LiteRT shows on other data."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from quantised_nets import Net
from tensorferry.ir import Graph
from tensorferry.passes import pipelines
from tensorferry.program import Program
from tensorferry.quant.applying import apply_plan
from tensorferry.quant.correcting import Correction, correct
from tensorferry.quant.deciding import decide_weights
from tensorferry.quant.layers import Layer, Window, layers_of, own_constants, replaced, windows
from tensorferry.quant.maths import weight_grid
from tensorferry.quant.moments import Moments, gather_moments
from tensorferry.quant.rounding import DAMPING, damped, descend, from_groups, to_groups
from tensorferry.quant.scales import best_shares, rows_of
from tensorferry.quant.scheme import Mode, Scheme
from tensorferry.quant.weights import QuantizedTensor
from tensorferry.runtimes.litert import LiteRtModel
from tensorferry.tensor import Array, ArrayTensor, DType, TransposedTensor
from tensorferry.writers.tflite import write_program
from tensorferry.writers.tflite_program import make_program


def a_layer(kind: str, channels: int, features: int, window: Window | None = None) -> Layer:
    return Layer(0, kind, 0, 1, 2, 3, window or Window(), channels, features)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("strides", "dilations"), [((1, 1), (1, 1)), ((2, 3), (1, 1)), ((1, 1), (2, 1))])
def test_windows_are_what_convolutions_see(padding: str, strides: tuple[int, int], dilations: tuple[int, int]) -> None:
    tf = pytest.importorskip("tensorflow")
    random = np.random.default_rng(0)
    data = random.normal(size=(2, 9, 11, 4)).astype(np.float32)
    window = Window(3, 2, strides, dilations, padding == "SAME")
    kernel = random.normal(size=(5, 3, 2, 4)).astype(np.float32)  # OHWI
    layer = a_layer("CONV_2D", 5, 24, window)
    result = windows(layer, data, 10**6) @ layer.rows(kernel).T
    expected = tf.nn.conv2d(data, kernel.transpose(1, 2, 3, 0), strides, padding, dilations=dilations).numpy()
    np.testing.assert_allclose(result.reshape(expected.shape), expected, atol=1e-5)
    if strides[0] != strides[1]:
        return  # TensorFlow's depthwise convolution has none
    deep = random.normal(size=(1, 3, 2, 4)).astype(np.float32)
    layer = a_layer("DEPTHWISE_CONV_2D", 4, 6, window)
    result = np.einsum("nct,ct->nc", windows(layer, data, 10**6), layer.rows(deep))
    expected = tf.nn.depthwise_conv2d(data, deep.transpose(1, 2, 3, 0), (1, *strides, 1), padding, dilations=dilations).numpy()
    np.testing.assert_allclose(result.reshape(expected.shape), expected, atol=1e-5)


def test_moments_are_those_of_all_samples_together() -> None:
    random = np.random.default_rng(1)
    samples = [random.normal(size=(1, 5, 5, 3)).astype(np.float32) + 1 for _ in range(4)]
    for kind, channels, features in (("CONV_2D", 4, 27), ("DEPTHWISE_CONV_2D", 3, 9)):
        layer = a_layer(kind, channels, features, Window(3, 3, same=True))
        [(_, moments)] = gather_moments(lambda: ({"x": each} for each in samples), [layer], {0: "x"})
        seen = np.concatenate([windows(layer, each, 10**6) for each in samples]).astype(np.float64)
        grouped = seen.transpose(1, 0, 2) if layer.depthwise else seen[None]
        np.testing.assert_allclose(moments.mean, grouped.mean(axis=1), rtol=1e-5)
        np.testing.assert_allclose(moments.covariance(), [np.cov(each.T, bias=True) for each in grouped], atol=1e-4)


def test_layers_take_turns_when_their_moments_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [Layer(place, "FULLY_CONNECTED", 0, 1, 2, 3, Window(), 2, 50) for place in range(5)]
    runs = []

    def replay() -> Iterator[Mapping[str, Array]]:
        runs.append(1)
        yield {"x": np.ones((1, 50), np.float32)}

    monkeypatch.setattr("tensorferry.quant.moments.MEMORY", 2 * 8 * 50 * 50)
    assert [layer.place for layer, _ in gather_moments(replay, layers, {0: "x"})] == [0, 1, 2, 3, 4]
    assert len(runs) == 3
    assert not list(gather_moments(lambda: [{}], layers, {0: "x"})), "what was not seen has no moments"


def correlated(random: np.random.Generator, groups: int, size: int, count: int) -> Array:
    """Samples [groups, count, size] of features that go together."""
    mixing = random.normal(size=(groups, size, size)) * np.geomspace(1, 0.02, size)[:, None]
    return random.normal(size=(groups, count, size)) @ mixing + 1


@pytest.mark.parametrize("seed", range(6))
def test_rounding_to_data_errs_less_on_other_data(seed: int) -> None:
    """By a third at least on what it was not given, and never more than nearest rounding in the metric it is given."""
    random = np.random.default_rng(seed)
    seen = correlated(random, 2, 24, 3000)
    known, other = seen[:, :1500], seen[:, 1500:]
    weight = random.normal(size=(2, 16, 24))
    steps = np.abs(weight).max(axis=2) / 7
    grid = weight_grid(DType.INT4)
    metric = damped(np.stack([np.cov(each.T, bias=True) for each in known]))
    codes = descend(weight, steps, grid, metric)
    assert codes.min() >= -7
    assert codes.max() <= 7
    nearest = np.clip(np.rint(weight / steps[:, :, None]), -7, 7)

    def errors(chosen: Array, metric: Array) -> Array:
        error = chosen * steps[:, :, None] - weight
        return np.einsum("gck,gkl,gcl->gc", error, metric, error)

    assert np.all(errors(codes, metric) <= errors(nearest, metric) * (1 + 1e-9)), "each step lowers it or leaves it"
    elsewhere = np.stack([np.cov(each.T, bias=True) for each in other])
    assert errors(codes, elsewhere).sum() < errors(nearest, elsewhere).sum() * 0.67
    flat = np.broadcast_to(np.eye(24), (2, 24, 24))
    worst = np.array([np.linalg.eigvalsh(each)[-1] for each in metric]) / np.array([np.linalg.eigvalsh(each)[0] for each in metric])
    assert np.all(errors(codes, flat) <= errors(nearest, flat) * worst[:, None]), "on any other data: the metric's condition"


def test_rounding_finds_what_trying_all_codes_finds() -> None:
    """Three weights, a few steps around: coordinate descent ends within 1.3 of the best, on average within 1.03."""
    random = np.random.default_rng(3)
    ratios = []
    for _ in range(30):
        metric = damped(np.cov(correlated(random, 1, 3, 200)[0].T)[None])
        weight = random.normal(size=(1, 1, 3)) * 5
        codes = descend(weight, np.ones((1, 1)), weight_grid(DType.INT8), metric)
        tried = [np.array(each) for each in itertools.product(*(range(int(w) - 3, int(w) + 4) for w in weight[0, 0]))]
        best = min(float((each - weight[0, 0]) @ metric[0] @ (each - weight[0, 0])) for each in tried)
        error = codes[0, 0] - weight[0, 0]
        ratios.append(float(error @ metric[0] @ error) / best)
    assert min(ratios) > 1 - 1e-9
    assert max(ratios) < 3
    assert np.mean(ratios) < 1.2


def test_data_that_never_varies_leaves_nearest_rounding() -> None:
    random = np.random.default_rng(5)
    weight = random.normal(size=(1, 4, 6))
    codes = descend(weight, np.full((1, 4), 0.1), weight_grid(DType.INT8), damped(np.zeros((1, 6, 6))))
    np.testing.assert_array_equal(codes, np.rint(weight / 0.1))


def test_wide_layers_are_cut_into_groups_and_put_together_again() -> None:
    layer = a_layer("FULLY_CONNECTED", 3, 2500)
    rows = np.random.default_rng(0).normal(size=(3, 2500))
    grouped = to_groups(layer, rows)
    assert grouped.shape == (3, 3, 834)
    np.testing.assert_array_equal(from_groups(layer, grouped), rows)
    assert Moments(layer).products.shape == (3, 834, 834)


def test_rows_come_in_slices_of_whole_channels() -> None:
    weight = np.random.default_rng(0).normal(size=(700, 3000)).astype(np.float32)
    for tensor in (ArrayTensor(weight), TransposedTensor(ArrayTensor(np.ascontiguousarray(weight.T)), (1, 0))):
        pieces = list(rows_of(tensor, 700))
        assert len(pieces) == 3
        assert [piece.start for piece, _ in pieces] == [0, *(piece.stop for piece, _ in pieces[:-1])]
        np.testing.assert_array_equal(np.concatenate([rows for _, rows in pieces]), weight)


@pytest.mark.parametrize("dtype", [DType.INT8, DType.INT4])
def test_scales_err_no_more_than_the_full_range(dtype: DType) -> None:
    rows = np.random.default_rng(2).standard_t(3, size=(64, 100))
    grid = weight_grid(dtype)
    full = np.abs(rows).max(axis=1) / grid.reach
    shares = best_shares(rows, full, grid)

    def error(steps: Array) -> Array:
        codes = np.clip(np.rint(rows / steps[:, None]), grid.low, grid.high)
        return np.sum((codes * steps[:, None] - rows) ** 2, axis=1)

    assert np.all(error(full * shares) <= error(full))
    if dtype is DType.INT4:
        assert error(full * shares).sum() < error(full).sum() * 0.95
    assert best_shares(np.zeros((2, 5)), np.ones(2), grid).tolist() == [1, 1]


def test_weights_of_four_bits_saturate_where_it_helps(tmp_path: Path) -> None:
    """A dense layer with a few large weights: by a twentieth nearer at least, without any sample."""
    net = Net(40, 64, seed=0)
    heavy = np.random.default_rng(0).standard_t(3, size=(64, 50)).astype(np.float32)
    net.then("MatMul", "dense", net.graph.constant(heavy, "kernel"))
    program = lower(net.done("dense"))
    feed = [np.random.default_rng(1).normal(size=(40, 64)).astype(np.float32)]
    full, fitted = (decide_weights(program, Scheme(Mode.WEIGHTS4, least=1, full_range=each)) for each in (True, False))
    true, before, after = (
        run_all(each, feed, tmp_path / "net.tflite")[0]["dense"]
        for each in (program, apply_plan(program, full), apply_plan(program, fitted))
    )
    assert np.mean((after - true) ** 2) < np.mean((before - true) ** 2) * 0.95


# -- whole nets ----------------------------------------------------------------------------------------------------


def separable_net(seed: int) -> Graph:
    """Two depthwise-separable blocks behind a convolution, and a dense head without a bias."""
    net = Net(1, 16, 16, 4, seed=seed)
    net.conv("first", 24)
    for block in ("one", "two"):
        net.depthwise(f"{block}/deep")
        net.conv(f"{block}/wide", 48, size=1)
    net.then("Mean", "pooled", np.array([1, 2], np.int32))
    net.dense("logits", 40)
    return net.done("logits", "two/wide/act")


def lower(graph: Graph) -> Program:
    pipelines.prepare(graph)
    pipelines.finish(graph, "tflite")
    return make_program(graph, "serving_default")


def pictures(seed: int, count: int) -> list[Array]:
    """Smooth, positive and one-sided, as pictures are."""
    random = np.random.default_rng(seed)
    coarse = random.uniform(size=(count, 1, 4, 4, 4))
    return [np.kron(each, np.ones((1, 4, 4, 1))).astype(np.float32) + np.float32(0.2) for each in coarse]


def run_all(program: Program, feeds: list[Array], path: Path, *, keep: bool = False) -> list[Mapping[str, Array]]:
    write_program(program, path)
    with LiteRtModel(path, keep_intermediates=keep) as model:
        results = []
        for each in feeds:
            outputs = model.run({"image": each})
            results.append({**model.intermediates(), "image": each} if keep else outputs)
    return results


def corrected(program: Program, scheme: Scheme, path: Path, wanted: tuple[Correction, ...]) -> tuple[Program, Mapping[str, int]]:
    kept = run_all(program, pictures(0, 6), path, keep=True)
    plan = decide_weights(program, scheme)
    done = correct(program, plan, lambda: iter(kept), wanted)
    return apply_plan(done.program, plan), done.counts


@pytest.mark.parametrize("mode", [Mode.DYNAMIC, Mode.WEIGHTS4])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_corrected_nets_are_nearer_on_pictures_they_have_not_seen(mode: Mode, seed: int, tmp_path: Path) -> None:
    program = own_constants(lower(separable_net(seed)))
    scheme = Scheme(mode, least=1)
    path = tmp_path / "net.tflite"
    other = pictures(99, 6)
    reference = run_all(program, other, path)

    def error(quantised: Program) -> float:
        """Mean square, relative, over both outputs."""
        results = run_all(quantised, other, path)
        return sum(
            float(np.sum((got[name] - true[name]) ** 2) / np.sum(true[name] ** 2))
            for got, true in zip(results, reference, strict=True)
            for name in true
        )

    nearest = error(apply_plan(program, decide_weights(program, scheme)))
    biases, counts = corrected(program, scheme, path, (Correction.BIASES,))
    assert counts == {"biases": 6}
    both, counts = corrected(program, scheme, path, tuple(Correction))
    assert counts == {"rounding": 6, "biases": 6}
    assert error(biases) < nearest * 1.05
    assert error(both) < nearest * 0.8


def test_applying_the_plan_gives_the_codes_that_were_chosen(tmp_path: Path) -> None:
    """Again and again the same: a corrected weight lies on its grid, and rounding it to nearest is exact."""
    program = own_constants(lower(separable_net(0)))
    kept = run_all(program, pictures(0, 4), tmp_path / "net.tflite", keep=True)
    plan = decide_weights(program, Scheme(Mode.DYNAMIC, least=1))
    first, second = (correct(program, plan, lambda: iter(kept)).program for _ in range(2))
    changed = 0
    for layer in layers_of(program):
        form = next(each.inputs[1] for each in plan.operators if each.place == layer.place)
        assert form is not None
        assert form.quantization is not None
        before, after, again = (each.content(each.subgraphs[0].tensors[layer.weight]) for each in (program, first, second))
        codes = [QuantizedTensor(each, form.quantization, weight_grid(DType.INT8)).array() for each in (before, after, again)]
        np.testing.assert_array_equal(codes[1], codes[2])
        shape = [-1 if axis == layer.axis else 1 for axis in range(len(after.shape))]
        steps = np.asarray(form.quantization.scales, np.float32).reshape(shape)
        np.testing.assert_array_equal(after.array(), codes[1].astype(np.float32) * steps)
        changed += int(np.sum(codes[0] != codes[1]))
    assert changed > 100


def test_layers_get_constants_of_their_own(tmp_path: Path) -> None:
    """Two dense layers with one weight and no bias: what is set right in one leaves the other alone; the numbers stay."""
    net = Net(2, 6, seed=0)
    weight = net.weight("shared", 6, 6)
    net.then("MatMul", "first", weight)
    net.then("Relu", "active")
    net.then("MatMul", "second", weight)
    program = lower(net.done("second"))
    own = own_constants(program)
    layers = layers_of(own)
    assert [each.kind for each in layers] == ["FULLY_CONNECTED", "FULLY_CONNECTED"]
    assert len({each.weight for each in layers} | {each.bias for each in layers}) == 4
    feed = [np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)]
    expected = run_all(program, feed, tmp_path / "a.tflite")[0]["second"]
    np.testing.assert_array_equal(run_all(own, feed, tmp_path / "b.tflite")[0]["second"], expected)
    moved = replaced(own, {layers[1].bias: ArrayTensor(np.full(6, 2, np.float32))})
    np.testing.assert_allclose(run_all(moved, feed, tmp_path / "c.tflite")[0]["second"], expected + 2, rtol=1e-6)
    np.testing.assert_array_equal(run_all(own, feed, tmp_path / "b.tflite")[0]["second"], expected)


def test_damping_is_a_share_of_the_mean_variance() -> None:
    metric = damped(np.diag([1.0, 3.0])[None])
    np.testing.assert_allclose(metric[0], np.diag([1 + 2 * DAMPING, 3 + 2 * DAMPING]))
