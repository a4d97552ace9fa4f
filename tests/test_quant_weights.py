"""Quantised weights against numbers worked out by hand, plain numpy over whole arrays, and TensorFlow's own."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tensorferry.errors import GraphError
from tensorferry.ir import Quantization
from tensorferry.quant import maths, weights
from tensorferry.quant.maths import Grid, NonFiniteError, Rounding
from tensorferry.storage import SourceFile
from tensorferry.tensor import Array, ArrayTensor, CastTensor, DType, FileTensor, ReshapedTensor, Tensor, TransposedTensor, spread
from tensorferry.writers.tflite_payload import Payload

INT8 = maths.grid_of(DType.INT8)
UINT8 = maths.grid_of(DType.UINT8)


def test_halves_round_as_asked() -> None:
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999997, 8388609.0], np.float32)
    assert maths.rounded(halves, Rounding.EVEN).tolist() == [-2, -2, -0, 0, 2, 2, 0, 8388609]
    assert maths.rounded(halves, Rounding.AWAY).tolist() == [-3, -2, -1, 1, 2, 3, 0, 8388609]


@pytest.mark.parametrize(
    ("low", "high", "grid", "scale", "zero_point"),
    [
        (-1.0, 1.0, INT8, 2 / 255, 0),  # 127.5 rounds to even: -128 + 128
        (0.0, 6.0, INT8, 6 / 255, -128),
        (0.0, 6.0, UINT8, 6 / 255, 0),
        (2.0, 6.0, UINT8, 6 / 255, 0),  # widened to hold zero
        (-6.0, -2.0, UINT8, 6 / 255, 255),
        (-1.0, 3.0, UINT8, 4 / 255, 64),
        (0.0, 0.0, INT8, 1.0, 0),
        (0.0, 1.0, maths.grid_of(DType.INT16), 1 / 65535, -32768),
    ],
)
def test_asymmetric_parameters_hold_zero(low: float, high: float, grid: Grid, scale: float, zero_point: int) -> None:
    scales, zero_points = maths.asymmetric_parameters(low, high, grid)
    assert float(scales) == pytest.approx(scale, rel=1e-7)
    assert int(zero_points) == zero_point
    assert maths.dequantize(maths.quantize(np.zeros(1), scales, zero_points, grid), scales, zero_points) == 0


@given(st.floats(-1e30, 1e30), st.floats(-1e30, 1e30), st.sampled_from([INT8, UINT8, maths.grid_of(DType.INT16)]))
@settings(max_examples=200, deadline=None)
def test_every_range_is_covered_within_half_a_step(first: float, second: float, grid: Grid) -> None:
    low, high = min(first, second, 0.0), max(first, second, 0.0)
    scales, zeros = maths.asymmetric_parameters(low, high, grid)
    inside = np.linspace(low, high, 50)
    back = maths.dequantize(maths.quantize(inside, scales, zeros, grid), scales, zeros)
    assert np.abs(back - inside).max() <= float(scales) * 1.01


def test_parameters_agree_with_tensorflow_fake_quant() -> None:
    tf = pytest.importorskip("tensorflow")
    generator = np.random.default_rng(1)
    for _ in range(20):
        low, high = -float(generator.uniform(0, 4)), float(generator.uniform(0.1, 4))
        values = generator.uniform(low * 1.2, high * 1.2, 500).astype(np.float32)
        expected = tf.quantization.fake_quant_with_min_max_args(values, low, high).numpy()
        scales, zeros = maths.asymmetric_parameters(low, high, UINT8)
        got = maths.dequantize(maths.quantize(values, scales, zeros, UINT8), scales, zeros)
        off = np.abs(got - expected) > 1e-5
        assert off.mean() < 0.01  # halves
        assert np.abs(got - expected).max() <= float(scales) * 1.001


def test_what_is_no_number_is_refused() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        with pytest.raises(NonFiniteError):
            maths.quantize(np.array([0, bad, 1]), np.float32(1), 0, INT8)
        with pytest.raises(NonFiniteError):
            weights.channel_ranges(ArrayTensor(np.array([[0, 1], [bad, 2]], np.float32)), 0)
        with pytest.raises(NonFiniteError):
            maths.asymmetric_parameters(-1.0, abs(bad), INT8)
    with pytest.raises(GraphError, match="begins above"):
        maths.asymmetric_parameters(2.0, 1.0, INT8)
    with pytest.raises(GraphError, match="float32"):
        maths.grid_of(DType.FLOAT32)


def test_large_numbers_saturate() -> None:
    codes = maths.quantize(np.array([1e38, -1e38, 5], np.float32), np.float32(1e-30), 0, maths.weight_grid(DType.INT8))
    assert codes.tolist() == [127, -127, 127]
    wide = maths.quantize(np.array([1e30, -1e30, 3.4]), np.float64(1), 0, maths.grid_of(DType.INT64))
    assert wide.tolist() == [1 << 62, -(1 << 62), 3]


def test_bias_gets_room() -> None:
    grid = maths.grid_of(DType.INT32)
    scales = np.array([1e-12, 0.01], np.float32)
    bias = np.array([3.0, 3.0])
    widened = maths.widen_for_bias(scales, bias, 0.02, grid)
    assert widened[1] == scales[1]
    codes = maths.quantize(bias, widened.astype(np.float64) * 0.02, 0, grid)
    assert np.abs(codes * (widened.astype(np.float64) * 0.02) - bias).max() < 1e-3


SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


def views_of(array: Array, path: Path, choice: int) -> Tensor:
    """The array as tensors of several kinds give it: each hands it out in its own pieces."""
    match choice:
        case 0:
            return ArrayTensor(array)
        case 1:
            path.write_bytes(b"some" + array.tobytes())
            return FileTensor(SourceFile(path), 4, DType.FLOAT32, array.shape)
        case 2:
            order = tuple(range(array.ndim))[::-1]
            return TransposedTensor(ArrayTensor(np.ascontiguousarray(array.transpose(order))), order)
        case 3:
            return ReshapedTensor(ArrayTensor(array.reshape(-1)), array.shape)
        case 4:
            return CastTensor(ArrayTensor(array.astype(np.float64)), DType.FLOAT32)
        case _:
            turned = np.moveaxis(array, 0, -1)
            base = ReshapedTensor(ArrayTensor(np.ascontiguousarray(turned).reshape(-1)), turned.shape)
            return TransposedTensor(base, (array.ndim - 1, *range(array.ndim - 1)))


@given(SHAPES, st.integers(0, 5), st.integers(0, 3), st.integers(0, 1000), st.sampled_from([DType.INT8, DType.INT4, DType.INT16]))
@settings(max_examples=150, deadline=None)
def test_streams_are_what_whole_arrays_are(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], kind: int, axis: int, seed: int, dtype: DType
) -> None:
    array = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    tensor = views_of(array, tmp_path_factory.getbasetemp() / "weight", kind)
    axis %= len(shape)
    rest = tuple(each for each in range(len(shape)) if each != axis)
    ranges = weights.channel_ranges(tensor, axis)
    np.testing.assert_array_equal(ranges.low, array.min(axis=rest))
    np.testing.assert_array_equal(ranges.high, array.max(axis=rest))
    assert weights.channel_ranges(tensor).whole().max_abs == np.abs(array).max()

    recipe = weights.quantized_weight(tensor, axis, dtype)
    most = {DType.INT8: 127, DType.INT4: 7, DType.INT16: 32767}[dtype]
    scale = (np.abs(array).max(axis=rest, keepdims=True).astype(np.float64) / most).astype(np.float32)
    expected = np.clip(np.rint(array / scale), -most, most).astype(dtype.numpy)
    np.testing.assert_array_equal(recipe.array(), expected)
    for limit in (1, 7, 1 << 20):
        assert b"".join(bytes(each) for each in recipe.chunks(limit)) == expected.tobytes()
    start, stop = sorted((seed % (array.size + 1), (seed * 7) % (array.size + 1)))
    np.testing.assert_array_equal(recipe.elements(start, stop), expected.reshape(-1)[start:stop])
    assert np.abs(weights.dequantized(recipe) - array).max() <= scale.max() * 0.501


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 60), st.integers(0, 90))
@settings(max_examples=200, deadline=None)
def test_blocks_name_the_channel_of_each_element(channels: int, inner: int, start: int, count: int) -> None:
    numbers = np.arange(start, start + count)
    wanted = numbers // inner % channels
    assert spread(np.arange(channels), start, count, inner).tolist() == wanted.tolist()
    seen: dict[int, int] = {}
    for first, block in weights.blocks(numbers, start, channels, inner):
        for offset in range(block.shape[1]):
            seen.update(dict.fromkeys(block[:, offset].reshape(-1).tolist(), first + offset))
    assert [seen[number] for number in numbers.tolist()] == wanted.tolist()


def test_zero_points_are_added_along_the_axis() -> None:
    array = np.array([[0.0, 1.0], [2.0, 4.0]], np.float32)
    recipe = weights.QuantizedTensor(ArrayTensor(array), Quantization((1.0, 2.0), (3, -120), 0), INT8)
    assert recipe.array().tolist() == [[3, 4], [-119, -118]]
    np.testing.assert_array_equal(weights.dequantized(recipe), array)


def test_parameters_must_fit() -> None:
    base = ArrayTensor(np.ones((2, 3), np.float32))
    for quantization in (
        Quantization((1.0,), (0,), 0),
        Quantization((1.0, 0.0), (0, 0), 0),
        Quantization((1.0, float("nan")), (0, 0), 0),
        Quantization((1.0, 1.0), (0,), 0),
        Quantization((1.0, 1.0), (0, 0), 2),
    ):
        with pytest.raises(GraphError):
            weights.QuantizedTensor(base, quantization, INT8)
    with pytest.raises(GraphError, match="int32"):
        weights.QuantizedTensor(ArrayTensor(np.ones(3, np.int32)), Quantization((1.0,), (0,)), INT8)


def test_bfloat16_weights_are_read_as_numbers() -> None:
    numbers = np.array([1.0, -2.0, 0.5], np.float32)
    stored = ArrayTensor((numbers.view(np.uint32) >> 16).astype(np.uint16), DType.BFLOAT16)
    assert weights.channel_ranges(stored).low == -2
    assert weights.quantized_weight(stored).array().tolist() == [64, -127, 32]
    np.testing.assert_array_equal(weights.HalfTensor(stored).array(), numbers.astype(np.float16))


def test_float16_says_when_a_number_is_too_large() -> None:
    fine = ArrayTensor(np.array([65519.0, -65504.0, 1e-9], np.float32))
    assert weights.fits_half(weights.channel_ranges(fine))
    assert np.isfinite(weights.HalfTensor(fine).array()).all()
    for bad in (65520.0, -1e6, np.nan):
        tensor = ArrayTensor(np.array([1, bad], np.float32))
        if np.isfinite(bad):
            assert not weights.fits_half(weights.channel_ranges(tensor))
        with pytest.raises(GraphError, match="float16"):
            list(weights.HalfTensor(tensor).chunks())


@pytest.mark.parametrize("size", [1, 2, 5, 6])
def test_nibbles_are_packed_as_they_come(size: int) -> None:
    codes = np.array([1, -7, 7, -1, 3, -3], np.int8)[:size]

    class Pieces(ArrayTensor):
        def chunks(self, limit: int = 0):  # type: ignore[no-untyped-def]
            data = self.array().tobytes()
            return (memoryview(data[place : place + 3]) for place in range(0, len(data), 3))

    payload = Payload(Pieces(codes, DType.INT4))
    data = b"".join(bytes(each) for each in payload.chunks())
    nibbles = [code & 15 for code in codes.tolist()] + [0] * (size % 2)
    assert data == bytes(low | high << 4 for low, high in zip(nibbles[::2], nibbles[1::2], strict=True))
    assert payload.nbytes == len(data)


def test_a_large_transposed_weight_is_not_held(tmp_path: Path) -> None:
    """120 MB of floats behind a transposition and half-width codes; each pass may hold its scratch of 48 MB and a few pieces."""
    path = tmp_path / "weight"
    rows, columns = 5000, 6000
    block = np.random.default_rng(0).normal(size=(500, columns)).astype(np.float32)
    with path.open("wb") as file:
        for _ in range(rows // 500):
            file.write(block.tobytes())
    tensor = TransposedTensor(FileTensor(SourceFile(path), 0, DType.FLOAT32, (rows, columns)), (1, 0))
    tracemalloc.start()
    ranges = weights.channel_ranges(tensor, 0)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    np.testing.assert_array_equal(ranges.max_abs, np.abs(block).max(axis=0))
    for dtype in (DType.INT8, DType.INT4):
        payload = Payload(weights.quantized_weight(tensor, 0, dtype))
        count = sum(piece.nbytes for piece in payload.chunks())
        assert count == payload.nbytes == rows * columns // (1 if dtype is DType.INT8 else 2)
    assert tracemalloc.get_traced_memory()[1] < 64 << 20
    tracemalloc.stop()
