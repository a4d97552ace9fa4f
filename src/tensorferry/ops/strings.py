"""Ops that make text of text, of numbers, and numbers of text. TensorFlow.js has patterns, pieces and n-grams; the rest is written
in these where that is possible. TensorFlow Lite has nothing of the kind: what is constant is computed before, the rest is cut off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tensorferry.ir import Graph, Node, Typed
from tensorferry.ops.dims import known_integers
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.sizes import Sizes, count_up, reshape, times
from tensorferry.ops.spec import Declined, Example, OpSpec, broadcast_shapes, normalize_axis
from tensorferry.targets import JsNode
from tensorferry.tensor import Array, DType

Change = Callable[[Node, bytes], Any]


def each_text(change: Change, dtype: type[np.generic] | None = None) -> Callable[[Node, Array], Array]:
    """An evaluation that does the same to each element; without `dtype` it gives text again."""

    def evaluate(node: Node, array: Array) -> Array:
        made = np.empty(array.size, object)
        made[:] = [change(node, each) for each in array.reshape(-1).tolist()]
        return made.reshape(array.shape) if dtype is None else made.reshape(array.shape).astype(dtype)

    return evaluate


def texts(*words: bytes) -> Array:
    return np.array(words, object)


def _infer_text(node: Node) -> list[Typed]:
    return [Typed(DType.STRING, node.inputs[0].shape)]


# -- patterns ------------------------------------------------------------------------------------------------------

_DIFFERENT = re.compile(r"\[\[:|\\[pPQEzAC]|\(\?[^:]")
"""What RE2 knows and JavaScript does not, or takes for something else."""


def _replace(pattern: str, rewrite: str, text: bytes, *, everywhere: bool) -> bytes:
    """RE2's rewriting: \\0 to \\9 are groups, \\\\ a backslash, and all else stands for itself."""
    found = re.compile(pattern, re.ASCII)

    def written(match: re.Match[str]) -> str:
        return re.sub(r"\\(.)", lambda sign: match.group(int(sign[1])) or "" if sign[1].isdigit() else sign[1], rewrite)

    try:
        whole = text.decode("utf-8", "surrogateescape")
        return found.sub(written, whole, count=0 if everywhere else 1).encode("utf-8", "surrogateescape")
    except (re.error, IndexError) as error:
        raise Declined(f"the pattern {pattern!r} is not understood") from error


def _static_replace(node: Node, text: bytes) -> bytes:
    return _replace(str(node["pattern"]), str(node["rewrite"]), text, everywhere=bool(node["replace_global"]))


def refuse_capitals(role: str, text: str) -> None:
    """TensorFlow.js makes the letters of every text attribute small, and a browser knows only the first 256 characters there."""
    if text != text.lower() or not text.isascii():
        raise Declined("TensorFlow.js keeps neither capitals nor letters beyond ASCII in attributes", attributes=f"{role}={text}")


_NEGATED = {"W": r"[^\w]", "S": r"[^\s]", "D": r"[^\d]", "B": r"(?!\b)"}


def _without_capitals(pattern: str) -> str:
    """The same pattern in small ASCII letters: others by their numbers, negated classes as what they negate."""
    made, inside, place = "", False, 0
    while place < len(pattern):
        sign, following = pattern[place], pattern[place + 1 : place + 2]
        place += 1
        if sign == "\\":
            place += 1
            if following.isupper() and (inside or following not in _NEGATED):
                raise Declined("TensorFlow.js keeps no capitals in patterns", attributes=f"pattern={pattern}")
            made += _NEGATED.get(following, sign + following)
            if following == "x":
                made += pattern[place : place + 2].lower()
                place += 2
            continue
        inside = sign == "[" or (inside and sign != "]")
        made += sign if sign.isascii() and not sign.isupper() else f"\\u{ord(sign):04x}"
    return made


def _js_replace(node: Node) -> list[JsNode]:
    pattern, rewrite = str(node["pattern"]), str(node["rewrite"])
    if _DIFFERENT.search(pattern):
        raise Declined("JavaScript understands its pattern otherwise", attributes=f"pattern={pattern}")
    refuse_capitals("rewrite", rewrite)
    escaped = rewrite.replace("$", "$$")
    in_js = re.sub(r"\\(.)", lambda sign: {"0": "$&"}.get(sign[1], f"${sign[1]}") if sign[1].isdigit() else sign[1], escaped)
    attrs = {"pattern": _without_capitals(pattern), "rewrite": in_js, "replace_global": bool(node["replace_global"])}
    return [JsNode("StaticRegexReplace", tuple(node.inputs), tuple(node.outputs), attrs)]


