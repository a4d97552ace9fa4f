"""Operators of StableHLO, where they are an op of TensorFlow or a few of them."""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.tflite.convolution import interleaved
from tensorferry.readers.tflite.steps import Rule, Step, int32s
from tensorferry.tensor import DType

_MOST_SIZES = 1 << 31


def _same(op: str) -> Rule:
    return lambda step: step.make(op, *step.inputs())


def _ints(step: Step, option: str) -> list[int]:
    numbers = [int(each) for each in step.options.numbers(option)]
    if any(abs(each) >= _MOST_SIZES for each in numbers):
        raise step.refusal(f"its {option} are {numbers}")
    return numbers


def _logic(logical: str, bitwise: str) -> Rule:
    return lambda step: step.make(logical if step.input(0).dtype is DType.BOOL else bitwise, *step.inputs())


def _divide(step: Step) -> Value:
    return step.make("RealDiv" if step.input(0).dtype.is_float else "Div", *step.inputs())


def _remainder(step: Step) -> Value:
    """With the sign of what is divided."""
    return step.make("Mod", *step.inputs())


def _clamp(step: Step) -> Value:
    low, x, high = step.inputs()
    return step.make("Minimum", step.make("Maximum", x, low), high)


def _convert(step: Step) -> Value:
    value, dtype = step.stored(0), step.output().dtype
    return value if value.dtype is dtype else step.make("Cast", value, SrcT=value.dtype, DstT=dtype)


def _compare(step: Step) -> Value:
    kinds = {"EQ": "Equal", "NE": "NotEqual", "GE": "GreaterEqual", "GT": "Greater", "LE": "LessEqual", "LT": "Less"}
    return step.make(kinds[step.options.member("comparison_direction").rpartition("_")[2]], *step.inputs())


def _reshape(step: Step) -> Value:
    return step.make("Reshape", step.input(0), int32s(*_fixed_shape(step)))


def _fixed_shape(step: Step) -> list[int]:
    shape = step.output().shape or ()
    sizes = [size if isinstance(size, int) else -1 for size in shape]
    if sizes.count(-1) > 1:
        raise step.refusal("the shape of its result is not known")
    return sizes


def _concatenate(step: Step) -> Value:
    values = step.inputs()
    return step.make("ConcatV2", *values, np.asarray(step.options.number("dimension"), np.int32), N=len(values))


def _broadcast(step: Step) -> Value:
    """Each axis goes where the option says; the others are new."""
    x, axes, shape = step.input(0), _ints(step, "broadcast_dimensions"), _fixed_shape(step)
    sizes = x.static_shape
    if sizes is None or len(axes) != len(sizes) or -1 in shape or any(not 0 <= axis < len(shape) for axis in axes):
        raise step.refusal("its axes do not fit the shape of its input")
    if sorted(axes) != axes:
        raise step.refusal("it changes the order of axes")
    between = [1] * len(shape)
    for axis, size in zip(axes, sizes, strict=True):
        between[axis] = size
    return step.make("BroadcastTo", step.make("Reshape", x, int32s(*between)), int32s(*shape))


def _slice(step: Step) -> Value:
    bounds = [int32s(*_ints(step, name)) for name in ("start_indices", "limit_indices", "strides")]
    return step.make("StridedSlice", step.input(0), *bounds)


def _dynamic_slice(step: Step) -> Value:
    """Places so far out that the window would leave the tensor are moved in."""
    x, *starts = step.inputs()
    sizes, shape = _ints(step, "slice_sizes"), x.static_shape
    if shape is None or len(sizes) != len(shape) or len(starts) != len(shape):
        raise step.refusal("its sizes do not fit the shape of its input")
    begin = step.make("Pack", *(step.make("Reshape", each, int32s()) for each in starts), N=len(starts), axis=0)
    room = np.asarray([size - wanted for size, wanted in zip(shape, sizes, strict=True)], begin.dtype.numpy)
    begin = step.make("Maximum", step.make("Minimum", begin, room), np.zeros(len(sizes), begin.dtype.numpy))
    return step.make("Slice", x, begin, np.asarray(sizes, begin.dtype.numpy))


def _dynamic_update(step: Step) -> Value:
    x, update, *starts = step.inputs()
    begin = step.make("Pack", *(step.make("Reshape", each, int32s()) for each in starts), N=len(starts), axis=0)
    return step.make("XlaDynamicUpdateSlice", x, update, begin)


def _pad(step: Step) -> Value:
    """Between the elements, before and behind; less than nothing cuts off."""
    x, filler = step.input(0), step.input(1)
    low, high, interior = (_ints(step, f"{role}_padding" if role == "interior" else f"edge_padding_{role}") for role in _PADS)
    if not len(low) == len(high) == len(interior) or any(each < 0 for each in interior):
        raise step.refusal("its paddings do not fit each other")
    if any(interior):
        x = interleaved(step, x, [each + 1 for each in interior], filler)
    pads = np.maximum(np.asarray([low, high], np.int64).T, 0).astype(np.int32)
    padded = step.make("PadV2", x, pads, filler) if pads.any() else x
    if min([*low, *high], default=0) >= 0:
        return padded
    sizes = padded.static_shape
    if sizes is None:
        raise step.refusal("the sizes of its input are not known")
    begin = [max(0, -each) for each in low]
    ends = [size - max(0, -each) for size, each in zip(sizes, high, strict=True)]
    lengths = [max(0, end - start) for start, end in zip(begin, ends, strict=True)]
    return step.make("Slice", padded, int32s(*begin), int32s(*lengths))


