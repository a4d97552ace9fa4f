"""Normalisations, as they act once a model is trained."""

from __future__ import annotations

from collections.abc import Sequence

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder, Size
from tensorferry.readers.keras.description import Config, Layer
from tensorferry.readers.keras.parsing import parse_layer
from tensorferry.readers.keras.registry import Slot, Slots, layer
from tensorferry.tensor import ReshapedTensor


def scale_and_centre(config: Config) -> list[str]:
    """gamma and beta, as far as the layer has them."""
    return [role for role, key in (("gamma", "scale"), ("beta", "center")) if config.flag(key, True)]


def batch_weights(config: Config) -> Slots:
    """Two that are trained, and the averages over the batches."""
    averages = [Slot(role, trainable=False) for role in ("moving_mean", "moving_variance")]
    if config.flag("renorm"):
        averages += [Slot(role, trainable=False) for role in ("renorm_mean", "renorm_stddev")]
    return [*scale_and_centre(config), *averages]


@layer("BatchNormalization", "SyncBatchNormalization", weights=batch_weights, keeps_mask=True)
def batch_normalization(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """With the averages that training has left, which makes it a product and a sum."""
    value = build.floating(inputs[0])
    mode = config.integer("mode", 0)
    if mode == 1:
        return _by_sample(build, config, value)
    if mode == 2:
        raise build.unsupported("with mode=2 it measures each batch anew", "save it with mode=0")
    rank, axis = build.rank(value), _only_axis(build, config, value)
    order = [each for each in range(rank) if each != axis] + [axis]
    turned = value if axis == rank - 1 else build.transpose(value, order)
    made = _fused(build, config, turned) if rank == 4 else _in_steps(build, config, turned)
    return made if axis == rank - 1 else build.transpose(made, [order.index(each) for each in range(rank)])


def _only_axis(build: Builder, config: Config, value: Value) -> int:
    given = config.get("axis", -1)
    axes = given if isinstance(given, list) else [given]
    if len(axes) != 1 or not isinstance(axes[0], int):
        raise build.unsupported("it normalises over several axes at once")
    return build.axis(value, axes[0])


def _fused(build: Builder, config: Config, value: Value) -> Value:
    channels = build.size(build.weight("moving_mean"), 0)
    gamma = build.weight("gamma") if build.has("gamma") else build.constant([1.0] * channels, name="gamma")
    beta = build.weight("beta") if build.has("beta") else build.constant([0.0] * channels, name="beta")
    attrs = {"is_training": False, "epsilon": config.number("epsilon", 1e-3), "data_format": "NHWC"}
    return build.add("FusedBatchNormV3", (value, gamma, beta, build.weight("moving_mean"), build.weight("moving_variance")), attrs)


def _in_steps(build: Builder, config: Config, value: Value) -> Value:
    variance = build.weight("moving_variance")
    factor = build.add("Rsqrt", (build.add("AddV2", (variance, build.number(config.number("epsilon", 1e-3), variance))),))
    if build.has("gamma"):
        factor = build.add("Mul", (factor, build.weight("gamma")))
    shift = build.add("Mul", (build.weight("moving_mean"), factor))
    offset = build.add("Sub", (build.weight("beta"), shift)) if build.has("beta") else build.add("Neg", (shift,))
    return build.add("AddV2", (build.add("Mul", (value, factor)), offset))


def _by_sample(build: Builder, config: Config, value: Value) -> Value:
    """mode=1 of Keras 1: mean and deviation over the last axis of each sample."""
    mean = build.reduce("Mean", value, [-1], keep=True)
    centred = build.add("Sub", (value, mean))
    deviation = build.add("Sqrt", (build.reduce("Mean", build.add("Square", (centred,)), [-1], keep=True),))
    value = build.add("RealDiv", (centred, build.add("AddV2", (deviation, build.number(config.number("epsilon", 1e-3), value)))))
    return build.add("AddV2", (build.add("Mul", (value, build.weight("gamma"))), build.weight("beta")))


def axes_of(build: Builder, config: Config, value: Value) -> list[int]:
    """The axes that a config names, in order."""
    given = config.get("axis", -1)
    axes = given if isinstance(given, list | tuple) else [given]
    if not axes or any(isinstance(each, bool) or not isinstance(each, int) for each in axes):
        raise config.wrong("axis", "an axis or a list of them")
    return sorted({build.axis(value, each) for each in axes})


def _along(build: Builder, role: str, value: Value, axes: Sequence[int]) -> Value:
    """A weight in a shape that meets these axes of the value."""
    tensor = build.tensor(role)
    rank = build.rank(value)
    if list(axes) == list(range(rank - len(axes), rank)):
        return build.weight(role)
    sizes = iter(tensor.shape)
    shape = [next(sizes, 1) if axis in axes else 1 for axis in range(rank)]
    return build.weight(role, lambda each: ReshapedTensor(each, shape), "/along")


def standardised(build: Builder, value: Value, axes: Sequence[int], epsilon: float) -> Value:
    """The value with mean 0 and deviation 1 over axes."""
    mean = build.reduce("Mean", value, axes, keep=True)
    centred = build.add("Sub", (value, mean))
    variance = build.reduce("Mean", build.add("Square", (centred,)), axes, keep=True)
    return build.add("Mul", (centred, build.add("Rsqrt", (build.add("AddV2", (variance, build.number(epsilon, value))),))))


def layer_weights(config: Config) -> list[str]:
    """With `rms_scaling` there is nothing to centre."""
    return ["gamma"] if config.flag("rms_scaling") else scale_and_centre(config)


@layer("LayerNormalization", weights=layer_weights, keeps_mask=True)
def layer_normalization(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Over axes of each sample."""
    value = build.floating(inputs[0])
    axes, epsilon = axes_of(build, config, value), config.number("epsilon", 1e-3)
    if config.flag("rms_scaling"):
        mean = build.reduce("Mean", value, axes, keep=True)
        centred = build.add("Sub", (value, mean))
        variance = build.reduce("Mean", build.add("Square", (centred,)), axes, keep=True)
        factor = build.add("Rsqrt", (build.add("AddV2", (variance, build.number(epsilon, value))),))
        return build.add("Mul", (build.add("Mul", (value, factor)), _along(build, "gamma", value, axes)))
    made = standardised(build, value, axes, epsilon)
    return _scaled(build, made, axes)


def _scaled(build: Builder, value: Value, axes: Sequence[int]) -> Value:
    if build.has("gamma"):
        value = build.add("Mul", (value, _along(build, "gamma", value, axes)))
    return build.add("AddV2", (value, _along(build, "beta", value, axes))) if build.has("beta") else value


@layer("RMSNormalization", weights=["scale"], keeps_mask=True)
def rms_normalization(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """By the root of the mean square."""
    value = build.floating(inputs[0])
    axes = axes_of(build, config, value)
    square = build.reduce("Mean", build.add("Square", (value,)), axes, keep=True)
    factor = build.add("Rsqrt", (build.add("AddV2", (square, build.number(config.number("epsilon", 1e-6), value))),))
    return build.add("Mul", (build.add("Mul", (value, factor)), _along(build, "scale", value, axes)))


@layer("GroupNormalization", weights=scale_and_centre, keeps_mask=True)
def group_normalization(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Over all places and the channels of a group."""
    value = build.floating(inputs[0])
    axis = axes_of(build, config, value)[0]
    channels, rank = build.size(value, axis), build.rank(value)
    groups = config.integer("groups", 32)
    groups = channels if groups == -1 else groups
    if groups < 1 or channels % groups:
        raise build.unsupported(f"{channels} channels do not divide into {groups} groups")
    sizes: list[Size] = build.sizes(value)
    apart = [*sizes[:axis], groups, channels // groups, *sizes[axis + 1 :]]
    over = [each for each in range(1, rank + 1) if each != axis]
    made = standardised(build, build.reshape(value, apart), over, config.number("epsilon", 1e-3))
    return _scaled(build, build.reshape(made, sizes), [axis])


@layer("UnitNormalization", keeps_mask=True)
def unit_normalization(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """To length 1."""
    value = build.floating(inputs[0])
    square = build.reduce("Sum", build.add("Square", (value,)), axes_of(build, config, value), keep=True)
    least = build.add("Maximum", (square, build.number(1e-12, value)))
    return build.add("Mul", (value, build.add("Rsqrt", (least,))))


def _wrapped(owner: Layer) -> dict[str, Layer]:
    return {"layer": parse_layer(owner.config.get("layer"), owner.version, 1)}


def _spectral_weights(config: Config) -> Slots:
    """Keras 3's own form has the kernel a second time, as the wrapper's."""
    again = [Slot("kernel", listed=False)] if config.release == 3 else []
    return [*again, Slot("vector_u", trainable=False)]


@layer("SpectralNormalization", weights=_spectral_weights, children=_wrapped, keeps_mask=True)
def spectral_normalization(build: Builder, _config: Config, inputs: Sequence[Value]) -> Value:
    """The kernel is normalised as it is trained, and saved so."""
    made: Value = build.run(build.layer.children["layer"], [inputs[0]])
    return made
