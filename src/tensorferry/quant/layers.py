"""Convolutions and dense layers of a program: operators whose output is weight times window of the data, plus a bias."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tensorferry.program import Program, ProgramOperator, ProgramTensor, Subgraph
from tensorferry.tensor import Array, ArrayTensor, DType, Tensor

KINDS = {"CONV_2D": 0, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 0}
"""Operator -> axis of its weight along which the output's channels lie."""


@dataclass(frozen=True, slots=True)
class Window:
    """What of the data one output element sees. Dense layers see a row: sizes of 1."""

    height: int = 1
    width: int = 1
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    same: bool = False

    @property
    def taps(self) -> int:
        return self.height * self.width


@dataclass(frozen=True, slots=True)
class Layer:
    """An operator of the first subgraph, its place there, and its tensors by number. Its weight is float and its own."""

    place: int
    kind: str
    data: int
    weight: int
    bias: int
    output: int
    window: Window
    channels: int
    features: int
    """What a channel of the output is a weighted sum of: taps, times input channels unless depthwise."""

    @property
    def depthwise(self) -> bool:
        return self.kind == "DEPTHWISE_CONV_2D"

    @property
    def axis(self) -> int:
        return KINDS[self.kind]

    def rows(self, weight: Array) -> Array:
        """The weight as [channels, features], float64."""
        numbers = weight.astype(np.float64)
        return numbers.reshape(self.features, self.channels).T if self.depthwise else numbers.reshape(self.channels, -1)

    def unrows(self, rows: Array) -> Array:
        """Back into the order in which the weight is stored, as a vector."""
        return (rows.T if self.depthwise else rows).reshape(-1)


def layers_of(program: Program) -> list[Layer]:
    """In the order they run. Left out: grouped convolutions, weights that are computed, shared or not float, unknown shapes."""
    main = program.subgraphs[0]
    readers = Counter(number for each in main.operators for number in each.inputs)
    found = (_layer(program, main, place, operator, readers) for place, operator in enumerate(main.operators))
    return [each for each in found if each is not None]


def _layer(program: Program, main: Subgraph, place: int, operator: ProgramOperator, readers: Counter[int]) -> Layer | None:
    code = program.codes[operator.code]
    if code.custom or code.name not in KINDS or len(operator.inputs) < 3 or min(operator.inputs) < 0:
        return None
    data, weight, bias = operator.inputs[:3]
    tensors = main.tensors
    constants = [tensors[weight], tensors[bias]]
    if not all(each.buffer and each.dtype is DType.FLOAT32 for each in constants) or tensors[data].buffer:
        return None
    if tensors[data].dtype is not DType.FLOAT32 or readers[weight] != 1 or readers[bias] != 1:
        return None
    shape = program.content(tensors[weight]).shape
    if code.name == "FULLY_CONNECTED":
        return Layer(place, code.name, data, weight, bias, operator.outputs[0], Window(), shape[0], shape[1])
    depth = (tensors[data].shape or (None,))[-1]
    window = _window(operator, shape)
    if code.name == "DEPTHWISE_CONV_2D":
        fits, channels, features = shape[3] == depth, shape[3], window.taps
    else:
        fits, channels, features = shape[3] == depth, shape[0], math.prod(shape[1:])
    return Layer(place, code.name, data, weight, bias, operator.outputs[0], window, channels, features) if fits else None


def _window(operator: ProgramOperator, shape: tuple[int, ...]) -> Window:
    options = operator.options
    strides = int(options.get("stride_h", 1)), int(options.get("stride_w", 1))
    dilations = int(options.get("dilation_h_factor", 1)), int(options.get("dilation_w_factor", 1))
    return Window(shape[1], shape[2], strides, dilations, options.get("padding", "SAME") in ("SAME", 0))


