"""TensorFlow's ops for sound: AudioSpectrogram and Mfcc, as convolutions and matrix products; DecodeWav, which reads files.

Both follow what TensorFlow's kernels compute (spectrogram.cc, mfcc.cc, mfcc_mel_filterbank.cc, mfcc_dct.cc).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Dim, Graph, Node, Typed, Value
from tensorferry.ops.dims import known_integer
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.tensor import Array, DType

# -- spectrogram ---------------------------------------------------------------------------------------------------


def _fourier_length(window: int) -> int:
    """The next power of two."""
    return 1 << (window - 1).bit_length()


def _window(node: Node) -> tuple[int, int, int]:
    window, stride = int(node["window_size"]), int(node["stride"])
    if window < 2 or stride < 1:
        raise Declined(f"its window of {window} samples moves by {stride}")
    return window, stride, _fourier_length(window)


def _infer_spectrogram(node: Node) -> list[Typed]:
    window, stride, length = _window(node)
    shape = node.inputs[0].shape
    if shape is None:
        return [Typed(DType.FLOAT32, (UNKNOWN_DIM, UNKNOWN_DIM, length // 2 + 1))]
    if len(shape) != 2:
        raise Declined(f"its input has rank {len(shape)}, not [samples, channels]")
    samples, channels = shape
    frames: Dim = max(0, 1 + (samples - window) // stride) if isinstance(samples, int) else UNKNOWN_DIM
    return [Typed(DType.FLOAT32, (channels, frames, length // 2 + 1))]


def _hann(window: int) -> Array:
    """As it repeats: the last sample is not that of the first again."""
    return np.asarray(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window))


def _evaluate_spectrogram(node: Node, x: Array) -> Array:
    window, stride, length = _window(node)
    count = max(0, 1 + (len(x) - window) // stride)
    places = np.arange(count)[:, None] * stride + np.arange(window)
    spectrum = np.fft.rfft(x.astype(np.float64).T[:, places] * _hann(window), length)
    power = spectrum.real**2 + spectrum.imag**2
    return np.asarray(power if node["magnitude_squared"] else np.sqrt(power), np.float32)


def _expand_spectrogram(graph: Graph, node: Node) -> bool:
    """Frames, window and Fourier transform are one convolution along the samples: cosines, then sines."""
    window, stride, length = _window(node)
    value = node.inputs[0]
    if value.shape is None or (isinstance(value.shape[0], int) and value.shape[0] < window):
        raise Declined("its input is shorter than a window")
    expansion = Expansion(graph, node)
    turns = np.outer(np.arange(window), np.arange(length // 2 + 1)) % length * (2 * np.pi / length)
    waves = np.concatenate([np.cos(turns), np.sin(turns)], axis=1) * _hann(window)[:, None]
    kernel = expansion.constant(waves.astype(np.float32)[None, :, None, :], "waves")
    sound = expansion.make("Transpose", value, np.array([1, 0], np.int32))
    sound = expansion.make("ExpandDims", expansion.make("ExpandDims", sound, np.array(1, np.int32)), np.array(3, np.int32))
    both = expansion.make("Conv2D", sound, kernel, strides=[1, 1, stride, 1], padding="VALID")
    both = expansion.make("Squeeze", both, squeeze_dims=[1])
    parts = expansion.make_node("Split", np.array(-1, np.int32), both, num_split=2).outputs
    power = expansion.make("AddV2", *(expansion.make("Square", part) for part in parts))
    return expansion.finish(power if node["magnitude_squared"] else expansion.make("Sqrt", power))


# -- mel-frequency cepstral coefficients ---------------------------------------------------------------------------

FLOOR = 1e-12
"""What is taken the logarithm of at least."""


@dataclass(frozen=True)
class Bank:
    """Triangular filters, equally wide in mel, with half of the next on either side."""

    lower: float
    upper: float
    channels: int

    @classmethod
    def of(cls, node: Node) -> Bank:
        bank = cls(
            float(node["lower_frequency_limit"]), float(node["upper_frequency_limit"]), int(node["filterbank_channel_count"])
        )
        if bank.channels < 1 or not 0 <= bank.lower < bank.upper:
            raise Declined(f"it has {bank.channels} filters from {bank.lower:g} to {bank.upper:g} Hz")
        return bank

    def edges(self) -> Array:
        """[channels + 2] mel: where the first filter begins, the centres, where the last one ends."""
        low, high = (1127.0 * np.log1p(limit / 700.0) for limit in (self.lower, self.upper))
        return np.asarray(low + (high - low) / (self.channels + 1) * np.arange(self.channels + 2))

    def weights(self, bins: int, rate: int) -> Array:
        """[bins, channels] for a sample rate; the constant component is always left out."""
        step = 0.5 * rate / (bins - 1)
        first, last = int(1.5 + self.lower / step), int(self.upper / step)
        if last >= bins:
            raise Declined(f"its filters reach to {self.upper:g} Hz, a signal at {rate} Hz to half of that")
        mel = 1127.0 * np.log1p(np.arange(bins) * step / 700.0)[:, None]
        edges = self.edges()
        rising = (mel - edges[:-2]) / np.diff(edges)[:-1]
        falling = (edges[2:] - mel) / np.diff(edges)[1:]
        used = (np.arange(bins) >= first) & (np.arange(bins) <= last)
        return np.asarray(np.clip(np.minimum(rising, falling), 0, None) * used[:, None])


def _cosines(channels: int, count: int) -> Array:
    """[channels, count]"""
    return np.asarray(np.sqrt(2.0 / channels) * np.cos(np.outer(np.arange(channels) + 0.5, np.arange(count)) * np.pi / channels))


def _infer_mfcc(node: Node) -> list[Typed]:
    shape = node.inputs[0].shape
    outer = (UNKNOWN_DIM, UNKNOWN_DIM) if shape is None else shape[:2]
    if shape is not None and len(shape) != 3:
        raise Declined(f"its input has rank {len(shape)}, not [channels, frames, frequencies]")
    return [Typed(DType.FLOAT32, (*outer, int(node["dct_coefficient_count"])))]


def _evaluate_mfcc(node: Node, spectrogram: Array, rate: Array) -> Array:
    bank = Bank.of(node)
    sounds = np.sqrt(spectrogram.astype(np.float64)) @ bank.weights(spectrogram.shape[-1], int(rate))
    made = np.log(np.maximum(sounds, FLOOR)) @ _cosines(bank.channels, int(node["dct_coefficient_count"]))
    return np.asarray(made, np.float32)


def _expand_mfcc(graph: Graph, node: Node) -> bool:
    bank = Bank.of(node)
    value, rate = node.inputs
    bins = None if value.shape is None else value.shape[-1]
    if not isinstance(bins, int):
        raise Declined("the number of its frequencies is not known")
    expansion = Expansion(graph, node)
    known = known_integer(rate)
    if known is None:
        weights = _computed_weights(expansion, bank, bins, rate)
    else:
        weights = expansion.constant(bank.weights(bins, known).astype(np.float32), "filters")
    sounds = expansion.make("BatchMatMulV2", expansion.make("Sqrt", value), weights)
    loud = expansion.make("Log", expansion.make("Maximum", sounds, FLOOR))
    cosines = _cosines(bank.channels, int(node["dct_coefficient_count"])).astype(np.float32)
    return expansion.finish(expansion.make("BatchMatMulV2", loud, cosines))


def _computed_weights(expansion: Expansion, bank: Bank, bins: int, rate: Value) -> Value:
    """As Bank.weights, for a sample rate that is an input of the model."""
    edges = bank.edges().astype(np.float32)

    def do(op: str, *values: Value | Array | float) -> Value:
        ready = [each if isinstance(each, Value) else np.asarray(each, np.float32) for each in values]
        return expansion.make(op, *ready)

    step = do("Mul", expansion.make("Cast", rate, DstT=DType.FLOAT32), 0.5 / (bins - 1))
    places = np.arange(bins, dtype=np.float32)[:, None]
    mel = do("Mul", do("Log1p", do("Mul", do("Mul", step, places), 1 / 700.0)), 1127.0)
    rising = do("RealDiv", do("Sub", mel, edges[:-2]), np.diff(edges)[:-1])
    falling = do("RealDiv", do("Sub", edges[2:], mel), np.diff(edges)[1:])
    first = do("Floor", do("AddV2", do("RealDiv", bank.lower, step), 1.5))
    last = do("Floor", do("RealDiv", bank.upper, step))
    used = do("LogicalAnd", do("GreaterEqual", places, first), do("LessEqual", places, last))
    return do("SelectV2", used, do("Maximum", do("Minimum", rising, falling), 0.0), 0.0)


# -- files ---------------------------------------------------------------------------------------------------------


def _infer_wav(node: Node) -> list[Typed]:
    sizes = [int(node[key]) if int(node[key]) > 0 else UNKNOWN_DIM for key in ("desired_samples", "desired_channels")]
    return [Typed(DType.FLOAT32, tuple(sizes)), Typed(DType.INT32, ())]


# -- examples ------------------------------------------------------------------------------------------------------


def _sound(samples: int, channels: int) -> Array:
    noise: Array = np.random.default_rng(samples).standard_normal((samples, channels)) * 0.1
    return np.asarray(np.sin(np.arange(samples) * 0.7)[:, None] + noise, np.float32)


def _spectrogram_examples() -> Iterator[Example]:
    attrs = {"window_size": 8, "stride": 4}
    yield Example((_sound(30, 1),), attrs | {"magnitude_squared": True}, note="power", tolerance=2e-6)
    yield Example((_sound(30, 2),), attrs | {"magnitude_squared": False}, note="stereo, magnitude", tolerance=2e-6)
    odd = {"window_size": 6, "stride": 7, "magnitude_squared": True}
    yield Example((_sound(25, 1),), odd, note="filled up to a power of two, with gaps", tolerance=2e-6)
    yield Example((_sound(700, 1),), {"window_size": 320, "stride": 160, "magnitude_squared": True}, note="speech", tolerance=2e-6)


def _mfcc_examples() -> Iterator[Example]:
    spectrogram = np.abs(np.random.default_rng(1).standard_normal((2, 3, 129))).astype(np.float32)
    rate = np.array(16000, np.int32)
    yield Example((spectrogram, rate), {}, (1,), note="defaults", tolerance=1e-5)
    yield Example((spectrogram, rate), {}, note="sample rate computed", tolerance=1e-5)
    attrs = {"upper_frequency_limit": 2500.0, "lower_frequency_limit": 100.0, "filterbank_channel_count": 10}
    rate = np.array(8000, np.int32)
    yield Example((spectrogram, rate), attrs | {"dct_coefficient_count": 6}, (1,), note="other limits", tolerance=1e-5)
    yield Example((np.zeros((1, 2, 65), np.float32), rate), {"upper_frequency_limit": 3000.0}, (1,), note="silence", tolerance=1e-5)


SPECS = (
    OpSpec(
        name="DecodeWav",
        attrs={"desired_channels": -1, "desired_samples": -1},
        infer=_infer_wav,
    ),
    OpSpec(
        name="AudioSpectrogram",
        attrs={"window_size": 0, "stride": 0, "magnitude_squared": False},
        infer=_infer_spectrogram,
        evaluate=_evaluate_spectrogram,
        expand=_expand_spectrogram,
        examples=_spectrogram_examples,
    ),
    OpSpec(
        name="Mfcc",
        attrs={
            "upper_frequency_limit": 4000.0,
            "lower_frequency_limit": 20.0,
            "filterbank_channel_count": 40,
            "dct_coefficient_count": 13,
        },
        infer=_infer_mfcc,
        evaluate=_evaluate_mfcc,
        expand=_expand_mfcc,
        examples=_mfcc_examples,
    ),
)
"""Nothing runs DecodeWav, which reads the bytes of a file: its results are known by type, to be a model's inputs."""
