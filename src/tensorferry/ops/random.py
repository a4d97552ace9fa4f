"""Random numbers: drawn anew by the targets' own ops; or, where the seed alone decides and stands in the graph, constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from tensorferry import ops
from tensorferry.ir import Graph, Node, Shape, Typed
from tensorferry.ops import philox
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.filling import shape_operand
from tensorferry.ops.index_operands import lite_int32
from tensorferry.ops.spec import Declined, Example, Infer, OpSpec
from tensorferry.targets import JsNode, LiteOp
from tensorferry.tensor import Array, ArrayTensor, DType

MOST_BYTES = 64 << 20
"""Of random numbers that are written into a model as a constant."""

PHILOX = 1
"""TensorFlow's number of the algorithm; it is the one that CPUs are given."""

_SEEDS = {"seed": 0, "seed2": 0}


def _infer_drawn(node: Node) -> list[Typed]:
    return [Typed(node["dtype"], shape_operand(node.inputs[0]))]


def _infer_between(node: Node) -> list[Typed]:
    return [Typed(node.inputs[1].dtype, shape_operand(node.inputs[0]))]


def _infer_multinomial(node: Node) -> list[Typed]:
    logits, count = node.inputs
    rows = logits.shape[0] if logits.shape else "?"
    many = count.content[0] if count.content else "?"
    return [Typed(node["output_dtype"], (rows, many))]


# -- evaluation: other numbers than anybody else's, of the same distribution -----------------------------------------


def _generator(node: Node) -> np.random.Generator:
    return np.random.default_rng([int(node.get("seed", 0)) & 0xFFFFFFFF, int(node.get("seed2", 0)) & 0xFFFFFFFF])


def _sizes(shape: Array) -> list[int]:
    return [int(size) for size in np.reshape(shape, -1)]


def _uniform(node: Node, shape: Array) -> Array:
    return _generator(node).random(_sizes(shape)).astype(node["dtype"].numpy)


def _normal(node: Node, shape: Array) -> Array:
    return _generator(node).normal(size=_sizes(shape)).astype(node["dtype"].numpy)


def _truncated(node: Node, shape: Array) -> Array:
    generator, count = _generator(node), math.prod(_sizes(shape))
    drawn = np.empty(0)
    while drawn.size < count:
        more = generator.normal(size=2 * count + 8)
        drawn = np.concatenate([drawn, more[np.abs(more) < 2]])
    return drawn[:count].reshape(_sizes(shape)).astype(node["dtype"].numpy)


def _between(node: Node, shape: Array, low: Array, high: Array) -> Array:
    return _generator(node).integers(int(low), int(high), _sizes(shape)).astype(low.dtype)


def _multinomial(node: Node, logits: Array, count: Array) -> Array:
    generator = _generator(node)
    noise = generator.gumbel(size=(logits.shape[0], int(count), logits.shape[1]))
    chosen: Array = np.argmax(logits[:, None, :] + noise, axis=-1).astype(node["output_dtype"].numpy)
    return chosen


def _shuffle(node: Node, array: Array) -> Array:
    shuffled: Array = _generator(node).permutation(array, axis=0)
    return shuffled


# -- targets ---------------------------------------------------------------------------------------------------------


def _lite_drawn(operator: str) -> Callable[[Node], list[LiteOp]]:
    def lower(node: Node) -> list[LiteOp]:
        if node["dtype"] is not DType.FLOAT32:
            raise Declined(f"TensorFlow Lite's {operator} gives float32 alone")
        casts, shape = lite_int32(node.inputs[0])
        options = {"seed": int(node.get("seed", 0)), "seed2": int(node.get("seed2", 0))}
        return [*casts, LiteOp(operator, (shape,), (node.output,), options)]

    return lower


def _js_drawn(op: str) -> Callable[[Node], list[JsNode]]:
    def lower(node: Node) -> list[JsNode]:
        attrs = {"dtype": node["dtype"], "seed": int(node.get("seed", 0)) or int(node.get("seed2", 0))}
        return [JsNode(op, node.inputs, (node.output,), attrs)]

    return lower


def _lite_multinomial(node: Node) -> list[LiteOp]:
    logits, count = node.inputs
    if logits.dtype is not DType.FLOAT32:
        raise Declined("TensorFlow Lite's MULTINOMIAL takes float32")
    casts, operand = lite_int32(count)
    options = {"seed": int(node["seed"]), "seed2": int(node["seed2"])}
    return [*casts, LiteOp("MULTINOMIAL", (logits, operand), (node.output,), options)]


