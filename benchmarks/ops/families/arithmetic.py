"""Ops of two operands and more: arithmetic, comparison, logic, bits, selection; types and broadcasting."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Array, Family, booleans, complexes, distinct, floats, integers, of

raw = tf.raw_ops

FLOATS = ("float32", "float16", "float64")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")

NUMBERS = {
    "AddV2": (*FLOATS, *INTEGERS, "complex64"),
    "Add": ("float32", "int32"),
    "Sub": (*FLOATS, *INTEGERS, "complex64"),
    "Mul": (*FLOATS, *INTEGERS, "complex64"),
    "Maximum": (*FLOATS, *INTEGERS),
    "Minimum": (*FLOATS, *INTEGERS),
    "SquaredDifference": (*FLOATS, "int32", "int64"),
    "Equal": (*FLOATS, *INTEGERS, "bool", "complex64", "string"),
    "NotEqual": (*FLOATS, *INTEGERS, "bool", "complex64", "string"),
    "Less": (*FLOATS, *INTEGERS),
    "LessEqual": (*FLOATS, *INTEGERS),
    "Greater": (*FLOATS, *INTEGERS),
    "GreaterEqual": (*FLOATS, *INTEGERS),
    "BitwiseAnd": INTEGERS,
    "BitwiseOr": INTEGERS,
    "BitwiseXor": INTEGERS,
    "LogicalAnd": ("bool",),
    "LogicalOr": ("bool",),
}
DIVISIONS = {
    "RealDiv": (*FLOATS, "complex64"),
    "Div": ("float32", "int32", "int64"),
    "DivNoNan": (*FLOATS, "complex64"),
    "FloorDiv": (*FLOATS, *INTEGERS),
    "FloorMod": (*FLOATS, *INTEGERS),
    "TruncateDiv": ("int8", "int16", "int32", "int64", "uint8"),
    "TruncateMod": ("int32", "int64", "float32", "float64"),
    "Mod": ("int32", "int64", "float32"),
}
"""The second operand holds no zero."""
SHIFTS = ("LeftShift", "RightShift")

POSITIVE = {
    "Atan2": FLOATS,
    "Pow": (*FLOATS, "int32", "int64", "complex64"),
    "Xdivy": (*FLOATS, "complex64"),
    "Xlogy": (*FLOATS, "complex64"),
    "Xlog1py": (*FLOATS, "complex64"),
    "Igamma": ("float32", "float64"),
    "Igammac": ("float32", "float64"),
    "NextAfter": ("float32", "float64"),
    "Polygamma": ("float32", "float64"),
    "Zeta": ("float32", "float64"),
    "MulNoNan": (*FLOATS, "complex64"),
    "ApproximateEqual": FLOATS,
}
SHAPES: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((2, 3), (3,)),
    ((2, 3), ()),
    ((), (2, 3)),
    ((2, 1, 3), (4, 1)),
    ((1, 2, 1, 3), (2, 2, 1, 1)),
    ((2, 1, 2, 1, 3), (2, 1, 3)),
    ((2, 1, 2, 2, 1, 2), (1, 1, 2, 2, 1, 1)),
    ((0, 3), (1, 3)),
    ((2, 0), (2, 1)),
    ((3, 1), (1, 0)),
)
"""Pairs that broadcast, each in a way of its own: rows, scalars, both sides, ranks 3 to 6, nothing."""
SIBLINGS = (
    "Add",
    "Div",
    "Mod",
    "LessEqual",
    "Greater",
    "GreaterEqual",
    "NotEqual",
    "BitwiseOr",
    "BitwiseXor",
    "LogicalOr",
    "TruncateMod",
)
SIBLINGS += ("Xdivy", "Xlog1py", "Igammac", "RightShift", "Minimum")
"""Ops made like another one: every other pair is enough."""


def add_cases(family: Family) -> None:
    for op, dtypes in NUMBERS.items():
        for dtype in dtypes:
            family.add(f"{op}_{dtype}", _build(op), of(dtype, 2, 3), of(dtype, 2, 3, seed=1))
        _broadcast(family, op, dtypes[0])
    for op, dtypes in DIVISIONS.items():
        for dtype in dtypes:
            family.add(f"{op}_{dtype}", _build(op), of(dtype, 3, 4), _divisors(dtype, (3, 4)))
        _broadcast(family, op, dtypes[0], divides=True)
        if "int32" in dtypes:
            family.add(f"{op}_int32_row", _build(op), integers(3, 4), _divisors("int32", (4,)), unknown="batch")
            family.add(f"{op}_int32_constant", lambda x, op=op: _build(op)(x, tf.constant(-3)), integers(3, 4))
        if dtypes[0] == "float32":
            family.add(f"{op}_float32_constant", lambda x, op=op: _build(op)(x, tf.constant(-0.75)), floats(3, 4))
    for op in SHIFTS:
        for dtype in INTEGERS:
            family.add(f"{op}_{dtype}", _build(op), of(dtype, 2, 3), integers(2, 3, low=0, high=5, dtype=dtype, seed=3))
        _broadcast(family, op, "int32", low=0, high=5)
    for op, dtypes in POSITIVE.items():
        for dtype in dtypes:
            family.add(f"{op}_{dtype}", _build(op), *_pair(op, dtype))
        if op not in ("Zeta", "Polygamma", "NextAfter", "ApproximateEqual"):
            _broadcast(family, op, dtypes[0], low=0.2, high=3)
    _edges(family)
    _wrapping(family)
    _selection(family)
    _several(family)


def _build(op: str):
    names = {
        "Polygamma": ("a", "x"),
        "Igamma": ("a", "x"),
        "Igammac": ("a", "x"),
        "Zeta": ("x", "q"),
        "Atan2": ("y", "x"),
        "NextAfter": ("x1", "x2"),
    }
    first, second = names.get(op, ("x", "y"))
    return lambda a, b: getattr(raw, op)(**{first: a, second: b})


def _divisors(dtype: str, shape: tuple[int, ...]) -> Array:
    if dtype.startswith(("float", "complex")):
        values = floats(*shape, low=0.5, high=3, seed=5) * np.where(booleans(*shape, seed=6), 1, -1)
        return values.astype(dtype)
    values = integers(*shape, low=1, high=5, seed=5)
    return (values if dtype.startswith("u") else values * np.where(booleans(*shape, seed=6), 1, -1)).astype(dtype)


def _pair(op: str, dtype: str) -> tuple[Array, Array]:
    if op == "Zeta":
        return floats(2, 3, low=1.5, high=4, dtype=dtype), floats(2, 3, low=0.5, high=3, dtype=dtype, seed=1)
    if op == "Polygamma":
        return integers(2, 3, low=0, high=4).astype(dtype), floats(2, 3, low=0.5, high=3, dtype=dtype, seed=1)
    if op == "ApproximateEqual":
        return np.array([1, 2, 3], dtype), np.array([1, 2.1, 3.000001], dtype)
    if "int" in dtype:
        return integers(2, 3, low=-3, high=4, dtype=dtype), integers(2, 3, low=0, high=5, dtype=dtype, seed=1)
    if dtype.startswith("complex"):
        return complexes(2, 3, dtype=dtype), complexes(2, 3, dtype=dtype, seed=7)
    low = -3.0 if op in ("Atan2", "MulNoNan", "NextAfter") else 0.2
    return floats(2, 3, low=low, high=3, dtype=dtype), floats(2, 3, low=low, high=3, dtype=dtype, seed=1)


def _broadcast(
    family: Family, op: str, dtype: str, *, divides: bool = False, low: float | None = None, high: float | None = None
) -> None:
    def second(shape: tuple[int, ...]) -> Array:
        return _divisors(dtype, shape) if divides else of(dtype, *shape, seed=1, low=low, high=high)

    for one, other in SHAPES if op not in SIBLINGS else SHAPES[len(op) % 2 :: 2]:
        name = f"{op}_{'x'.join(map(str, one)) or 'scalar'}_{'x'.join(map(str, other)) or 'scalar'}"
        family.add(name, _build(op), of(dtype, *one, low=low, high=high), second(other))
    if op in SIBLINGS:
        return
    family.add(f"{op}_row", _build(op), of(dtype, 3, 4, low=low, high=high), second((4,)), shapes=((None, 4), (4,)))
    family.add(f"{op}_rows", _build(op), of(dtype, 3, 4, low=low, high=high), second((3, 4)), unknown="sizes")
    family.add(f"{op}_stretched", _build(op), of(dtype, 1, 4, low=low, high=high), second((3, 1)), unknown="sizes")
    family.add(op, _build(op), of(dtype, 2, 4, low=low, high=high), second((4,)), unknown="rank")


def _edges(family: Family) -> None:
    odd = np.array([-np.inf, -1, -0.0, 0, 1, np.inf, np.nan], np.float32)
    ops = (
        "Maximum",
        "Minimum",
        "Equal",
        "NotEqual",
        "Less",
        "GreaterEqual",
        "DivNoNan",
        "MulNoNan",
        "RealDiv",
        "Pow",
        "Xlogy",
        "Xdivy",
        "Atan2",
    )
    for op in (*ops, "FloorDiv", "FloorMod", "Xlog1py", "SquaredDifference"):
        family.add(f"{op}_edges", _build(op), odd.reshape(-1, 1), odd)


def _wrapping(family: Family) -> None:
    """Sums and products that do not fit wrap around."""
    for dtype in ("int8", "uint8", "int16", "int32", "int64", "uint32"):
        limits = np.iinfo(dtype)
        edges = np.array([limits.min, limits.max, limits.max // 2 + 1, limits.max - 3], dtype)
        for op in ("AddV2", "Sub", "Mul", "Maximum", "Less"):
            family.add(f"{op}_{dtype}_limits", _build(op), edges.reshape(-1, 1), edges)


def _selection(family: Family) -> None:
    for dtype in (*FLOATS, *INTEGERS, "bool", "string", "complex64"):
        family.add(
            f"Select_{dtype}",
            lambda c, a, b: raw.Select(condition=c, x=a, y=b),
            booleans(2, 3),
            of(dtype, 2, 3),
            of(dtype, 2, 3, seed=1),
        )
        family.add(f"SelectV2_{dtype}", tf.where, booleans(3), of(dtype, 2, 3), of(dtype, 1, seed=1))
    select = lambda c, a, b: raw.Select(condition=c, x=a, y=b)
    for shape in ((3, 2), (3, 2, 2), (3, 1, 2, 2), (2, 2)):
        family.add(f"Select_vector_{len(shape)}", select, booleans(shape[0], seed=2), floats(*shape), floats(*shape, seed=1))
    family.add("Select_vector", select, booleans(3, seed=2), floats(3, 3), floats(3, 3, seed=1), unknown="batch")
    family.add("Select_scalar", select, np.bool_(True), floats(2, 3), floats(2, 3, seed=1))
    family.add("Select_scalar_false", select, np.bool_(False), integers(2, 3), integers(2, 3, seed=1))
    for condition, one, other in (
        ((), (2,), (2,)),
        ((2, 1), (3,), (1, 3)),
        ((2, 3), (), ()),
        ((1, 1, 2, 1, 2), (2,), (2, 1)),
        ((0, 2), (2,), (1, 2)),
    ):
        name = "_".join("x".join(map(str, each)) or "scalar" for each in (condition, one, other))
        family.add(f"SelectV2_{name}", tf.where, booleans(*condition), floats(*one), floats(*other, seed=1))
    family.add("SelectV2", tf.where, booleans(3, 4), floats(3, 4), floats(3, 4, seed=1), unknown="batch")
    family.add("SelectV2", tf.where, booleans(3, 1), floats(1, 4), floats(3, 4, seed=1), unknown="sizes")
    for shape in ((5,), (2, 3), (2, 1, 3), (2, 1, 2, 2), (0, 3), ()):
        family.add(f"Where_{len(shape)}_{shape.count(0)}", tf.where, booleans(*shape, seed=4))
    for dtype in ("float32", "int32", "int64", "uint8", "complex64"):
        family.add(f"Where_{dtype}", lambda x: raw.Where(condition=x), of(dtype, 2, 4, low=-1, high=2))
    family.add("Where", tf.where, booleans(3, 4), unknown="batch")
    family.add("Where_none", tf.where, np.zeros((2, 3), bool))
    family.add("where_gathered", lambda x: tf.boolean_mask(x, x > 0), floats(3, 4))
    family.add("boolean_mask_rows", lambda x, m: tf.boolean_mask(x, m), floats(3, 4), np.array([True, False, True]))
    family.add("boolean_mask_axis", lambda x, m: tf.boolean_mask(x, m, axis=1), floats(2, 3, 2), np.array([True, False, True]))


def _several(family: Family) -> None:
    for dtype in ("float32", "float16", "float64", "int32", "int64", "int8", "uint8", "complex64"):
        family.add(f"AddN_{dtype}", lambda a, b, c: tf.add_n([a, b, c]), *(of(dtype, 2, 3, seed=seed) for seed in range(3)))
    family.add("AddN_one", lambda a: tf.add_n([a]) * 2, floats(2, 3))
    family.add("AddN_two", lambda a, b: tf.add_n([a, b]), floats(2, 3), floats(2, 3, seed=1), unknown="batch")
    family.add("AddN_five", lambda *all_: tf.add_n(list(all_)), *(floats(3, 2, seed=seed) for seed in range(5)))
    family.add(
        "Betainc",
        tf.math.betainc,
        floats(2, 3, low=0.5, high=3),
        floats(2, 3, low=0.5, high=3, seed=1),
        floats(2, 3, low=0.1, high=0.9, seed=2),
    )
    family.add("lerp", lambda a, b, w: a + w * (b - a), floats(2, 3), floats(2, 3, seed=1), floats(1, low=0, high=1))
    family.add("hypotenuse", lambda a, b: tf.sqrt(a * a + b * b), floats(2, 3), floats(3, seed=1))
    family.add(
        "logaddexp", lambda a, b: tf.maximum(a, b) + tf.math.log1p(tf.exp(-tf.abs(a - b))), floats(2, 3), floats(2, 3, seed=1)
    )
    family.add("logical_xor", tf.math.logical_xor, booleans(2, 3), booleans(2, 3, seed=1))
    family.add("logical_xor", tf.math.logical_xor, booleans(3, 3), booleans(3, seed=1), shapes=((None, 3), (3,)))
    family.add("divide_int32", tf.divide, integers(2, 3), _divisors("int32", (2, 3)))
    family.add("divide_int64", tf.divide, integers(2, 3, dtype="int64"), _divisors("int64", (2, 3)))
    family.add("truediv_uint8", tf.truediv, of("uint8", 2, 3), _divisors("uint8", (2, 3)))
    family.add("floordiv_negative_edges", tf.math.floordiv, np.array([-7, 7, -7, 7], np.int32), np.array([2, 2, -2, -2], np.int32))
    family.add("floormod_negative_edges", tf.math.floormod, np.array([-7, 7, -7, 7], np.int32), np.array([2, 2, -2, -2], np.int32))
    family.add(
        "squared_distances",
        lambda a, b: tf.reduce_sum(tf.math.squared_difference(a[:, None], b[None]), -1),
        floats(3, 4),
        floats(2, 4, seed=1),
    )
    family.add("equal_none", lambda x: tf.equal(x, x), distinct(3, 2), unknown="batch")
    family.add("scalar_mul", lambda x: tf.scalar_mul(2.5, x), floats(2, 3))
    family.add("cross", tf.linalg.cross, floats(2, 3), floats(2, 3, seed=1))
    family.add("cross", tf.linalg.cross, floats(4, 3), floats(4, 3, seed=1), unknown="batch")
    family.add("cross_int32", tf.linalg.cross, integers(2, 3), integers(2, 3, seed=1))