_PADS = ("low", "high", "interior")


def _iota(step: Step) -> Value:
    shape, axis, dtype = _fixed_shape(step), step.options.number("iota_dimension"), step.output().dtype
    if -1 in shape or not 0 <= axis < len(shape):
        raise step.refusal("its axis does not fit the shape of its result")
    row = step.make("Range", *(np.asarray(each, np.int32) for each in (0, shape[axis], 1)))
    row = row if dtype is DType.INT32 else step.make("Cast", row, SrcT=DType.INT32, DstT=dtype)
    between = [size if place == axis else 1 for place, size in enumerate(shape)]
    return step.make("BroadcastTo", step.make("Reshape", row, int32s(*between)), int32s(*shape))


def _dot(step: Step) -> Value:
    """A sum of products over some axes, as an equation."""
    one, other = step.input(0), step.input(1)
    if one.rank is None or other.rank is None:
        raise step.refusal("the rank of an input is not known")
    left, right = list(string.ascii_lowercase[: one.rank]), list(string.ascii_uppercase[: other.rank])
    shared: list[list[tuple[int, int]]] = []
    for role in ("batching", "contracting"):
        pair = [_ints(step, f"{side}_{role}_dimensions") for side in ("lhs", "rhs")]
        if (
            len(pair[0]) != len(pair[1])
            or any(not 0 <= a < len(left) for a in pair[0])
            or any(not 0 <= b < len(right) for b in pair[1])
        ):
            raise step.refusal(f"its {role} axes do not fit its inputs")
        shared.append(list(zip(*pair, strict=True)))
    for a, b in (*shared[0], *shared[1]):
        right[b] = left[a]
    batch = [left[a] for a, _ in shared[0]]
    summed = {left[a] for a, _ in shared[1]}
    rest = [each for each in (*left, *right) if each not in summed and each not in batch]
    equation = f"{''.join(left)},{''.join(right)}->{''.join([*batch, *rest])}"
    return step.make("Einsum", one, other, equation=equation, N=2)


def _transpose(step: Step) -> Value:
    return step.make("Transpose", step.input(0), int32s(*_ints(step, "permutation")))


def _cube_root(step: Step) -> Value:
    x = step.input(0)
    return step.make("Mul", step.make("Sign", x), step.make("Pow", step.make("Abs", x), 1 / 3))


REDUCTIONS = {
    "STABLEHLO_ADD": ("Sum", "AddV2"),
    "STABLEHLO_MULTIPLY": ("Prod", "Mul"),
    "STABLEHLO_MAXIMUM": ("Max", "Maximum"),
    "STABLEHLO_MINIMUM": ("Min", "Minimum"),
    "STABLEHLO_AND": ("All", "LogicalAnd"),
    "STABLEHLO_OR": ("Any", "LogicalOr"),
}


def body_operation(step: Step) -> str:
    """The one operator of the subgraph that combines two elements; "" when there are several."""
    with step.reader.session.inside(step.options.number("body_subgraph_index")) as body:
        return body.operators[0].name if len(body.operators) == 1 else ""


def _reduce(step: Step) -> Sequence[Value]:
    """Of one tensor, by an operation that is one operator."""
    kind = body_operation(step)
    if kind not in REDUCTIONS or step.count != 2:
        raise step.refusal("it reduces by more than one simple operation")
    reduce, combine = REDUCTIONS[kind]
    made = step.make(reduce, step.input(0), int32s(*_ints(step, "dimensions")), keep_dims=False)
    return [step.make(combine, made, step.input(1))]


_SAME = {
    "LOGISTIC": "Sigmoid",
    "ADD": "AddV2",
    "MULTIPLY": "Mul",
    "MAXIMUM": "Maximum",
    "MINIMUM": "Minimum",
    "ABS": "Abs",
    "COSINE": "Cos",
    "EXPONENTIAL": "Exp",
    "FLOOR": "Floor",
    "LOG": "Log",
    "NEGATE": "Neg",
    "POWER": "Pow",
    "RSQRT": "Rsqrt",
    "SELECT": "SelectV2",
    "SUBTRACT": "Sub",
    "TANH": "Tanh",
    "SHIFT_LEFT": "LeftShift",
}

RULES: dict[str, Rule] = {
    **{f"STABLEHLO_{name}": _same(op) for name, op in _SAME.items()},
    "STABLEHLO_AND": _logic("LogicalAnd", "BitwiseAnd"),
    "STABLEHLO_OR": _logic("LogicalOr", "BitwiseOr"),
    "STABLEHLO_DIVIDE": _divide,
    "STABLEHLO_REMAINDER": _remainder,
    "STABLEHLO_CLAMP": _clamp,
    "STABLEHLO_CONVERT": _convert,
    "STABLEHLO_COMPARE": _compare,
    "STABLEHLO_RESHAPE": _reshape,
    "STABLEHLO_CONCATENATE": _concatenate,
    "STABLEHLO_BROADCAST_IN_DIM": _broadcast,
    "STABLEHLO_SLICE": _slice,
    "STABLEHLO_DYNAMIC_SLICE": _dynamic_slice,
    "STABLEHLO_DYNAMIC_UPDATE_SLICE": _dynamic_update,
    "STABLEHLO_PAD": _pad,
    "STABLEHLO_IOTA": _iota,
    "STABLEHLO_DOT_GENERAL": _dot,
    "STABLEHLO_TRANSPOSE": _transpose,
    "STABLEHLO_CBRT": _cube_root,
    "STABLEHLO_REDUCE": _reduce,
}