def _static_replace_examples() -> Iterator[Example]:
    words = texts(b"a ferry, a quay!", b"", b"FERRY $5")
    yield Example((words,), {"pattern": "[!,.]", "rewrite": ""}, note="punctuation")
    yield Example((words,), {"pattern": r"(\w)(\w+)", "rewrite": r"\2-\1 \0 $1 \\", "replace_global": True}, note="groups")
    yield Example((words,), {"pattern": "a", "rewrite": "b", "replace_global": False}, note="the first")
    other = {"tfjs": "otherwise"}
    yield Example((words[:1],), {"pattern": r"(?i)FERRY", "rewrite": "x"}, note="flags", declines=other)
    shouts = texts(b"A Ferry, NOW", "Fähre ß".encode())
    yield Example((shouts,), {"pattern": r"[A-Z\xc4]\W|F|ä\S", "rewrite": "_"}, note="capitals")
    no_capitals = {"tfjs": "capitals"}
    yield Example((shouts,), {"pattern": "a", "rewrite": "A"}, note="to capitals", declines=no_capitals)


def _evaluate_replace(node: Node, array: Array, pattern: Array, rewrite: Array) -> Array:
    sought, put = (each.reshape(-1)[0].decode() for each in (pattern, rewrite))
    return each_text(lambda _node, text: _replace(sought, put, text, everywhere=bool(node["replace_global"])))(node, array)


def _expand_replace(graph: Graph, node: Node) -> bool:
    constants = [value.constant for value in node.inputs[1:]]
    if any(tensor is None for tensor in constants):
        raise Declined("its pattern is computed while the model runs", remedy="make pattern and rewrite constants")
    pattern, rewrite = (tensor.array().reshape(-1)[0].decode() for tensor in constants if tensor is not None)
    expansion = Expansion(graph, node)
    attrs = {"pattern": pattern, "rewrite": rewrite, "replace_global": bool(node["replace_global"])}
    return expansion.finish(expansion.make("StaticRegexReplace", node.inputs[0], **attrs))


def _replace_examples() -> Iterator[Example]:
    pattern, rewrite = np.array(b"[aeiou]+", object), np.array(b"<\\0>", object)
    yield Example((texts(b"ferry", b"quay boat"), pattern, rewrite), {"replace_global": True}, constants=(1, 2))


_MARK = "\x01fits\x01"


def _fits(node: Node, text: bytes) -> bool:
    return re.compile(str(node["pattern"]), re.ASCII).fullmatch(text.decode("utf-8", "surrogateescape")) is not None


def _expand_fits(graph: Graph, node: Node) -> bool:
    """Text that fits from end to end is replaced by a mark, which no text is."""
    expansion = Expansion(graph, node)
    attrs = {"pattern": f"^(?:{node['pattern']})$", "rewrite": _MARK, "replace_global": False}
    marked = expansion.make("StaticRegexReplace", node.inputs[0], **attrs)
    keys, values = np.array([_MARK.encode()], object), np.array([True])
    return expansion.finish(expansion.make("TableLookup", marked, np.array(False), keys, values))


def _fits_given(_node: Node, array: Array, pattern: Array) -> Array:
    sought = re.compile(pattern.reshape(-1)[0].decode(), re.ASCII)
    found = [sought.fullmatch(each.decode("utf-8", "surrogateescape")) is not None for each in array.reshape(-1).tolist()]
    return np.array(found, bool).reshape(array.shape)


def _expand_fits_given(graph: Graph, node: Node) -> bool:
    pattern = node.inputs[1].constant
    if pattern is None:
        raise Declined("its pattern is computed while the model runs", remedy="make the pattern a constant")
    expansion = Expansion(graph, node)
    text = pattern.array().reshape(-1)[0].decode()
    return expansion.finish(expansion.make("StaticRegexFullMatch", node.inputs[0], pattern=text))


def _fits_given_examples() -> Iterator[Example]:
    yield Example((texts(b"12", b"1a", b""), np.array(rb"\d+", object)), constants=(1,))


def _fits_examples() -> Iterator[Example]:
    yield Example((texts(b"12", b"1a", b"", b"345"),), {"pattern": r"\d+"})


# -- case ----------------------------------------------------------------------------------------------------------


def _change_case(node: Node, text: bytes) -> bytes:
    lower = node.op == "StringLower"
    if node["encoding"] == "utf-8":
        whole = text.decode("utf-8", "surrogateescape")
        return (whole.lower() if lower else whole.upper()).encode("utf-8", "surrogateescape")
    return text.lower() if lower else text.upper()