def _js_multinomial(node: Node) -> list[JsNode]:
    attrs = {"T": node.inputs[0].dtype, "output_dtype": node["output_dtype"], "seed": int(node["seed"]) or int(node["seed2"])}
    return [JsNode("Multinomial", node.inputs, (node.output,), attrs)]


def _expand_between(graph: Graph, node: Node) -> bool:
    """Low plus the whole part of a uniform number times the span, which float32 holds exactly up to 2**24 values."""
    shape, low, high = node.inputs
    expansion = Expansion(graph, node)
    drawn = expansion.make("RandomUniform", shape, dtype=DType.FLOAT32, seed=node["seed"], seed2=node["seed2"])
    span = expansion.make("Cast", expansion.make("Sub", high, low), DstT=DType.FLOAT32)
    whole = expansion.make("Cast", expansion.make("Floor", expansion.make("Mul", drawn, span)), DstT=low.dtype)
    return expansion.finish(expansion.make("AddV2", whole, low))


_TAIL = 0.5 * math.erfc(2 / math.sqrt(2))
"""The share of a normal distribution beyond two deviations on one side."""


def _expand_truncated(graph: Graph, node: Node) -> bool:
    """The normal quantile of a uniform number between the quantiles of -2 and 2."""
    expansion = Expansion(graph, node)
    drawn = expansion.make("RandomUniform", node.inputs[0], dtype=node["dtype"], seed=node["seed"], seed2=node["seed2"])
    kind = node["dtype"].numpy.type
    share = expansion.make("AddV2", expansion.make("Mul", drawn, np.asarray(kind(1 - 2 * _TAIL))), np.asarray(kind(_TAIL)))
    return expansion.finish(expansion.make("Ndtri", share))


def _expand_shuffle(graph: Graph, node: Node) -> bool:
    """In the order of as many random numbers."""
    value = node.inputs[0]
    if not value.shape:
        return False
    expansion = Expansion(graph, node)
    if isinstance(value.shape[0], int):
        count = expansion.constant(np.array(value.shape[0], np.int32))
    else:
        sizes = expansion.make("Shape", value, out_type=DType.INT32)
        at, after, one = (np.array([number], np.int32) for number in (0, 1, 1))
        count = expansion.make("StridedSlice", sizes, at, after, one, shrink_axis_mask=1)
    shape = expansion.make("ExpandDims", count, np.asarray(0, np.int32))
    drawn = expansion.make("RandomUniform", shape, dtype=DType.FLOAT32, seed=node["seed"], seed2=node["seed2"])
    order = expansion.make_node("TopKV2", drawn, count).outputs[1]
    return expansion.finish(expansion.make("GatherV2", value, order, np.asarray(0, np.int32)))


# -- what the seed alone decides -------------------------------------------------------------------------------------

Draw = Callable[[int, tuple[int, int], int, "np.dtype[np.generic]"], Array]


def _seeded(draw: Draw) -> Callable[..., Array]:
    """(shape, seed) -> numbers."""

    def evaluate(node: Node, shape: Array, seed: Array) -> Array:
        key, counter = philox.mix_seed(seed)
        return draw(key, counter, math.prod(_sizes(shape)), node["dtype"].numpy).reshape(_sizes(shape))

    return evaluate


def _keyed(draw: Draw) -> Callable[..., Array]:
    """(shape, key, counter, algorithm) -> numbers."""

    def evaluate(node: Node, shape: Array, key: Array, counter: Array, algorithm: Array) -> Array:
        first, state = _state(key, counter, algorithm)
        return draw(first, state, math.prod(_sizes(shape)), node["dtype"].numpy).reshape(_sizes(shape))

    return evaluate


def _state(key: Array, counter: Array, algorithm: Array) -> tuple[int, tuple[int, int]]:
    if int(algorithm) not in (PHILOX, 3):  # 3: chosen by the device
        raise Declined("its algorithm is not Philox")
    return int(key.reshape(-1)[0]), (int(counter.reshape(-1)[0]), int(counter.reshape(-1)[1]))


def _seeded_between(_node: Node, shape: Array, seed: Array, low: Array, high: Array) -> Array:
    key, counter = philox.mix_seed(seed)
    return philox.integers_between(key, counter, math.prod(_sizes(shape)), low, high).reshape(_sizes(shape))


