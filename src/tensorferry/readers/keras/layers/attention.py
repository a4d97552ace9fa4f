"""Attention, AdditiveAttention, MultiHeadAttention and GroupQueryAttention."""

from __future__ import annotations

import math
import string
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.activations import softmax
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import EXPORT, Config
from tensorferry.readers.keras.registry import Slot, layer
from tensorferry.tensor import DType

_HIDDEN = 1e9
"""What is taken from the scores of what must not be seen, as Keras does."""

_LETTERS = string.ascii_lowercase


# -- masks ---------------------------------------------------------------------------------------------------------


def truth(build: Builder, value: Value) -> Value:
    """A mask of any type as booleans."""
    return value if value.dtype is DType.BOOL else build.add("NotEqual", (value, build.number(0, value)))


def causal_mask(build: Builder, rows: Value, columns: Value, row_axis: int, column_axis: int) -> Value:
    """[rows, columns], true where the column is no later than the row."""
    places = []
    for value, axis in ((rows, row_axis), (columns, column_axis)):
        size = build.scalar(build.sizes(value)[axis])
        places.append(build.add("Range", (build.constant(0), size, build.constant(1)), {"Tidx": DType.INT32}))
    return build.add("GreaterEqual", (build.expand(places[0], 1), build.expand(places[1], 0)))


def both(build: Builder, one: Value | None, other: Value | None) -> Value | None:
    """True where both are; nothing hides nothing."""
    if one is None or other is None:
        return one if other is None else other
    return build.add("LogicalAnd", (one, other))


def _hide(build: Builder, scores: Value, mask: Value | None) -> Value:
    if mask is None:
        return scores
    hidden = build.cast(build.add("LogicalNot", (mask,)), scores.dtype)
    return build.add("Sub", (scores, build.add("Mul", (hidden, build.number(_HIDDEN, scores)))))


def _einsum(build: Builder, equation: str, *operands: Value) -> Value:
    return build.add("Einsum", operands, {"equation": equation, "N": len(operands)})


# -- dot-product and additive attention ----------------------------------------------------------------------------


def _dot_roles(config: Config) -> list[str]:
    concat = ["concat_score_weight"] if config.get("score_mode") == "concat" else []
    return (["scale"] if config.flag("use_scale") else []) + concat


@layer("Attention", weights=_dot_roles)
def attention(build: Builder, config: Config, inputs: Sequence[Value]) -> Value | list[Value]:
    """Queries against keys by their product."""
    mode = config.text("score_mode", "dot", ("dot", "concat"))

    def score(query: Value, key: Value) -> Value:
        if mode == "concat":
            total = build.add("AddV2", (build.expand(query, -2), build.expand(key, -3)))
            if build.has("scale"):
                total = build.add("Mul", (build.weight("scale"), total))
            made = build.reduce("Sum", build.add("Tanh", (total,)), [-1])
            return build.add("Mul", (build.weight("concat_score_weight"), made)) if build.has("concat_score_weight") else made
        made = build.add("BatchMatMulV2", (query, key), {"adj_y": True})
        return build.add("Mul", (made, build.weight("scale"))) if build.has("scale") else made

    return _attend(build, config, inputs, score)


@layer("AdditiveAttention", weights=lambda config: ["scale"] if config.flag("use_scale", True) else [])
def additive_attention(build: Builder, config: Config, inputs: Sequence[Value]) -> Value | list[Value]:
    """Queries against keys by the tanh of their sum."""

    def score(query: Value, key: Value) -> Value:
        made = build.add("Tanh", (build.add("AddV2", (build.expand(query, -2), build.expand(key, -3))),))
        if build.has("scale"):
            made = build.add("Mul", (made, build.weight("scale")))
        return build.reduce("Sum", made, [-1])

    return _attend(build, config, inputs, score)


