"""ConvLSTM1D, 2D and 3D: long short-term memories whose products are convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tensorferry.ir import Value
from tensorferry.readers.keras.activations import activate
from tensorferry.readers.keras.building import Builder, values_in
from tensorferry.readers.keras.description import Config
from tensorferry.readers.keras.layers.cells import roles
from tensorferry.readers.keras.layers.recurrent import outputs_of, tell_stateful, time_first, turned
from tensorferry.readers.keras.registry import Slot, layer
from tensorferry.readers.keras.scanning import Scan, scan
from tensorferry.tensor import ReshapedTensor, Tensor

_PADDINGS = ("valid", "same")


def _roles(config: Config) -> list[str | Slot]:
    return roles(config, "cell/")


@layer("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", weights=_roles)
def convolutional_lstm(build: Builder, config: Config, inputs: Sequence[Value]) -> Value | list[Value]:
    """Images (rows, volumes) step by step, channels last inside."""
    axes = int(build.layer.class_name[-2])
    x, first = inputs[0], list(inputs[1:]) + values_in(build.kwargs.get("initial_state"))
    if build.rank(x) != axes + 3:
        raise build.unsupported(f"its input has {build.rank(x)} axes, not {axes + 3}")
    channels_first = config.text("data_format", "channels_last") == "channels_first"
    sequence, mask = time_first(build, config, x)
    if channels_first:
        sequence = build.transpose(sequence, [0, 1, *range(3, axes + 3), 2])
        first = [build.transpose(each, [0, *range(2, axes + 2), 1]) for each in first]
    if config.flag("go_backwards"):
        sequence, mask = turned(build, sequence, 0), None if mask is None else turned(build, mask, 0)
    convolution = _Convolution.of(config, axes)
    if not first:
        if config.flag("stateful"):
            tell_stateful(build)
        first = [convolution.zeros(build, sequence)] * 2
    given = Scan(sequence, first, mask, config.flag("return_sequences"), config.flag("unroll"))
    made = scan(build, given, convolution.step)
    if channels_first:
        back = [0, axes + 1, *range(1, axes + 1)]
        made.last = build.transpose(made.last, back)
        made.states = [build.transpose(each, back) for each in made.states]
        if made.outputs is not None:
            made.outputs = build.transpose(made.outputs, [0, 1, axes + 2, *range(2, axes + 2)])
    return outputs_of(build, config, made, x)


class _Convolution:
    """What the layer's config says of its convolutions, over this many axes."""

    def __init__(self, axes: int, strides: tuple[int, ...], dilations: tuple[int, ...], padding: str, filters: int) -> None:
        self.axes = axes
        self.strides = strides
        self.dilations = dilations
        self.padding = padding
        self.filters = filters

    @classmethod
    def of(cls, config: Config, axes: int) -> _Convolution:
        strides, dilations = config.integers("strides", axes, 1), config.integers("dilation_rate", axes, 1)
        return cls(axes, strides, dilations, config.text("padding", "valid", _PADDINGS), config.integer("filters"))

    def run(self, build: Builder, x: Value, role: str, *, plain: bool = False) -> Value:
        """x by a kernel; `plain`: without steps, and padded so that the size stays."""
        ones = (1,) * self.axes
        strides, dilations = (ones, ones) if plain else (self.strides, self.dilations)
        attrs = {"padding": "SAME" if plain else self.padding.upper()}
        if self.axes == 1:
            kernel = build.weight(role, _with_row, "/row")
            made = build.add("Conv2D", (build.expand(x, 1), kernel), attrs | _steps((1, *strides), (1, *dilations)))
            return build.squeeze(made, (1,))
        op = "Conv2D" if self.axes == 2 else "Conv3D"
        return build.add(op, (x, build.weight(role)), attrs | _steps(strides, dilations))

    def zeros(self, build: Builder, sequence: Value) -> Value:
        """The first state."""
        kernel = build.tensor("cell/kernel").shape
        sizes = [self._size(build.size(sequence, 2 + axis), kernel[axis], axis) for axis in range(self.axes)]
        return build.zeros([build.sizes(sequence)[1], *sizes, self.filters])

    def _size(self, size: int, kernel: int, axis: int) -> int:
        step = self.strides[axis]
        return -(-size // step) if self.padding == "same" else (size - (kernel - 1) * self.dilations[axis] - 1) // step + 1

    def step(self, build: Builder, x: Value, states: Sequence[Value]) -> tuple[Value, list[Value]]:
        """One step, as the plain LSTM's."""
        total = self.run(build, x, "cell/kernel")
        if build.has("cell/bias"):
            total = build.add("BiasAdd", (total, build.weight("cell/bias")))
        total = build.add("AddV2", (total, self.run(build, states[0], "cell/recurrent_kernel", plain=True)))
        axis = build.constant(self.axes + 1, name="axis")
        i, f, c, o = build.add_all("Split", (axis, total), {"num_split": 4})
        gate = _activation(build, "recurrent_activation", "hard_sigmoid")
        curve = _activation(build, "activation", "tanh")
        cell = build.add("AddV2", (build.add("Mul", (gate(f), states[1])), build.add("Mul", (gate(i), curve(c)))))
        state = build.add("Mul", (gate(o), curve(cell)))
        return state, [state, cell]


def _activation(build: Builder, key: str, default: str) -> Callable[[Value], Value]:
    return lambda value: activate(build, value, build.config.get(key, default))


def _steps(strides: Sequence[int], dilations: Sequence[int]) -> dict[str, object]:
    return {"strides": (1, *strides, 1), "dilations": (1, *dilations, 1)}


def _with_row(tensor: Tensor) -> Tensor:
    return ReshapedTensor(tensor, (1, *tensor.shape))