def _expand_case(graph: Graph, node: Node) -> bool:
    """Letter by letter: only patterns change text in TensorFlow.js."""
    if node["encoding"]:
        raise Declined("beyond ASCII the case of letters cannot be changed", attributes=f"encoding={node['encoding']}")
    if node.op == "StringUpper":
        raise Declined("TensorFlow.js keeps no capitals in attributes, so none can be put in")
    expansion, value = Expansion(graph, node), node.inputs[0]
    for place in range(26):
        upper, lower = chr(ord("A") + place), chr(ord("a") + place)
        value = expansion.make("StaticRegexReplace", value, pattern=upper, rewrite=lower, replace_global=True)
    return expansion.finish(value)


def _lower_examples() -> Iterator[Example]:
    yield Example((texts(b"A Ferry at the QUAY", b"", b"z\xc3\x84Z"),))
    beyond = {"tfjs": "no op"}
    yield Example((texts("Fähre".encode()),), {"encoding": "utf-8"}, note="utf-8", declines=beyond)


def _upper_examples() -> Iterator[Example]:
    beyond = {"tfjs": "no op"}
    yield Example((texts(b"A Ferry at the QUAY", b"", b"z\xc3\x84Z"),), declines=beyond)
    yield Example((texts("Fähre".encode()),), {"encoding": "utf-8"}, note="utf-8", declines=beyond)


# -- joining -------------------------------------------------------------------------------------------------------


def _infer_join(node: Node) -> list[Typed]:
    shape = node.inputs[0].shape
    for value in node.inputs[1:]:  # a scalar goes with anything
        shape = value.shape if shape == () else shape if value.shape == () else broadcast_shapes(shape, value.shape)
    return [Typed(DType.STRING, shape)]


def _evaluate_join(node: Node, *arrays: Array) -> Array:
    rows = np.broadcast_arrays(*arrays)
    made = np.empty(rows[0].size, object)
    columns = [row.reshape(-1).tolist() for row in rows]
    made[:] = [str(node["separator"]).encode().join(each) for each in zip(*columns, strict=True)]
    return made.reshape(rows[0].shape)


def _expand_join(graph: Graph, node: Node) -> bool:
    """All texts of a place side by side are one n-gram of as many."""
    shape = node.output.shape
    if shape is None:
        return False
    expansion = Expansion(graph, node)
    whole = next(value for value in node.inputs if value.shape == shape)
    sizes = Sizes(expansion, whole).all()
    wanted = expansion.make("Shape", whole, out_type=DType.INT32)
    same = [value if value.shape == shape else expansion.make("BroadcastTo", value, wanted) for value in node.inputs]
    packed = expansion.make("Pack", *same, axis=len(shape))
    joined = _join_rows(expansion, packed, times(expansion, *sizes), len(same), str(node["separator"]))
    return expansion.finish(reshape(expansion, joined, sizes))


def _join_rows(expansion: Expansion, value: Any, count: Any, width: int, separator: str) -> Any:
    """Each run of `width` texts as one."""
    row = expansion.make("Reshape", value, np.array([-1], np.int32))
    starts = expansion.make("Mul", count_up(expansion, _one_more(expansion, count)), np.array(width, np.int32))
    attrs = {"separator": separator, "ngram_widths": [width], "left_pad": "", "right_pad": "", "pad_width": 0}
    return expansion.make("StringNGrams", row, starts, **attrs, preserve_short_sequences=False, Tsplits=DType.INT32)


def _one_more(expansion: Expansion, count: Any) -> Any:
    return count + 1 if isinstance(count, int) else expansion.make("AddV2", count, np.array(1, np.int32))


def _join_examples() -> Iterator[Example]:
    one, other = texts(b"a", b"bc", b""), texts(b"x", b"y", b"z")
    yield Example((one, other), {"separator": "-"}, note="two")
    yield Example((one.reshape(3, 1), np.array(b"+", object), other.reshape(3, 1)), {}, (1,), note="a scalar")


def _joined_axes(node: Node) -> list[int] | None:
    axes, rank = known_integers(node.inputs[1]), node.inputs[0].rank
    return None if axes is None or rank is None else [normalize_axis(axis, rank) for axis in axes]


