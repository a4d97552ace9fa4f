"""How each TensorFlow Lite operator may be quantised: what LiteRT's published 8-bit and 16x8 specification says, as a table.

An operator that is not in the table computes in float, whatever is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from tensorferry.tensor import DType


class Role(StrEnum):
    """What an operator's input is to it."""

    DATA = "data"
    """Numbers that are computed or fed: asymmetric in 8 bits, symmetric in 16."""
    WEIGHT = "weight"
    """Constant, symmetric, 8 bits."""
    BIAS = "bias"
    """Constant; its scale is that of the data times that of the weight."""
    PLAIN = "plain"
    """Sizes, axes, indices, conditions: as they are."""


class Bond(StrEnum):
    """Which of an operator's data share one scale and zero point."""

    NONE = "none"
    FORWARD = "forward"
    """The outputs have those of the input: the operator moves numbers and makes none beyond their range."""
    ALL = "all"
    """All inputs and outputs have those of the outputs' common range: other inputs are brought there first."""


@dataclass(frozen=True, slots=True)
class Rule:
    """`inputs`: the role of each, of which the last goes for all further ones. `axis`: channels of the weight.

    `fixed`: type -> scale and zero point that the kernel takes for given. `whole_outputs`: it returns indices or truths.
    """

    inputs: tuple[Role, ...]
    bond: Bond = Bond.NONE
    axis: int | None = None
    fixed: Mapping[DType, tuple[float, int]] | None = None
    whole_outputs: bool = False
    wide: bool = False
    """Whether the kernels take int16, too."""

    def role(self, slot: int) -> Role:
        return self.inputs[min(slot, len(self.inputs) - 1)]


_DATA, _WEIGHT, _BIAS, _PLAIN = Role.DATA, Role.WEIGHT, Role.BIAS, Role.PLAIN

_UNIT = {DType.INT8: (1 / 256, -128), DType.INT16: (1 / 32768, 0)}
_SIGNED_UNIT = {DType.INT8: (1 / 128, 0), DType.INT16: (1 / 32768, 0)}

_MOVED = Rule((_DATA, _PLAIN), Bond.FORWARD)
"""One input whose numbers are moved about or picked from; what else it reads are sizes and axes."""


def _rules() -> dict[str, Rule]:
    convolution = Rule((_DATA, _WEIGHT, _BIAS), axis=0, wide=True)
    rules = {
        "CONV_2D": convolution,
        "DEPTHWISE_CONV_2D": replace(convolution, axis=3),
        "FULLY_CONNECTED": convolution,
        "TRANSPOSE_CONV": Rule((_PLAIN, _WEIGHT, _DATA, _BIAS), axis=0, wide=True),
        "BATCH_MATMUL": Rule((_DATA, _DATA), wide=True),
        "SPLIT": Rule((_PLAIN, _DATA), Bond.FORWARD, wide=True),
        "PADV2": Rule((_DATA, _PLAIN, _DATA), Bond.ALL, wide=True),
        "SELECT": Rule((_PLAIN, _DATA, _DATA), Bond.ALL),
        "SELECT_V2": Rule((_PLAIN, _DATA, _DATA), Bond.ALL),
        "SOFTMAX": Rule((_DATA,), fixed=_UNIT, wide=True),
        "LOGISTIC": Rule((_DATA,), fixed=_UNIT, wide=True),
        "TANH": Rule((_DATA,), fixed=_SIGNED_UNIT, wide=True),
        "L2_NORMALIZATION": Rule((_DATA,), fixed={DType.INT8: (1 / 128, 0)}),
        "LOG_SOFTMAX": Rule((_DATA,), fixed={DType.INT8: (16 / 256, 127)}),
        "ARG_MAX": Rule((_DATA, _PLAIN), whole_outputs=True),
        "ARG_MIN": Rule((_DATA, _PLAIN), whole_outputs=True),
        "SHAPE": Rule((_DATA,), whole_outputs=True, wide=True),
        "PRELU": Rule((_DATA, _DATA)),
    }
    rules |= _each("ADD SUB MUL", Rule((_DATA, _DATA), wide=True))
    rules |= _each("SQUARED_DIFFERENCE", Rule((_DATA, _DATA)))
    rules |= dict.fromkeys(COMPARISONS, Rule((_DATA, _DATA), whole_outputs=True))
    rules |= _each("CONCATENATION PACK MAXIMUM MINIMUM", Rule((_DATA,), Bond.ALL, wide=True))
    rules |= _each("MEAN", Rule((_DATA, _PLAIN), wide=True))
    rules |= _each("SUM", Rule((_DATA, _PLAIN)))
    rules |= _each("RELU RELU6 LEAKY_RELU", Rule((_DATA,), wide=True))
    rules |= _each("RELU_N1_TO_1 ELU HARD_SWISH GELU EXP LOG SQRT ABS", Rule((_DATA,)))
    rules |= _each(
        "RESHAPE SQUEEZE EXPAND_DIMS TRANSPOSE STRIDED_SLICE SLICE PAD MIRROR_PAD GATHER GATHER_ND SPACE_TO_BATCH_ND "
        "BATCH_TO_SPACE_ND RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR MAX_POOL_2D AVERAGE_POOL_2D REDUCE_MAX REDUCE_MIN UNPACK "
        "BROADCAST_TO",
        replace(_MOVED, wide=True),
    )
    rules |= _each("TILE REVERSE_V2 SPACE_TO_DEPTH DEPTH_TO_SPACE SPLIT_V", _MOVED)
    return rules