def _attend(build: Builder, config: Config, inputs: Sequence[Value], score: Any) -> Value | list[Value]:
    if len(inputs) < 2:
        raise build.unsupported(f"it reads {len(inputs)} tensors; queries and values are needed")
    query, value = inputs[0], inputs[1]
    given = build.args[0] if build.args and isinstance(build.args[0], list | tuple) else inputs
    key = given[2] if len(given) > 2 and isinstance(given[2], Value) else value
    masks = build.kwargs.get("mask")
    if not isinstance(masks, list | tuple):
        masks = [build.mask(query), build.mask(value)]
    query_mask, value_mask = ([*masks, None, None])[:2]
    seen = build.expand(truth(build, value_mask), -2) if isinstance(value_mask, Value) else None
    if build.kwargs.get("use_causal_mask") or config.get("causal"):
        seen = both(build, seen, causal_mask(build, query, key, -2, -2))
    scores = _hide(build, score(query, key), seen)
    weights = build.add("Softmax", (scores,))
    result = build.add("BatchMatMulV2", (weights, value))
    if isinstance(query_mask, Value):
        query_mask = truth(build, query_mask)
        result = build.add("Mul", (result, build.cast(build.expand(query_mask, -1), result.dtype)))
        build.set_mask(result, query_mask)
    return [result, weights] if build.kwargs.get("return_attention_scores") else result


# -- many heads ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a call of a layer with heads hears."""

    query: Value
    value: Value
    key: Value
    seen: Value | None
    scores: bool


def _hear(build: Builder) -> _Heard:
    """The call's tensors, and its masks joined to one [batch, ..., queries, keys] of booleans."""
    for key in ("use_gate", "sliding_window"):
        if build.config.get(key):
            raise build.unsupported(f"its option {key} is not known", EXPORT)
    names = ("query", "value", "key", "query_mask", "value_mask", "key_mask", "attention_mask")
    given: dict[str, Any] = dict(zip(names, build.args, strict=False)) | dict(build.kwargs)
    query, value = given.get("query"), given.get("value")
    if not isinstance(query, Value) or not isinstance(value, Value):
        raise build.unsupported("it is called without queries or values")
    asked = given.get("key")
    keys: Value = asked if isinstance(asked, Value) else value
    masks: dict[str, Any] = {f"{name}_mask": given.get(f"{name}_mask") for name in ("query", "value", "key")}
    for name, tensor in (("query", query), ("value", value), ("key", keys)):
        if name == "key" and keys is value:
            continue
        if not isinstance(masks[f"{name}_mask"], Value):
            masks[f"{name}_mask"] = build.mask(tensor)
    seen: Value | None = None
    for name, axis in (("query", -1), ("value", -2), ("key", -2)):
        mask = masks[f"{name}_mask"]
        if isinstance(mask, Value):
            seen = both(build, seen, build.expand(truth(build, mask), axis))
    if given.get("use_causal_mask"):
        seen = both(build, seen, causal_mask(build, query, value, 1, 1))
    if isinstance(given.get("attention_mask"), Value):
        seen = both(build, seen, truth(build, given["attention_mask"]))
    query_mask = masks["query_mask"]
    if isinstance(query_mask, Value):
        build.set_mask(query, query_mask)
    return _Heard(query, value, keys, seen, bool(given.get("return_attention_scores")))


def _projections(config: Config) -> list[str | Slot]:
    names = ("query_dense", "key_dense", "value_dense", "output_dense")
    roles = ("kernel", "bias") if config.flag("use_bias", True) else ("kernel",)
    return [f"{name}/{role}" for name in names for role in roles]


def _project(build: Builder, x: Value, name: str, joined: int = 1) -> Value:
    """x [..., in] by a kernel [in ..., out ...] of which `joined` axes are summed over, and the bias."""
    kernel = build.weight(f"{name}/kernel")
    rank, width = build.rank(x), build.rank(kernel)
    free = _LETTERS[: rank - joined]
    summed = _LETTERS[rank - joined : rank]
    new = _LETTERS[rank : rank + width - joined]
    made = _einsum(build, f"{free}{summed},{summed}{new}->{free}{new}", x, kernel)
    return build.add("AddV2", (made, build.weight(f"{name}/bias"))) if build.has(f"{name}/bias") else made