def own_constants(program: Program) -> Program:
    """The same program, in which each layer has a bias, and weight and bias are tensors of no other operator.

    Equal constants are one tensor when a program is made; what corrects one layer must not touch another.
    """
    made = Program(list(program.entries), [], list(program.codes), list(program.buffers))
    for subgraph in program.subgraphs:
        made.subgraphs.append(replace(subgraph, tensors=list(subgraph.tensors), operators=list(subgraph.operators)))
    main = made.subgraphs[0]
    readers = Counter(number for each in main.operators for number in each.inputs)
    names = {each.name for each in main.tensors}
    for place, operator in enumerate(main.operators):
        code = made.codes[operator.code]
        if not code.custom and code.name in KINDS and operator.inputs[1] >= 0 and main.tensors[operator.inputs[1]].buffer:
            main.operators[place] = replace(operator, inputs=tuple(_own_inputs(made, operator, readers, names)))
    return made


def _own_inputs(program: Program, operator: ProgramOperator, readers: Counter[int], names: set[str]) -> Iterator[int]:
    main = program.subgraphs[0]
    yield operator.inputs[0]
    for slot in (1, 2):
        number = operator.inputs[slot] if slot < len(operator.inputs) else -1
        if number < 0:
            weight = main.tensors[operator.inputs[1]]
            channels = (weight.shape or (0,))[KINDS[program.codes[operator.code].name]]
            program.buffers.append(ArrayTensor(np.zeros(int(channels), np.float32)))
            like = ProgramTensor(f"{weight.name}/bias", DType.FLOAT32, (channels,), len(program.buffers) - 1)
        elif readers[number] > 1 and main.tensors[number].buffer:
            like = main.tensors[number]
        else:
            yield number
            continue
        main.tensors.append(replace(like, name=_unique(like.name, names)))
        yield len(main.tensors) - 1
    yield from operator.inputs[3:]


def _unique(name: str, names: set[str]) -> str:
    unique, count = name, 0
    while unique in names:
        count += 1
        unique = f"{name}_{count}"
    names.add(unique)
    return unique


def replaced(program: Program, contents: dict[int, Tensor]) -> Program:
    """The program with other elements for some constants of the first subgraph, by tensor number."""
    made = Program(list(program.entries), list(program.subgraphs), list(program.codes), list(program.buffers))
    tensors = list(program.subgraphs[0].tensors)
    for number, content in contents.items():
        made.buffers.append(content)
        tensors[number] = replace(tensors[number], buffer=len(made.buffers) - 1)
    made.subgraphs[0] = replace(program.subgraphs[0], tensors=tensors)
    return made


def windows(layer: Layer, data: Array, most: int) -> Array:
    """What output elements see, at up to `most` positions spread evenly.

    [positions, features], of depthwise convolutions [positions, channels, taps]. The features of the others are in the order of the
    weight: height, width, channels.
    """
    if layer.kind == "FULLY_CONNECTED":
        rows = data.reshape(-1, layer.features)
        return rows[_spread(len(rows), most)]
    window = layer.window
    padded = _pad(data, window)
    reach = [(size - 1) * step + 1 for size, step in zip((window.height, window.width), window.dilations, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(1, 2))
    views = views[:, :: window.strides[0], :: window.strides[1], :, :: window.dilations[0], :: window.dilations[1]]
    positions = np.unravel_index(_spread(math.prod(views.shape[:3]), most), views.shape[:3])
    seen = views[positions]  # [positions, channels, height, width]
    if layer.depthwise:
        return seen.reshape(*seen.shape[:2], -1)
    return seen.transpose(0, 2, 3, 1).reshape(len(seen), -1)


def _pad(data: Array, window: Window) -> Array:
    """Zeros as the kernels add them: the odd one behind."""
    widths = [(0, 0)]
    sizes = (window.height, window.width)
    for size, taps, stride, dilation in zip(data.shape[1:3], sizes, window.strides, window.dilations, strict=True):
        reach = (taps - 1) * dilation + 1
        missing = max(0, (-(-size // stride) - 1) * stride + reach - size) if window.same else 0
        widths.append((missing // 2, missing - missing // 2))
    return np.pad(data, (*widths, (0, 0)))


def _spread(count: int, most: int) -> Array:
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).astype(np.int64)
