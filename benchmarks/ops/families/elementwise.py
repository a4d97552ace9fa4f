"""Ops of one operand: all of tf.math that is deterministic, each in the types TensorFlow has it in."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, booleans, complexes, floats, integers, of

raw = tf.raw_ops

FLOAT_OPS = {
    "Abs": (-3, 3),
    "Acos": (-1, 1),
    "Acosh": (1, 5),
    "Asin": (-1, 1),
    "Asinh": (-4, 4),
    "Atan": (-4, 4),
    "Atanh": (-0.95, 0.95),
    "BesselI0e": (-4, 4),
    "BesselI1e": (-4, 4),
    "Ceil": (-4, 4),
    "Cos": (-7, 7),
    "Cosh": (-3, 3),
    "Digamma": (0.1, 6),
    "Erf": (-3, 3),
    "Erfc": (-3, 3),
    "Erfinv": (-0.95, 0.95),
    "Exp": (-4, 4),
    "Expm1": (-2, 2),
    "Floor": (-4, 4),
    "Inv": (0.2, 4),
    "Lgamma": (0.1, 8),
    "Log": (0.05, 9),
    "Log1p": (-0.9, 6),
    "Ndtri": (0.02, 0.98),
    "Neg": (-3, 3),
    "Reciprocal": (0.2, 4),
    "Rint": (-4, 4),
    "Round": (-4, 4),
    "Rsqrt": (0.1, 9),
    "Sigmoid": (-6, 6),
    "Sign": (-3, 3),
    "Sin": (-7, 7),
    "Sinh": (-3, 3),
    "Sqrt": (0, 9),
    "Square": (-3, 3),
    "Tan": (-1.2, 1.2),
    "Tanh": (-3, 3),
}
"""Name -> the range in which it is defined and tame."""

EDGES = np.array([-np.inf, -1.5, -0.5, -0.0, 0.0, 0.5, 1.0, 1.5, 2.5, np.inf, np.nan], np.float32)
EDGY = (
    "Abs",
    "Ceil",
    "Cos",
    "Erf",
    "Erfc",
    "Exp",
    "Expm1",
    "Floor",
    "Log",
    "Log1p",
    "Neg",
    "Rint",
    "Round",
    "Sigmoid",
    "Sign",
    "Sin",
)
EDGY += ("Sqrt", "Square", "Tanh", "Reciprocal", "Rsqrt", "Lgamma", "Asinh", "Cosh", "Sinh", "Atan")

INTEGER_OPS = {
    "Abs": ("int8", "int16", "int32", "int64"),
    "Invert": ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    "Neg": ("int8", "int16", "int32", "int64"),
    "PopulationCount": ("int8", "int16", "int32", "int64", "uint8", "uint16"),
    "Sign": ("int8", "int16", "int32", "int64"),
    "Square": ("int8", "int16", "int32", "int64", "uint8"),
    "OnesLike": ("int8", "int16", "int32", "int64", "uint8", "bool"),
    "ZerosLike": ("int8", "int16", "int32", "int64", "uint8", "bool"),
}
COMPLEX_OPS = ("Exp", "Log", "Sin", "Cos", "Tan", "Sinh", "Cosh", "Tanh", "Sqrt", "Rsqrt", "Square", "Neg", "Reciprocal", "Sigmoid")
COMPLEX_OPS += ("Sign", "Expm1", "Log1p", "Conj", "OnesLike", "ZerosLike", "Asinh", "Acosh", "Atanh")

PREDICATES = ("IsNan", "IsInf", "IsFinite")

FUNCTIONS = {
    "bessel_i0": tf.math.bessel_i0,
    "bessel_i1": tf.math.bessel_i1,
    "erfcinv": tf.math.erfcinv,
    "log_sigmoid": tf.math.log_sigmoid,
    "reciprocal_no_nan": tf.math.reciprocal_no_nan,
    "softsign": tf.nn.softsign,
    "sigmoid": tf.math.sigmoid,
    "sinc_by_hand": lambda x: tf.where(
        tf.equal(x, 0), tf.ones_like(x), tf.sin(np.pi * x) / (np.pi * tf.where(tf.equal(x, 0), tf.ones_like(x), x))
    ),
    "degrees": lambda x: x * (180.0 / np.pi),
    "frac": lambda x: x - tf.floor(x),
    "truncate": lambda x: tf.sign(x) * tf.floor(tf.abs(x)),
    "logit": lambda x: tf.math.log(x / (1.0 - x)),
    "expit_pair": lambda x: tf.sigmoid(x) * (1 - tf.sigmoid(x)),
    "cube": lambda x: x * x * x,
    "pow_constant_2": lambda x: x**2,
    "pow_constant_3": lambda x: x**3,
    "pow_constant_half": lambda x: x**0.5,
    "pow_constant_minus_half": lambda x: x**-0.5,
    "pow_constant_minus_1": lambda x: x**-1.0,
    "pow_constant_0": lambda x: x**0.0,
    "pow_base_2": lambda x: 2.0**x,
    "bessel_j0": tf.math.special.bessel_j0,
    "bessel_j1": tf.math.special.bessel_j1,
    "bessel_k0": tf.math.special.bessel_k0,
    "bessel_k1": tf.math.special.bessel_k1,
    "bessel_y0": tf.math.special.bessel_y0,
    "bessel_y1": tf.math.special.bessel_y1,
    "dawsn": tf.math.special.dawsn,
    "expint": tf.math.special.expint,
    "fresnel_sin": tf.math.special.fresnel_sin,
    "fresnel_cos": tf.math.special.fresnel_cos,
    "spence": tf.math.special.spence,
}


def add_cases(family: Family) -> None:
    _floats(family)
    _integers(family)
    _complexes(family)
    _others(family)


def _build(op: str):
    argument = {"Abs": "x", "BesselI0e": "x", "BesselI1e": "x", "OnesLike": "x", "ZerosLike": "x", "Conj": "input"}.get(op, "x")
    return lambda x: getattr(raw, op)(**{argument: x})


def _floats(family: Family) -> None:
    shapes = ((2, 3), (7,), (), (1, 2, 3, 4), (2, 1, 3, 1, 2), (2, 1, 2, 1, 2, 2))
    for index, (op, (low, high)) in enumerate(FLOAT_OPS.items()):
        for dtype in ("float32", "float16", "float64"):
            family.add(f"{op}_{dtype}", _build(op), floats(*shapes[index % 2], low=low, high=high, dtype=dtype))
        family.add(f"{op}_rank{len(shapes[2 + index % 4])}", _build(op), floats(*shapes[2 + index % 4], low=low, high=high))
        family.add(op, _build(op), floats(3, 4, low=low, high=high), unknown="batch")
        family.add(f"{op}_empty", _build(op), np.zeros((0, 3), np.float32))
        if index % 3 == 0:
            family.add(op, _build(op), floats(2, 3, low=low, high=high), unknown="rank")
        if op in EDGY:
            family.add(f"{op}_edges", _build(op), EDGES)
    for name, function in FUNCTIONS.items():
        family.add(name, function, floats(2, 5, low=0.1, high=0.9))
        family.add(name, function, floats(3, 2, low=0.1, high=0.9), unknown="sizes")
    for op in PREDICATES:
        family.add(f"{op}_float32", _build(op), EDGES)
        family.add(f"{op}_float16", _build(op), EDGES.astype(np.float16))
        family.add(f"{op}_float64", _build(op), EDGES.astype(np.float64).reshape(1, -1))
        family.add(op, _build(op), EDGES[:10].reshape(5, 2), unknown="batch")
        family.add(f"{op}_scalar", _build(op), np.float32(np.nan))


def _integers(family: Family) -> None:
    for op, dtypes in INTEGER_OPS.items():
        for index, dtype in enumerate(dtypes):
            shape = ((2, 3), (5,), (1, 2, 2, 2))[index % 3]
            family.add(f"{op}_{dtype}", _build(op), of(dtype, *shape))
        family.add(f"{op}_{dtypes[2]}", _build(op), of(dtypes[2], 3, 2), unknown="batch")
    for dtype in ("int32", "int64"):  # TensorFlow 2.21 rounds integers to zeros
        family.add(f"Round_{dtype}", _build("Round"), of(dtype, 2, 3), reference=lambda x: x)
    for dtype in ("int8", "int16", "int32", "int64", "uint8"):
        limits = np.iinfo(dtype)
        edges = np.array([limits.min, limits.min + 1, 0, 1, limits.max], dtype)
        for op in ("Abs", "Neg", "Sign", "Square", "Invert"):
            if dtype != "uint8" or op in ("Square", "Invert"):
                family.add(f"{op}_{dtype}_limits", _build(op), edges)
    family.add("LogicalNot", lambda x: raw.LogicalNot(x=x), booleans(2, 3))
    family.add("LogicalNot", lambda x: raw.LogicalNot(x=x), booleans(3, 2), unknown="batch")
    family.add("LogicalNot_scalar", lambda x: raw.LogicalNot(x=x), np.bool_(True))
    family.add("LogicalNot_rank6", lambda x: raw.LogicalNot(x=x), booleans(1, 2, 1, 2, 1, 2))
    family.add("LogicalNot_empty", lambda x: raw.LogicalNot(x=x), booleans(0, 2))


def _complexes(family: Family) -> None:
    for index, op in enumerate(COMPLEX_OPS):
        build = _build(op)
        family.add(f"{op}_complex64", build, complexes(2, 3, seed=index))
        if index % 4 == 0:
            family.add(f"{op}_complex128", build, complexes(4, dtype="complex128", seed=index))
        # as an inner value: targets that carry pairs of numbers have no complex inputs
        family.add(
            f"{op}_inside",
            lambda a, b, build=build: _parts(build(tf.complex(a, b))),
            floats(2, 3, seed=index),
            floats(2, 3, seed=index + 1),
        )
    family.add("ComplexAbs", lambda x: raw.ComplexAbs(x=x), complexes(2, 3))
    family.add("Angle", lambda x: raw.Angle(input=x), complexes(2, 3))
    family.add("Real", lambda x: raw.Real(input=x), complexes(2, 3))
    family.add("Imag", lambda x: raw.Imag(input=x), complexes(2, 3))
    for name, take in (("abs", tf.abs), ("angle", tf.math.angle), ("real", tf.math.real), ("imag", tf.math.imag)):
        family.add(f"{name}_of_pair", lambda a, b, take=take: take(tf.complex(a, b)), floats(2, 3), floats(2, 3, seed=2))
        family.add(
            f"{name}_of_pair", lambda a, b, take=take: take(tf.complex(a, b)), floats(2, 3), floats(2, 3, seed=2), unknown="batch"
        )
        family.add(f"{name}_of_reals", lambda a, take=take: take(a), floats(2, 3))


def _parts(value: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.math.real(value), tf.math.imag(value)


def _others(family: Family) -> None:
    for op in ("Identity", "Snapshot", "StopGradient", "PreventGradient", "DeepCopy"):
        build = {
            "Identity": lambda x: raw.Identity(input=x) + 1,
            "Snapshot": lambda x: raw.Snapshot(input=x) + 1,
            "StopGradient": lambda x: raw.StopGradient(input=x) + 1,
            "PreventGradient": lambda x: raw.PreventGradient(input=x) + 1,
            "DeepCopy": lambda x: raw.DeepCopy(x=x) + 1,
        }[op]
        family.add(op, build, floats(2, 3))
        family.add(op, build, integers(2, 3), unknown="batch")
    family.add("IdentityN", lambda a, b: raw.IdentityN(input=[a, b])[0] + 1, floats(2), integers(3))
    family.add("CheckNumerics", lambda x: raw.CheckNumerics(tensor=x, message="bad") * 2, floats(2, 3))
    family.add("CheckNumericsV2", lambda x: raw.CheckNumericsV2(tensor=x, message="bad") * 2, floats(2, 3))
    family.add("EnsureShape", lambda x: raw.EnsureShape(input=x, shape=[None, 3]) * 2, floats(2, 3), unknown="sizes")
    family.add("ensure_rank", lambda x: tf.ensure_shape(x, [2, 3]) * 2, floats(2, 3), unknown="rank")
    family.add("Bitcast_float32_int32", lambda x: tf.bitcast(x, tf.int32), floats(2, 3))
    family.add("Bitcast_int32_float32", lambda x: tf.bitcast(x, tf.float32), integers(2, 3, low=1 << 28, high=1 << 30))
    family.add("Bitcast_float32_uint8", lambda x: tf.bitcast(x, tf.uint8), floats(2, 3))
    family.add("Bitcast_uint8_float32", lambda x: tf.bitcast(x, tf.float32), floats(2, 3).view(np.uint8).reshape(2, 3, 4))
    family.add("Bitcast_int16_int32", lambda x: tf.bitcast(x, tf.int32), integers(3, 2, dtype="int16", low=0))
    family.add("Bitcast_int32_uint32", lambda x: tf.bitcast(x, tf.uint32), integers(2, 3))
    family.add("Bitcast_int8_uint8", lambda x: tf.bitcast(x, tf.uint8), integers(2, 3, dtype="int8"))
    family.add("Bitcast_int64_int32", lambda x: tf.bitcast(x, tf.int32), integers(2, 3, dtype="int64"))
    family.add("Bitcast_float16_int16", lambda x: tf.bitcast(x, tf.int16), floats(2, 3, dtype="float16"))
    family.add("clip_float32", lambda x: tf.clip_by_value(x, -1.0, 0.5), floats(3, 4))
    family.add("clip_int32", lambda x: tf.clip_by_value(x, -3, 5), integers(3, 4))
    family.add("clip_int64", lambda x: tf.clip_by_value(x, -3, 5), integers(3, 4, dtype="int64"))
    family.add("clip_uint8", lambda x: tf.clip_by_value(x, 2, 5), of("uint8", 3, 4))
    family.add("clip_half", lambda x: tf.clip_by_value(x, -1.0, 1.0), floats(3, 4, dtype="float16"), unknown="batch")
    family.add("clip_tensor_bounds", tf.clip_by_value, floats(3, 4), floats(4, low=-2, high=-1), floats(4, low=0, high=1))
    family.add("clip_raw", lambda x: raw.ClipByValue(t=x, clip_value_min=-1.0, clip_value_max=1.0), floats(3, 4))
    family.add(
        "clip_raw_scalar_bounds",
        lambda x, a, b: raw.ClipByValue(t=x, clip_value_min=a, clip_value_max=b),
        floats(3, 4),
        np.float32(-1),
        np.float32(1),
    )
    family.add("clip_by_norm", lambda x: tf.clip_by_norm(x, 1.5), floats(3, 4))
    family.add("clip_by_norm_axis", lambda x: tf.clip_by_norm(x, 1.5, axes=[1]), floats(3, 4), unknown="batch")
    family.add("clip_by_global_norm", lambda a, b: tf.clip_by_global_norm([a, b], 1.0)[0], floats(3), floats(2, 2))
    family.add("AccumulateNV2", lambda a, b: raw.AccumulateNV2(inputs=[a, b], shape=[2, 3]), floats(2, 3), floats(2, 3, seed=1))
    family.add("BesselK0e", lambda x: raw.BesselK0e(x=x), floats(2, 3, low=0.2, high=4))
    family.add("BesselK1e", lambda x: raw.BesselK1e(x=x), floats(2, 3, low=0.2, high=4))
    family.add("GuaranteeConst", lambda x: raw.GuaranteeConst(input=x) * 2, floats(2, 3))
    family.add(
        "accumulate_n", lambda a, b, c: tf.math.accumulate_n([a, b, c]), floats(2, 3), floats(2, 3, seed=1), floats(2, 3, seed=2)
    )