@layer("MultiHeadAttention", weights=_projections)
def multi_head_attention(build: Builder, config: Config, _inputs: Sequence[Value]) -> Value | list[Value]:
    """Several products of queries and keys beside each other, over one or more axes."""
    heard = _hear(build)
    rank = build.rank(heard.query)
    axes = _attention_axes(build, config, rank)
    query, key, value = (
        _project(build, each, name)
        for each, name in ((heard.query, "query_dense"), (heard.key, "key_dense"), (heard.value, "value_dense"))
    )
    query = build.add("Mul", (query, build.number(1 / math.sqrt(config.integer("key_dim")), query)))
    scored, given_back = _equations(rank, axes)
    scores = _einsum(build, scored, key, query)
    seen = heard.seen
    if seen is not None:
        for _axis in range(build.rank(scores) - build.rank(seen)):  # over the heads
            seen = build.expand(seen, -len(axes) * 2 - 1)
        scores = _hide(build, scores, seen)
    weights = _softmax_over(build, scores, len(axes))
    result = _einsum(build, given_back, weights, value)
    result = _project(build, result, "output_dense", 2)
    query_mask = build.mask(heard.query)
    build.set_mask(result, query_mask)
    return [result, weights] if heard.scores else result


def _attention_axes(build: Builder, config: Config, rank: int) -> list[int]:
    given = config.get("attention_axes")
    if given is None:
        return list(range(1, rank - 1))
    axes = [build.config.integer("attention_axes")] if isinstance(given, int) else list(config.integers("attention_axes"))
    return sorted(axis % rank for axis in axes)


def _equations(rank: int, axes: Sequence[int]) -> tuple[str, str]:
    """Einsums for (key, query) -> scores and (scores, value) -> result, all [batch ..., attended ..., heads, width]."""
    letters = iter(_LETTERS)
    target = [next(letters) for _axis in range(rank + 1)]  # the axes of what is asked, heads and width behind
    source = [next(letters) if axis in axes else target[axis] for axis in range(rank)] + [target[rank]]
    source[rank - 1] = target[rank - 1]
    batch = [target[axis] for axis in range(rank - 1) if axis not in axes]
    scores = [*batch, target[rank - 1], *(target[axis] for axis in axes), *(source[axis] for axis in axes)]
    key, query = "".join(source), "".join(target)
    return f"{key},{query}->{''.join(scores)}", f"{''.join(scores)},{key}->{query}"


def _softmax_over(build: Builder, scores: Value, count: int) -> Value:
    """Over the last axes together."""
    if count == 1:
        return build.add("Softmax", (scores,))
    rank = build.rank(scores)
    sizes = build.sizes(scores)
    if any(not isinstance(each, int) for each in sizes[1:]):
        raise build.unsupported("it attends over several axes of unknown size")
    known = [int(each) for each in sizes[1:] if isinstance(each, int)]
    flat = build.reshape(scores, [-1, *known[: rank - count - 1], int(np.prod(known[rank - count - 1 :]))])
    return build.reshape(build.add("Softmax", (flat,)), [-1, *known])


# -- keys shared by heads ------------------------------------------------------------------------------------------


@layer("GroupedQueryAttention", "GroupQueryAttention", weights=_projections)
def grouped_query_attention(build: Builder, config: Config, _inputs: Sequence[Value]) -> Value | list[Value]:
    """Each head of keys and values serves several of queries."""
    heard = _hear(build)
    heads, shared = config.integer("num_query_heads"), config.integer("num_key_value_heads")
    query = _project(build, heard.query, "query_dense")
    key, value = (_repeated(build, _project(build, each, name), heads // shared) for each, name in _pairs(heard))
    query = build.add("Mul", (query, build.number(1 / math.sqrt(config.integer("head_dim")), query)))
    scores = _einsum(build, "bqhk,bnhk->bhqn", query, key)
    seen = heard.seen
    if seen is not None:
        for _axis in range(4 - build.rank(seen)):
            seen = build.expand(seen, -3)
        scores = _hide(build, scores, seen)
    weights = softmax(build, scores)
    result = _einsum(build, "bhqn,bnhk->bqhk", weights, value)
    result = _project(build, result, "output_dense", 2)
    build.set_mask(result, build.mask(heard.query))
    return [result, weights] if heard.scores else result


def _pairs(heard: _Heard) -> tuple[tuple[Value, str], ...]:
    return (heard.key, "key_dense"), (heard.value, "value_dense")


def _repeated(build: Builder, value: Value, times: int) -> Value:
    """Each head [.., .., heads, width] so many times, one beside the other."""
    if times == 1:
        return value
    heads, width = (build.size(value, axis) for axis in (2, 3))
    stacked = build.add("Pack", [value] * times, {"axis": 3, "N": times})
    return build.reshape(stacked, [*build.sizes(value)[:2], heads * times, width])