def _keyed_between(_node: Node, shape: Array, key: Array, counter: Array, algorithm: Array, low: Array, high: Array) -> Array:
    first, state = _state(key, counter, algorithm)
    return philox.integers_between(first, state, math.prod(_sizes(shape)), low, high).reshape(_sizes(shape))


def _key_and_counter(_node: Node, seed: Array) -> tuple[Array, ...]:
    key, counter = philox.mix_seed(seed)
    return np.array([key], np.uint64), np.array(counter, np.uint64)


def _key_counter_algorithm(node: Node, seed: Array) -> tuple[Array, ...]:
    return (*_key_and_counter(node, seed), np.array(PHILOX, np.int32))


def _infer_key(_node: Node) -> list[Typed]:
    return [Typed(DType.UINT64, (1,)), Typed(DType.UINT64, (2,))]


def _expand_seeded(graph: Graph, node: Node) -> bool:
    """What comes of constants alone is a constant, however large beside them."""
    tensors = [value.constant for value in node.inputs]
    shape: Shape = node.outputs[0].static_shape
    if any(tensor is None for tensor in tensors) or shape is None or math.prod(map(int, shape)) * 8 > MOST_BYTES:
        return False
    arrays = ops.evaluate(node, [tensor.array() for tensor in tensors if tensor is not None])
    expansion = Expansion(graph, node)
    made = [expansion.constant(ArrayTensor(array, value.dtype)) for value, array in zip(node.outputs, arrays, strict=True)]
    return expansion.finish(*made)


# -- examples --------------------------------------------------------------------------------------------------------

_MANY = np.array([40, 50], np.int32)


def _drawn_examples() -> Iterator[Example]:
    yield Example((_MANY,), {"dtype": DType.FLOAT32}, constants=(0,))
    yield Example((_MANY,), {"dtype": DType.FLOAT32, "seed": 3, "seed2": 5}, constants=(0,), note="seeded")
    yield Example((_MANY,), {"dtype": DType.FLOAT32}, note="a size computed at run time")


def _between_examples() -> Iterator[Example]:
    yield Example((_MANY, np.array(-3, np.int32), np.array(9, np.int32)), constants=(0, 1, 2))


def _multinomial_examples() -> Iterator[Example]:
    logits = np.log(np.array([[0.1, 0.2, 0.7], [0.5, 0.5, 1e-6]], np.float32))
    for dtype in (DType.INT32, DType.INT64):
        yield Example((logits, np.array(1000, np.int32)), {"output_dtype": dtype}, constants=(1,))


def _shuffle_examples() -> Iterator[Example]:
    yield Example((np.arange(2000, dtype=np.float32).reshape(1000, 2),))


_SEED = np.array([7, -11], np.int64)
_KEY, _COUNTER = (np.array(each, np.uint64) for each in ([0x123456789ABCDEF0], [5, 2**64 - 3]))
_SHAPE = np.array([3, 5], np.int32)
_ALGORITHM = np.array(PHILOX, np.int32)


def _seeded_examples() -> Iterator[Example]:
    for dtype in (DType.FLOAT32, DType.FLOAT64):
        yield Example((_SHAPE, _SEED), {"dtype": dtype}, constants=(0, 1))


def _keyed_examples() -> Iterator[Example]:
    yield Example((_SHAPE, _KEY, _COUNTER, _ALGORITHM), {"dtype": DType.FLOAT32}, constants=(0, 1, 2, 3))


def _bits_examples() -> Iterator[Example]:
    yield Example((_SHAPE, _SEED), {"dtype": DType.INT32}, constants=(0, 1))


def _keyed_bits_examples() -> Iterator[Example]:
    yield Example((_SHAPE, _KEY, _COUNTER, _ALGORITHM), {"dtype": DType.INT32}, constants=(0, 1, 2, 3))


def _seeded_between_examples() -> Iterator[Example]:
    for kind in (np.int32, np.int64):
        yield Example((_SHAPE, _SEED, np.array(-5, kind), np.array(1000, kind)), constants=(0, 1, 2, 3))


def _keyed_between_examples() -> Iterator[Example]:
    inputs = (_SHAPE, _KEY, _COUNTER, _ALGORITHM, np.array(0, np.int32), np.array(10, np.int32))
    yield Example(inputs, constants=tuple(range(6)))


