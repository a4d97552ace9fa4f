"""What is asked of a quantisation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from tensorferry.errors import OptionError, nearest
from tensorferry.tensor import DType


class Mode(StrEnum):
    """How weights are stored, and what is computed with them."""

    DYNAMIC = "dynamic"
    """int8 weights; everything is float between the operators, which round their own inputs to int8 as they run."""
    FLOAT16 = "float16"
    """float16 weights, widened when the file is loaded; computed in float."""
    INT8 = "int8"
    """int8 weights and int8 between the operators."""
    INT16X8 = "int16x8"
    """int8 weights and int16 between the operators."""
    WEIGHTS4 = "weights4"
    """As `dynamic`, with int4 weights in dense layers."""

    @property
    def needs_ranges(self) -> bool:
        """Whether what is computed is quantised too, so that its ranges must be known."""
        return self in (Mode.INT8, Mode.INT16X8)

    @property
    def activation(self) -> DType:
        """The type of what is computed."""
        return {Mode.INT8: DType.INT8, Mode.INT16X8: DType.INT16}.get(self, DType.FLOAT32)


IO_TYPES = {
    Mode.INT8: (DType.FLOAT32, DType.INT8, DType.UINT8),
    Mode.INT16X8: (DType.FLOAT32, DType.INT16),
}
"""Types that inputs and outputs can have; float32 in all other modes."""

LEAST_ELEMENTS = 1024
"""Weights with fewer stay float where the rest is computed in float: they save nothing, and each rounds as any other does."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """Mode and choices. `keep_float`: names of operators' outputs or kinds of operators, `*` and `?` as in file names.

    `per_tensor` gives dense layers one scale for the whole weight, for runtimes from before 2.17. `spared`: name of an operator's
    output -> why that operator stays float, or where `spared_wide` is set, computes in 16 bits. `full_range`: the largest weight
    of a channel is a code in 4 bits, too.
    """

    mode: Mode
    io_dtype: DType = DType.FLOAT32
    keep_float: tuple[str, ...] = ()
    per_tensor: bool = False
    least: int = LEAST_ELEMENTS
    spared: Mapping[str, str] = field(default_factory=dict)
    spared_wide: bool = False
    full_range: bool = False

    def __post_init__(self) -> None:
        allowed = IO_TYPES.get(self.mode, (DType.FLOAT32,))
        if self.io_dtype not in allowed:
            raise OptionError(
                f"inputs and outputs cannot be {self.io_dtype} with --quantize {self.mode}",
                remedy=f"choose one of {', '.join(allowed)}",
            )

    def why_float(self, *names: str) -> str:
        """Why an operator with these names, of its outputs and its kind, is to stay float; nothing if it is not."""
        if any(fnmatchcase(name, pattern) for pattern in self.keep_float for name in names):
            return "asked for"
        return next((self.spared[name] for name in names if name in self.spared), "")


def mode_of(text: str) -> Mode:
    """The mode of this name."""
    try:
        return Mode(text)
    except ValueError:
        raise OptionError(
            f"unknown way to quantise '{text}'", why=nearest(text, list(Mode)), remedy=f"choose one of {', '.join(Mode)}"
        ) from None