COMPARISONS = frozenset(["EQUAL", "NOT_EQUAL", "LESS", "LESS_EQUAL", "GREATER", "GREATER_EQUAL"])
"""LiteRT compares on scales below one only: it ends the process with others."""


def _each(names: str, rule: Rule) -> dict[str, Rule]:
    return dict.fromkeys(names.split(), rule)


RULES: Mapping[str, Rule] = _rules()
"""Operators that compute with whole numbers, by name."""


@dataclass(frozen=True, slots=True)
class WeightRule:
    """Weights that may be stored in whole numbers while the operator computes in float.

    `slots`: which inputs. `axis`: channels; None: one scale for all. `hybrid`: the kernels take whole weights as they are, and
    round the data to int8 as they run; else the weights are made float when the file is loaded. `together`: all or none.
    """

    slots: tuple[int, ...]
    axis: int | None
    hybrid: bool = True
    four_bits: bool = False
    together: bool = False


WEIGHTS: Mapping[str, WeightRule] = {
    "CONV_2D": WeightRule((1,), 0),
    "FULLY_CONNECTED": WeightRule((1,), 0, four_bits=True),
    "TRANSPOSE_CONV": WeightRule((1,), 0),
    "DEPTHWISE_CONV_2D": WeightRule((1,), 3, hybrid=False),
    "BATCH_MATMUL": WeightRule((1,), None),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": WeightRule((*range(1, 12), 16), None, together=True),
    "CONV_3D": WeightRule((1,), 4, hybrid=False),
    "CONV_3D_TRANSPOSE": WeightRule((1,), 3, hybrid=False),
    "EMBEDDING_LOOKUP": WeightRule((1,), 0),
}
"""By operator."""

ASYMMETRIC_INPUTS = frozenset({"FULLY_CONNECTED", "BATCH_MATMUL", "UNIDIRECTIONAL_SEQUENCE_LSTM"})
"""Have an option to round their data with a zero point, which XNNPACK and convolutions always do: fewer steps are wasted."""

PICKED = frozenset({"GATHER"})
"""Pick from a constant: it is stored whole, and what was picked is made float."""


# -- versions ------------------------------------------------------------------------------------------------------