def _infer_reduce_join(node: Node) -> list[Typed]:
    shape, axes = node.inputs[0].shape, _joined_axes(node)
    if shape is None or axes is None:
        return [Typed(DType.STRING, None)]
    if node["keep_dims"]:
        return [Typed(DType.STRING, tuple(1 if axis in axes else dim for axis, dim in enumerate(shape)))]
    return [Typed(DType.STRING, tuple(dim for axis, dim in enumerate(shape) if axis not in axes))]


def _evaluate_reduce_join(node: Node, array: Array, axes: Array) -> Array:
    places = [normalize_axis(int(axis), array.ndim) for axis in axes.reshape(-1)]
    rest = [axis for axis in range(array.ndim) if axis not in places]
    moved = np.transpose(array, [*rest, *reversed(places)]).reshape(*(array.shape[axis] for axis in rest), -1)
    made = np.empty(moved.shape[:-1], object)
    for index in np.ndindex(made.shape):
        made[index] = str(node["separator"]).encode().join(moved[index].tolist())
    return np.expand_dims(made, tuple(sorted(places))) if node["keep_dims"] else made


def _expand_reduce_join(graph: Graph, node: Node) -> bool:
    value, axes = node.inputs[0], _joined_axes(node)
    if axes is None or value.shape is None or any(isinstance(value.shape[axis], str) for axis in axes):
        raise Declined("how many texts it joins has to be known", remedy="fix the model's input size")
    width = int(np.prod([int(value.shape[axis]) for axis in axes]))
    if not width:
        raise Declined("it joins nothing")
    expansion, rank = Expansion(graph, node), len(value.shape)
    rest = [axis for axis in range(rank) if axis not in axes]
    sizes = Sizes(expansion, value)
    moved = expansion.make("Transpose", value, np.array([*rest, *reversed(axes)], np.int32))  # the axis named first is joined first
    count = times(expansion, *(sizes[axis] for axis in rest))
    joined = _join_rows(expansion, moved, count, width, str(node["separator"]))
    kept = [1 if axis in axes else sizes[axis] for axis in range(rank)] if node["keep_dims"] else [sizes[axis] for axis in rest]
    return expansion.finish(reshape(expansion, joined, kept))


def _reduce_join_examples() -> Iterator[Example]:
    words = np.array([[b"a", b"b", b"c"], [b"d", b"", b"f"]], object)
    yield Example((words, np.array([1], np.int32)), {"separator": " "}, (1,), note="rows")
    yield Example((words, np.array([0], np.int32)), {"keep_dims": True}, (1,), note="columns, kept")
    yield Example((words, np.array([1, 0], np.int32)), {"keep_dims": True}, (1,), note="all")


SPECS = (
    OpSpec(
        name="StaticRegexReplace",
        attrs={"pattern": "", "rewrite": "", "replace_global": True},
        infer=_infer_text,
        evaluate=each_text(_static_replace),
        to_tfjs=_js_replace,
        examples=_static_replace_examples,
    ),
    OpSpec(
        name="RegexReplace",
        attrs={"replace_global": True},
        infer=_infer_text,
        evaluate=_evaluate_replace,
        expand=_expand_replace,
        expands_for=("tfjs",),
        examples=_replace_examples,
    ),
    OpSpec(
        name="RegexFullMatch",
        infer=lambda node: [Typed(DType.BOOL, node.inputs[0].shape)],
        evaluate=_fits_given,
        expand=_expand_fits_given,
        expands_for=("tfjs",),
        examples=_fits_given_examples,
    ),
    OpSpec(
        name="StaticRegexFullMatch",
        attrs={"pattern": ""},
        infer=lambda node: [Typed(DType.BOOL, node.inputs[0].shape)],
        evaluate=each_text(_fits, np.bool_),
        expand=_expand_fits,
        expands_for=("tfjs",),
        examples=_fits_examples,
    ),
    *(
        OpSpec(
            name=name,
            attrs={"encoding": ""},
            infer=_infer_text,
            evaluate=each_text(_change_case),
            expand=_expand_case,
            expands_for=("tfjs",),
            examples=examples,
        )
        for name, examples in (("StringLower", _lower_examples), ("StringUpper", _upper_examples))
    ),
    OpSpec(
        name="StringJoin",
        attrs={"separator": ""},
        infer=_infer_join,
        evaluate=_evaluate_join,
        expand=_expand_join,
        expands_for=("tfjs",),
        examples=_join_examples,
    ),
    OpSpec(
        name="ReduceJoin",
        attrs={"separator": "", "keep_dims": False},
        infer=_infer_reduce_join,
        evaluate=_evaluate_reduce_join,
        expand=_expand_reduce_join,
        expands_for=("tfjs",),
        examples=_reduce_join_examples,
    ),
)
