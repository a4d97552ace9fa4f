"""Text taken apart and its pieces put together: StringSplit, StringSplitV2, StringNGrams."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.ops.strings import refuse_capitals, texts
from tensorferry.targets import JsNode
from tensorferry.tensor import Array, DType

# -- StringSplit, which splits at each of a set of characters, and StringSplitV2, which splits at a separator ------


def _infer_split(node: Node) -> list[Typed]:
    dtype = node["index_dtype"]
    return [Typed(dtype, (UNKNOWN_DIM, 2)), Typed(DType.STRING, (UNKNOWN_DIM,)), Typed(dtype, (2,))]


def _as_sparse(rows: list[list[bytes]]) -> tuple[Array, ...]:
    places = [(row, column) for row, pieces in enumerate(rows) for column in range(len(pieces))]
    pieces = np.empty(len(places), object)
    pieces[:] = [piece for row in rows for piece in row]
    sizes = np.array([len(rows), max(map(len, rows), default=0)], np.int64)
    return np.array(places, np.int64).reshape(-1, 2), pieces, sizes


def _evaluate_split(node: Node, array: Array, delimiter: Array) -> tuple[Array, ...]:
    signs = delimiter.reshape(-1)[0]
    return _as_sparse([_split_at_signs(each, signs, bool(node["skip_empty"])) for each in array.tolist()])


def _split_at_signs(text: bytes, signs: bytes, skip: bool) -> list[bytes]:
    if not text:
        return []
    if not signs:
        return [text[place : place + 1] for place in range(len(text))]
    pieces = re.split(b"[" + re.escape(signs) + b"]", text)
    return [piece for piece in pieces if piece or not skip]


def _js_split(node: Node) -> list[JsNode]:
    texts_, delimiter = node.inputs
    if delimiter.constant is None:
        raise Declined("its delimiter is computed while the model runs", remedy="make the delimiter a constant")
    attrs = {"skip_empty": bool(node["skip_empty"])}
    return [JsNode("StringSplit", (texts_, delimiter), tuple(node.outputs), attrs)]


def _split_examples() -> Iterator[Example]:
    lines = texts(b"a ferry at sea", b"", b" x  y")
    yield Example((lines, np.array(b" ", object)), {"skip_empty": True}, constants=(1,))
    yield Example((lines, np.array(b" ", object)), {"skip_empty": False}, constants=(1,), note="empty pieces")
    yield Example((texts(b"a,b;c", b"d"), np.array(b",;", object)), {"skip_empty": True}, constants=(1,), note="two signs")
    yield Example((texts(b"abc", b"d"), np.array(b"", object)), {"skip_empty": True}, constants=(1,), note="letters")


def _evaluate_split_v2(node: Node, array: Array, separator: Array) -> tuple[Array, ...]:
    sep, most = separator.reshape(-1)[0], int(node["maxsplit"])
    return _as_sparse([each.split(sep or None, most) if each or not sep else [b""] for each in array.tolist()])


_SIGN = "\x01"


def _expand_split_v2(graph: Graph, node: Node) -> bool:
    """Every run of white space, or every separator, is made one sign, and the text is split at that."""
    separator = node.inputs[1].constant
    if separator is None:
        raise Declined("its separator is computed while the model runs", remedy="make the separator a constant")
    if int(node["maxsplit"]) != -1:
        raise Declined("pieces are split off to the end only", attributes=f"maxsplit={node['maxsplit']}")
    expansion, sought = Expansion(graph, node), separator.array().reshape(-1)[0].decode()
    pattern = re.escape(sought) if sought else r"\s+"
    marked = expansion.make("StaticRegexReplace", node.inputs[0], pattern=pattern, rewrite=_SIGN, replace_global=True)
    if sought:
        return expansion.finish(*_with_empty_pieces(expansion, marked))
    sign = np.array(_SIGN.encode(), object)
    made = expansion.make_node("StringSplit", marked, sign, skip_empty=True, index_dtype=node["index_dtype"])
    return expansion.finish(*made.outputs)


def _with_empty_pieces(expansion: Expansion, marked: Value) -> tuple[Value, Value, Value]:
    """An empty text is one empty piece, but StringSplit makes it none: all texts get a sign in front, and lose the first piece."""
    dtype = expansion.node["index_dtype"]
    headed = expansion.make("StaticRegexReplace", marked, pattern="^", rewrite=_SIGN, replace_global=False)
    sign, zero = np.array(_SIGN.encode(), object), np.array(0, np.int32)
    indices, pieces, shape = expansion.make_node("StringSplit", headed, sign, skip_empty=False, index_dtype=dtype).outputs
    begin, end, one = (np.array(each, np.int32) for each in ([0, 1], [0, 2], [1, 1]))
    columns = expansion.make("StridedSlice", indices, begin, end, one, begin_mask=1, end_mask=1, shrink_axis_mask=2)
    later = expansion.make("Where", expansion.make("Greater", columns, np.array(0, dtype.numpy)))
    kept = expansion.make("Reshape", later, np.array([-1], np.int32))
    less = np.array([0, 1], dtype.numpy)
    return (
        expansion.make("Sub", expansion.make("GatherV2", indices, kept, zero), less),
        expansion.make("GatherV2", pieces, kept, zero),
        expansion.make("Maximum", expansion.make("Sub", shape, less), np.array(0, dtype.numpy)),
    )


def _split_v2_examples() -> Iterator[Example]:
    lines = texts(b"a ferry  at\tsea", b"", b" x ")
    yield Example((lines, np.array(b"", object)), {"maxsplit": -1}, constants=(1,), note="white space")
    yield Example((texts(b"a--b", b"", b"c", b"--"), np.array(b"--", object)), {}, constants=(1,), note="separator")
    yield Example((texts(b"a.Xb", b"X"), np.array(b".X", object)), {}, constants=(1,), note="signs of patterns")


# -- StringNGrams --------------------------------------------------------------------------------------------------


def _infer_ngrams(node: Node) -> list[Typed]:
    return [Typed(DType.STRING, (UNKNOWN_DIM,)), Typed(node.inputs[1].dtype, node.inputs[1].shape)]


def _evaluate_ngrams(node: Node, data: Array, splits: Array) -> tuple[Array, ...]:
    """tensorflow/core/kernels/string_ngrams_op.cc: padding is as long as an n-gram less one, or as long as is asked."""
    made: list[bytes] = []
    ends = [0]
    words = data.tolist()
    left, right, join = (str(node[key]).encode() for key in ("left_pad", "right_pad", "separator"))
    for start, end in zip(splits[:-1].tolist(), splits[1:].tolist(), strict=True):
        row, before = words[start:end], len(made)
        for width in node["ngram_widths"]:
            pad = min(int(node["pad_width"]) if int(node["pad_width"]) >= 0 else width - 1, width - 1)
            whole = [left] * pad + row + [right] * pad
            made += [join.join(whole[at : at + width]) for at in range(len(whole) - width + 1)]
        if node["preserve_short_sequences"] and len(made) == before and row:
            pads = max(int(node["pad_width"]), 0)
            made.append(join.join([left] * pads + row + [right] * pads))
        ends.append(len(made))
    return texts(*made), np.array(ends, splits.dtype)


def _js_ngrams(node: Node) -> list[JsNode]:
    keys = ("separator", "ngram_widths", "left_pad", "right_pad", "pad_width", "preserve_short_sequences")
    for key in ("separator", "left_pad", "right_pad"):
        refuse_capitals(key, str(node[key]))
    attrs = {key: list(node[key]) if key == "ngram_widths" else node[key] for key in keys}
    return [JsNode("StringNGrams", tuple(node.inputs), tuple(node.outputs), attrs)]


def _ngram_examples() -> Iterator[Example]:
    words, splits = texts(b"a", b"b", b"c", b"d", b"e"), np.array([0, 3, 3, 5])
    base = {"separator": " ", "left_pad": "", "right_pad": "", "pad_width": 0, "preserve_short_sequences": False}
    yield Example((words, splits), {**base, "ngram_widths": [2]}, constants=(1,), note="pairs")
    padded = {**base, "ngram_widths": [3, 1], "left_pad": "<", "right_pad": ">", "pad_width": -1}
    yield Example((words, splits), padded, constants=(1,), note="padded")
    yield Example((words, splits.astype(np.int32)), {**base, "ngram_widths": [2]}, note="computed splits")


SPECS = (
    OpSpec(
        name="StringSplit",
        attrs={"skip_empty": True, "index_dtype": DType.INT64},
        infer=_infer_split,
        evaluate=_evaluate_split,
        to_tfjs=_js_split,
        examples=_split_examples,
    ),
    OpSpec(
        name="StringSplitV2",
        attrs={"maxsplit": -1, "index_dtype": DType.INT64},
        infer=_infer_split,
        evaluate=_evaluate_split_v2,
        expand=_expand_split_v2,
        expands_for=("tfjs",),
        examples=_split_v2_examples,
    ),
    OpSpec(
        name="StringNGrams",
        attrs={
            "separator": "",
            "ngram_widths": [],
            "left_pad": "",
            "right_pad": "",
            "pad_width": 0,
            "preserve_short_sequences": False,
        },
        infer=_infer_ngrams,
        evaluate=_evaluate_ngrams,
        to_tfjs=_js_ngrams,
        examples=_ngram_examples,
    ),
)