def _stateless(
    name: str, infer: Infer, evaluate: Callable[..., Array | tuple[Array, ...]], examples: Callable[[], Iterator[Example]]
) -> OpSpec:
    attrs = {"dtype": DType.FLOAT32} if infer is _infer_drawn else {}
    return OpSpec(name=name, attrs=attrs, infer=infer, evaluate=evaluate, expand=_expand_seeded, by_width=True, examples=examples)


def _infer_seeded_between(node: Node) -> list[Typed]:
    return [Typed(node.inputs[-1].dtype, shape_operand(node.inputs[0]))]


SPECS = (
    OpSpec(
        name="RandomUniform",
        attrs={"dtype": DType.FLOAT32, **_SEEDS},
        infer=_infer_drawn,
        evaluate=_uniform,
        to_tflite=_lite_drawn("RANDOM_UNIFORM"),
        to_tfjs=_js_drawn("RandomUniform"),
        pure=False,
        drawn=True,
        examples=_drawn_examples,
    ),
    OpSpec(
        name="RandomStandardNormal",
        attrs={"dtype": DType.FLOAT32, **_SEEDS},
        infer=_infer_drawn,
        evaluate=_normal,
        to_tflite=_lite_drawn("RANDOM_STANDARD_NORMAL"),
        to_tfjs=_js_drawn("RandomStandardNormal"),
        pure=False,
        drawn=True,
        examples=_drawn_examples,
    ),
    OpSpec(
        name="TruncatedNormal",
        attrs={"dtype": DType.FLOAT32, **_SEEDS},
        infer=_infer_drawn,
        evaluate=_truncated,
        expand=_expand_truncated,
        to_tfjs=_js_drawn("TruncatedNormal"),
        pure=False,
        drawn=True,
        examples=_drawn_examples,
    ),
    OpSpec(
        name="RandomUniformInt",
        attrs=_SEEDS,
        infer=_infer_between,
        evaluate=_between,
        expand=_expand_between,
        pure=False,
        drawn=True,
        examples=_between_examples,
    ),
    OpSpec(
        name="Multinomial",
        attrs={"output_dtype": DType.INT64, **_SEEDS},
        infer=_infer_multinomial,
        evaluate=_multinomial,
        to_tflite=_lite_multinomial,
        to_tfjs=_js_multinomial,
        pure=False,
        drawn=True,
        examples=_multinomial_examples,
    ),
    OpSpec(
        name="RandomShuffle",
        attrs=_SEEDS,
        infer=lambda node: [Typed(node.inputs[0].dtype, node.inputs[0].shape)],
        evaluate=_shuffle,
        expand=_expand_shuffle,
        pure=False,
        drawn=True,
        examples=_shuffle_examples,
    ),
    _stateless("StatelessRandomUniform", _infer_drawn, _seeded(philox.uniform), _seeded_examples),
    _stateless("StatelessRandomNormal", _infer_drawn, _seeded(philox.normal), _seeded_examples),
    _stateless("StatelessTruncatedNormal", _infer_drawn, _seeded(philox.truncated_normal), _seeded_examples),
    _stateless("StatelessTruncatedNormalV2", _infer_drawn, _keyed(philox.truncated_normal), _keyed_examples),
    _stateless("StatelessRandomUniformFullInt", _infer_drawn, _seeded(philox.integers), _bits_examples),
    _stateless("StatelessRandomUniformFullIntV2", _infer_drawn, _keyed(philox.integers), _keyed_bits_examples),
    _stateless("StatelessRandomUniformInt", _infer_seeded_between, _seeded_between, _seeded_between_examples),
    _stateless("StatelessRandomUniformV2", _infer_drawn, _keyed(philox.uniform), _keyed_examples),
    _stateless("StatelessRandomNormalV2", _infer_drawn, _keyed(philox.normal), _keyed_examples),
    _stateless("StatelessRandomUniformIntV2", _infer_seeded_between, _keyed_between, _keyed_between_examples),
    OpSpec(
        name="StatelessRandomGetKeyCounter",
        infer=_infer_key,
        evaluate=_key_and_counter,
        examples=lambda: iter([Example((_SEED,), constants=(0,))]),
    ),
    OpSpec(
        name="StatelessRandomGetKeyCounterAlg",
        infer=lambda node: [*_infer_key(node), Typed(DType.INT32, ())],
        evaluate=_key_counter_algorithm,
    ),
    OpSpec(
        name="StatelessRandomGetAlg",
        infer=lambda _node: [Typed(DType.INT32, (), (PHILOX,))],
        evaluate=lambda _node: np.array(PHILOX, np.int32),
    ),
)
