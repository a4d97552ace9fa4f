"""Element types of a byte or less without a name of their own here: constants of them are read in a type that holds each value.

Each is one byte an element in TensorFlow's messages and files. Numbers of the formats: github.com/jax-ml/ml_dtypes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from tensorferry.tensor import Array, DType, MappedTensor, Tensor


@dataclass(frozen=True, slots=True)
class SmallType:
    """A type's name, the type it is read in, and its value for each byte."""

    name: str
    dtype: DType
    values: Callable[[], Array]

    def read(self, codes: Tensor) -> Tensor:
        """The numbers that these bytes stand for, looked up when they are asked for."""
        return MappedTensor(codes, self.values(), self.dtype)


@cache
def _floats(exponent: int, mantissa: int, bias: int, specials: str) -> Array:
    """Values of all codes: `ieee` has infinities, `fn` a NaN of all ones, `fnuz` a NaN in the place of minus zero, `none` none."""
    code = np.arange(256) & ((1 << (exponent + mantissa + 1)) - 1)
    sign = np.where(code >> (exponent + mantissa), -1.0, 1.0)
    power, fraction = code >> mantissa & ((1 << exponent) - 1), code & ((1 << mantissa) - 1)
    part = fraction / (1 << mantissa)
    value = sign * np.where(power == 0, np.ldexp(part, 1 - bias), np.ldexp(1 + part, power - bias))
    if specials == "ieee":
        top = power == (1 << exponent) - 1
        value = np.where(top, np.where(fraction == 0, sign * np.inf, np.nan), value)
    elif specials == "fn":
        value = np.where(code & 0x7F == 0x7F, np.nan, value)
    elif specials == "fnuz":
        value = np.where(code == 0x80, np.nan, value)
    return value.astype("<f2")  # holds the range and the precision of each of them


@cache
def _integers(bits: int, signed: bool) -> Array:
    code = np.arange(256) & ((1 << bits) - 1)
    return np.where(code >> (bits - 1), code - (1 << bits), code).astype(np.int8) if signed else code.astype(np.uint8)


SMALL_TYPES = {
    24: SmallType("float8_e5m2", DType.FLOAT16, partial(_floats, 5, 2, 15, "ieee")),
    25: SmallType("float8_e4m3fn", DType.FLOAT16, partial(_floats, 4, 3, 7, "fn")),
    26: SmallType("float8_e4m3fnuz", DType.FLOAT16, partial(_floats, 4, 3, 8, "fnuz")),
    27: SmallType("float8_e4m3b11fnuz", DType.FLOAT16, partial(_floats, 4, 3, 11, "fnuz")),
    28: SmallType("float8_e5m2fnuz", DType.FLOAT16, partial(_floats, 5, 2, 16, "fnuz")),
    29: SmallType("int4", DType.INT4, partial(_integers, 4, True)),
    30: SmallType("uint4", DType.UINT8, partial(_integers, 4, False)),
    31: SmallType("int2", DType.INT8, partial(_integers, 2, True)),
    32: SmallType("uint2", DType.UINT8, partial(_integers, 2, False)),
    33: SmallType("float4_e2m1fn", DType.FLOAT16, partial(_floats, 2, 1, 1, "none")),
}
"""DataType -> SmallType. An op that computes in one of them is not read as one in the wider type, which would not round as it does:
attributes of these types are UNKNOWN, but for int4."""
