"""keras.ops in functional models of Keras 3: each operation there is, read from a .keras file or refused by name.

The reference is Keras' own call of the model with TensorFlow behind it; LiteRT and TensorFlow.js both agree with it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops as o
from keras.src.ops import core, image, linalg, math, nn, numpy
from keras.src.ops.operation import Operation

import tensorferry
from tensorferry.readers.keras.registry import rules
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.litert import LiteRtModel
from test_keras_layers import agree, save

MODULES = (core, image, linalg, math, nn, numpy)

NOT_READ = {
    "functions in Python, which no file holds": "Map Scan AssociativeScan Switch WhileLoop ForiLoop Cond VectorizedMap JVP",
    "sizes that only the numbers tell": "Nonzero Unique Bincount Histogram",
    "what no target has": "Eig Eigh SVD Pinv Lstsq MatrixRank LuFactor CholeskyInverse CTCLoss CTCDecode",
    "complex numbers as such": "Polar ViewAsComplex ViewAsReal",
    "what Keras itself cannot run in a model": "ConvTranspose",
    "random numbers": "ElasticTransform",
    "not yet": "Gcd Lcm Corrcoef Correlate Argpartition Nanmedian Nanpercentile Nanquantile Fold Unfold MapCoordinates SobelEdges "
    "SSIM PerspectiveTransform ScaleAndTranslate ISTFT CategoricalCrossentropy SparseCategoricalCrossentropy",
    "a class that the others derive from": "SegmentReduction",
}
"""Why -> classes that are refused."""


def test_each_operation_is_read_or_listed() -> None:
    there = {
        name
        for module in MODULES
        for name, each in vars(module).items()
        if inspect.isclass(each) and issubclass(each, Operation) and each.__module__ == module.__name__
    }
    read = {name for name in there if f"ops.{name}" in rules()}
    refused = {name for names in NOT_READ.values() for name in names.split()}
    assert not read & refused
    assert there == read | refused


def _elements(x: Any, y: Any) -> list[Any]:
    i, near = o.cast(x * 4, "int32"), o.clip(x, -0.9, 0.9)
    return [
        o.fabs(x), o.i0(x), o.erfc(x), o.erfinv(near), o.bitwise_not(i), o.bitwise_and(i, i + 5), o.bitwise_or(i, i + 3),
        o.bitwise_xor(i, i + 6), o.left_shift(i, o.abs(i)), o.right_shift(i, o.abs(i)), o.fmax(x, y), o.fmin(x, y),
        o.fmod(x, 0.7), o.divide_no_nan(x, o.relu(y)), o.deg2rad(x), o.rad2deg(x), o.log2(o.abs(x) + 1), o.log10(o.abs(x) + 1),
        o.exp2(x), o.cbrt(x), o.heaviside(o.relu(x), x * 0 + 0.5), o.hypot(x, y), o.logaddexp(x, y), o.logaddexp2(x, y),
        o.isclose(x, x + 1e-9), o.isposinf(x / 0.0), o.isneginf(x / 0.0), o.nan_to_num(x / o.relu(y), posinf=9.0, neginf=-9.0),
        o.signbit(x), o.sinc(o.relu(x)), o.trunc(x * 3), o.real(x), o.imag(x), o.logical_xor(x > 0, y > 0),
        o.select([x > 1, x > 0], [x, y], 7.0), o.digitize(x, np.array([-0.5, 0.0, 1.0])), o.isin(i, np.array([0, 3])),
        o.isin(i, i[0, 0], invert=True), o.stop_gradient(x), o.convert_to_tensor(x, "int32"), o.copy(x),
        o.saturate_cast(x * 200, "uint8"), o.ldexp(x, i), o.angle(x), o.soft_shrink(x), o.hard_shrink(x, 0.3), o.celu(x, 0.7),
        o.glu(x), o.sparsemax(x), o.sparsemax(x, 1), o.threshold(x, 0.2, -1.0), o.elu(x, 0.5), o.round(x, 1), o.conj(x),
        o.isreal(x), o.nextafter(x, y), o.view(x, "int32"), o.empty_like(x) * 0,
    ]  # fmt: skip


def _arrays(x: Any, y: Any) -> list[Any]:
    row, i = x[0, :, 0], o.cast(o.abs(x), "int32")
    return [
        o.append(x, y, 1), o.append(x, y), o.hstack([x, y]), o.vstack([x, y]), o.dstack([x, y]), *o.unstack(x, axis=2),
        o.ravel(x), *o.meshgrid(row, x[1, :3, 1]), *o.meshgrid(row, x[1, :3, 1], indexing="ij"), o.fliplr(x), o.flipud(x),
        o.rot90(x, 1, (1, 2)), o.rot90(x, 3, (1, 2)), o.rot90(x[:, :4], 2, (1, 2)), o.diff(x), o.diff(x, 2, 1),
        o.trapezoid(x, dx=0.5), o.kron(x[0], y[1]), o.take_along_axis(x, i % 4, -1), o.take_along_axis(x, i % 7 - 1, 1),
        o.slice(x, [0, 1, 2], [2, 3, 2]), o.slice_update(x, [0, 1, 0], y[:, :2]),
        o.scatter(np.array([[1], [0]]), x[:, 0], (2, 4)), o.scatter_update(x, [[0, 1, 2], [1, 0, 0]], [5.0, 6.0]),
        o.scatter_update(x, [[0, 1, 2], [1, 0, 0]], [5.0, 6.0], "add"), *o.unravel_index(i[0, :, 0] % 6, (2, 3)),
        o.searchsorted(np.array([-1.0, 0.0, 1.0], "f"), row), o.full((2, 3), x[0, 0, 0]), o.full_like(x, 2.5),
        o.linspace(x[:, 0], y[:, 0], 5), o.linspace(x[:, 0], y[:, 0], 4, endpoint=False, axis=-1), o.logspace(row, row + 1, 4),
        o.geomspace(o.abs(row) + 1, o.abs(row) + 3, 4), o.size(x), o.vander(row), o.vander(row, 3, True), o.tril(x),
        o.triu(x, 1), o.tril(x, -1), o.diagonal(x, 1, 1, 2), o.trace(x, 0, 1, 2), o.diag(row), o.diag(row, -1), o.diag(x[0]),
        o.diagflat(x[0]), o.dot(x, y[0, 0]), o.dot(x, y[0, 0]), o.inner(x, y), o.vdot(x, y), o.outer(row, row),
        o.tensordot(x, np.linspace(-1, 1, 140, dtype="f").reshape(7, 4, 5), 2), o.tensordot(x, y, [[1, 2], [1, 2]]),
        o.cross(x[..., :3], y[..., :3]), o.ptp(x, 1), *o.hsplit(x, [2]), *o.vsplit(x, 2), *o.dsplit(x, 2),
        *o.array_split(x, 3, 1), o.roll(x, 3), o.repeat(x, 2), o.repeat(x, [1, 2, 0, 3], -1), o.take(x, [3, 5]),
        o.squeeze(x[:, :1]), o.matmul(x, y[0, 0]), o.pad(x, ((0, 0), (1, 1), (1, 1)), "reflect"),
        o.pad(x, ((0, 0), (1, 2), (0, 0)), "symmetric"), o.argmax(x), o.argmin(x, 1, keepdims=True), o.cumsum(x),
        o.norm(x, 1, 1), o.norm(x, np.inf, -1), o.max(x, 1, initial=0.5), o.average(x, 1, weights=np.arange(7.0, dtype="f")),
        o.sort(x, 1), o.argsort(x, 1), o.median(x, 1), o.quantile(x, 0.3, 1), o.quantile(x, [0.25, 0.6], -1, keepdims=True),
        o.median(x), o.percentile(x, 40.0, 1), o.ndim(x), o.allclose(x, y), o.quantile(x, 0.4, (1, 2)),
    ]  # fmt: skip


def _nan(x: Any, y: Any) -> list[Any]:
    z = o.log(x) * y  # nothing where x is below 0
    return [
        o.nansum(z, 1), o.nanprod(z, -1), o.nanmax(z, 1), o.nanmin(z, -1), o.nanmean(z, 1), o.nanvar(z, 1), o.nanstd(z, (1, 2)),
        o.nancumsum(z, 1), o.nancumprod(z, 1), o.nanargmax(z, 1), o.nanargmin(z, -1), o.nansum(z), o.nanargmax(z),
    ]  # fmt: skip


def _nets(x: Any, y: Any) -> list[Any]:
    image_, n = o.stack([x, y, x * y], -1), o
    kernel = np.linspace(-1, 1, 54, dtype="f").reshape(3, 3, 3, 2)
    return [
        n.max_pool(image_, 2), n.average_pool(image_, (3, 2), 1, "same"), n.max_pool(x, 2, 1),
        n.adaptive_max_pool(image_, (3, 2)), n.adaptive_average_pool(image_, (3, 3)), n.conv(image_, kernel, padding="same"),
        n.conv(x, np.ones((2, 4, 3), "f"), 2), n.depthwise_conv(image_, kernel[:2, :2], 1),
        n.separable_conv(image_, kernel[:2, :2, :, :1], np.ones((1, 1, 3, 4), "f")),
        n.depth_to_space(o.concatenate([x] * 3, -1)[:, None], 2), n.space_to_depth(image_[:, :6], 2), *n.moments(x, 1),
        *n.moments(x, [1, 2], keepdims=True), n.psnr(x, y, 2.0),
        n.batch_normalization(x, y[0, 0], o.abs(y[0, 1]) + 1, -1, y[0, 2], y[0, 3]), n.layer_normalization(x, y[0, 0], y[0, 1]),
        n.rms_normalization(x, y[0, 0]), n.dot_product_attention(image_, image_ + 1, image_),
        n.multi_hot(o.cast(o.abs(x[0]), "int32"), 5), n.dot_product_attention(image_, image_, image_, is_causal=True),
        n.binary_crossentropy(o.sigmoid(x), o.sigmoid(y)), n.binary_crossentropy(o.sigmoid(x), y, from_logits=True),
        o.image.resize(image_, (5, 9)), o.image.resize(image_, (5, 9), "nearest"), o.image.rgb_to_grayscale(image_),
        o.image.rgb_to_hsv(o.sigmoid(image_)), o.image.hsv_to_rgb(o.sigmoid(image_)),
        o.image.pad_images(image_, 1, 2, target_height=10, target_width=9),
        o.image.crop_images(image_, 1, 1, target_height=4, target_width=2), o.image.extract_patches(image_, 2),
        o.image.gaussian_blur(image_, (3, 3), (1.0, 0.5)),
        o.image.affine_transform(image_, o.reshape(o.tile(np.array([1, 0.1, 0.2, 0, 1, 0.5, 0, 0], "f"), 2), (2, 8))),
    ]  # fmt: skip


def _linalg(x: Any, y: Any) -> list[Any]:
    eye = np.eye(4, dtype="f")
    square = o.matmul(o.transpose(x, (0, 2, 1)), x) + eye
    ids = np.array([0, 2, 1, 0, 2, 2, 1])
    return [
        o.cholesky(square), o.cholesky(square, upper=True), o.det(square), o.inv(square), o.logdet(square), *o.slogdet(square),
        o.solve(square, y[:, :4]), o.solve_triangular(o.tril(square), y[:, :4], lower=True), o.segment_sum(x[0], ids, 4),
        o.segment_max(x[0], ids, 3), o.segment_min(x[0], ids, 3), o.segment_prod(x[0], ids, 3),
        o.in_top_k(o.argmax(y[0], -1), x[0], 2), o.extract_sequences(x, 2, 1), *o.fft((x, y)), *o.rfft(x), *o.rfft(x, 8),
        *o.fft2((x, y)), *o.ifft2((x, y)), o.irfft((x, y)), *o.stft(o.reshape(x, (2, 28)), 6, 3, 8),
        *o.stft(o.reshape(x, (2, 28)), 8, 4, 8, "hamming", center=False), o.cdist(x, y),
        *[each * 0 + o.abs(each) for each in o.qr(x)],
    ]  # fmt: skip


MODELS: dict[str, Callable[[Any, Any], list[Any]]] = {
    "elements": _elements,
    "arrays": _arrays,
    "nan": _nan,
    "nets": _nets,
    "linalg": _linalg,
}


def _ports(model: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    outputs = model(arrays)
    return [np.asarray(each) for each in outputs]


@pytest.mark.parametrize("name", MODELS)
def test_operations(name: str, tmp_path: Any) -> None:
    given = [keras.Input((7, 4), batch_size=2), keras.Input((7, 4), batch_size=2)]
    made = MODELS[name](*given)
    model = keras.Model(given, made)
    random = np.random.default_rng(3)
    arrays = [random.normal(0, 1, (2, 7, 4)).astype(np.float32) for _ in given]
    expected = _ports(model, arrays)
    source = save(model, "keras", tmp_path)
    tensorferry.convert(source, tmp_path / "model.tflite", verify=False)
    with LiteRtModel(tmp_path / "model.tflite") as lite:
        found = list(lite.run(dict(zip([slot.name for slot in lite.inputs], arrays, strict=True))).values())
    _compare("TensorFlow Lite", made, found, expected)
    if tfjs.available() is None:
        tensorferry.convert(source, tmp_path / "web", verify=False)
        with tfjs.Session() as session:
            run = session.run(tmp_path / "web", dict(zip(tfjs.read_ports(tmp_path / "web")[0], arrays, strict=True)))
        _compare("TensorFlow.js", made, list(run.outputs.values()), expected)


def _compare(where: str, made: list[Any], found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    wrong = []
    for number, (tensor, mine, other) in enumerate(zip(made, found, expected, strict=True)):
        kept = np.isfinite(other.astype(np.float64)) if other.dtype.kind == "f" else np.ones(other.shape, bool)
        same = mine.shape == other.shape and np.array_equal(np.isfinite(mine), kept) if other.dtype.kind == "f" else True
        if not same or not agree(np.where(kept, mine, 0) if mine.shape == kept.shape else mine, np.where(kept, other, 0)):
            wrong.append(f"{number} {tensor._keras_history.operation.name} {mine.shape} {other.shape}")
    assert not wrong, where