_LOWEST: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("BATCH_MATMUL", "CONCATENATION", "PAD", "PADV2", "SOFTMAX", "MEAN", "MIRROR_PAD"), (2, 3)),
    **dict.fromkeys(("REDUCE_MAX", "REDUCE_MIN", "RELU", "RELU6", "TANH", "LOGISTIC", "PACK"), (2, 3)),
    **dict.fromkeys(("MAX_POOL_2D", "AVERAGE_POOL_2D", "ABS", "LESS", "GREATER_EQUAL"), (2, 3)),
    **dict.fromkeys(("SLICE", "SPLIT", "UNPACK", "GATHER", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR"), (2, 4)),
    **dict.fromkeys(("MAXIMUM", "MINIMUM", "SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND", "STRIDED_SLICE", "NOT_EQUAL"), (2, 4)),
    **dict.fromkeys(("TRANSPOSE", "SUB", "EQUAL"), (2, 5)),
    **dict.fromkeys(("L2_NORMALIZATION", "LOG_SOFTMAX", "SUM", "SPLIT_V", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE"), (2, 2)),
    **dict.fromkeys(("SQUARED_DIFFERENCE", "ARG_MAX", "ARG_MIN", "EXP", "LOG", "SQRT", "GELU", "GREATER", "LESS_EQUAL"), (2, 2)),
    **dict.fromkeys(("LEAKY_RELU", "SELECT"), (2, 2)),
    **dict.fromkeys(("TILE", "REVERSE_V2", "BROADCAST_TO"), (3, 3)),
    "ADD": (2, 3),
    "MUL": (2, 4),
    "GATHER_ND": (1, 3),
    "CONV_2D": (3, 4),
    "DEPTHWISE_CONV_2D": (3, 5),
    "FULLY_CONNECTED": (4, 7),
    "TRANSPOSE_CONV": (2, 3),
}
"""Lowest versions that take int8 and int16 data."""

_PER_CHANNEL_DENSE = 12
"""FULLY_CONNECTED with a scale for each row of its weights."""

_HYBRID: Mapping[str, tuple[int, int]] = {
    "CONV_2D": (2, 5),
    "DEPTHWISE_CONV_2D": (4, 6),
    "FULLY_CONNECTED": (9, _PER_CHANNEL_DENSE),
    "TRANSPOSE_CONV": (2, 2),
    "BATCH_MATMUL": (4, 4),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (3, 3),
    "EMBEDDING_LOOKUP": (2, 4),
}
"""Lowest versions with whole weights and float data: one scale for all, one for each channel."""


@dataclass(frozen=True, slots=True)
class Kinds:
    """What the choice of a version depends on: types of the data and of the weight, and whether that has several scales."""

    data: DType
    weight: DType | None = None
    per_channel: bool = False
    enlarging: bool = False
    """A product whose factor between the scales is one or more."""


def version_of(name: str, kinds: Kinds) -> int:
    """The lowest version of an operator that takes these types; 1 where the types do not matter."""
    if kinds.weight is not None and kinds.data is DType.FLOAT32:
        return _HYBRID.get(name, (1, 1))[kinds.per_channel]
    if kinds.data not in (DType.INT8, DType.INT16):
        return 1
    lowest = _LOWEST.get(name, (1, 1))[kinds.data is DType.INT16]
    if name == "MUL" and kinds.enlarging:
        return max(lowest, 3)
    if name == "FULLY_CONNECTED" and kinds.per_channel:
        return _PER_CHANNEL_DENSE
    return lowest


def dequantize_version(dtype: DType, *, per_channel: bool) -> int:
    """Of DEQUANTIZE from this type."""
    if dtype is DType.INT8 and per_channel:
        return 5
    return {DType.UINT8: 1, DType.INT8: 2, DType.INT16: 3, DType.FLOAT16: 3, DType.INT4: 6}[dtype]


def quantize_version(before: DType, after: DType) -> int:
    """Of QUANTIZE: the first makes int8 and uint8 from float, the second also changes a grid, or makes int16."""
    return 2 if before is not DType.FLOAT32 or after is DType.INT16 else 1
