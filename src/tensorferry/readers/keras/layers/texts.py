"""Sentences to numbers: TextVectorization."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder, Size
from tensorferry.readers.keras.description import EXPORT, Config
from tensorferry.readers.keras.layers.categories import CUT, Vocabulary, counted, find, lookup_weights, numbers
from tensorferry.readers.keras.registry import Slots, layer
from tensorferry.tensor import DType

_PUNCTUATION = r"[!\"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']"
"""What Keras takes for punctuation."""

_LARGEST = 5
"""Words that are taken together at most; more are none that anybody asks for."""


def _weights(config: Config) -> Slots:
    """Its table lies in a layer of its own, but for Keras 3's form, which keeps it as if it were the layer's."""
    return lookup_weights(config, "_lookup_layer/" if config.release == 2 else "")


@layer("TextVectorization", weights=_weights)
def text_vectorization(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Each sentence cut into words, and these looked up; in rows of one length, zeros behind."""
    if config.flag("ragged"):
        raise build.unsupported("its rows have a length of their own each (ragged=True)", "make them equal (ragged=False)")
    own = {"mask_token": "", "oov_token": "[UNK]", "num_oov_indices": 1, "vocabulary_dtype": "string"}
    words = Vocabulary(build, Config({**config, **own}, build.layer.name))
    x = _standardise(build, config, inputs[0])
    length = config.integer("output_sequence_length", 0)
    if config.get("split") is None:
        if config.get("ngrams") is not None:
            raise build.unsupported("it takes words together that it has not cut apart", CUT)
        found = find(build, words, x)
        return _cut_to(build, found, length) if length and words.mode == "int" else found
    tokens, starts = _split(build, config, x)
    ids = numbers(build, words, tokens)
    places, sizes = _places(build, tokens, starts)
    if words.mode == "int":
        return _rows(build, ids, places, sizes, length, 0)
    return counted(build, words, _rows(build, ids, places, sizes, 0, -1))


def _standardise(build: Builder, config: Config, x: Value) -> Value:
    way = config.get("standardize")
    known = ("lower_and_strip_punctuation", "lower", "strip_punctuation", None)
    if way not in known:
        raise build.unsupported("its standardize is Python code, or not known", EXPORT)
    if way is not None and "lower" in way:
        x = build.add("StringLower", (x,))
    if way is not None and "strip" in way:
        x = build.add("StaticRegexReplace", (x,), {"pattern": _PUNCTUATION, "rewrite": "", "replace_global": True})
    return x


def _split(build: Builder, config: Config, x: Value) -> tuple[Value, Value]:
    """All words in a row, and before which of them each sentence begins, with the end of the last."""
    if config.get("split") != "whitespace":
        raise build.unsupported(f"it splits by {str(config.get('split'))[:40]}, which no target does", CUT)
    if build.rank(x) > 1:
        x = build.squeeze(x, [build.rank(x) - 1])
    count = build.sizes(x)[0]
    separator = build.constant(np.asarray(b"", object), DType.STRING, "separator")
    indices, tokens, _shape = build.add_all("StringSplitV2", (x, separator), {"maxsplit": -1})
    rows = build.squeeze(build.cut(indices, {1: (0, 1)}), [1])
    ones = build.add("OnesLike", (rows,))
    lengths = build.add("UnsortedSegmentSum", (ones, rows, build.scalar(count)))
    ends = build.add("Cumsum", (lengths, build.constant(0, name="axis")))
    starts = build.concat([build.constant(np.zeros(1, np.int64), DType.INT64, "first"), ends], 0)
    widths = _widths(build, config)
    if widths == [1]:
        return tokens, starts
    attrs: dict[str, Any] = {"ngram_widths": widths, "separator": " ", "left_pad": "", "right_pad": "", "pad_width": 0}
    tokens, starts = build.add_all("StringNGrams", (tokens, starts), {**attrs, "preserve_short_sequences": False})
    return tokens, starts


def _widths(build: Builder, config: Config) -> list[int]:
    """How many words are taken together: up to a number, or as many as are listed."""
    given = config.get("ngrams")
    if given is None:
        return [1]
    widths = list(range(1, given + 1)) if isinstance(given, int) else list(config.integers("ngrams"))
    if not widths or not 1 <= min(widths) <= max(widths) <= _LARGEST:
        raise build.unsupported(f"it takes {given} words together")
    return widths


def _places(build: Builder, tokens: Value, starts: Value) -> tuple[Value, list[Size]]:
    """[words, 2]: the row and the column of each; the sizes of the table."""
    count = build.cast(build.scalar(build.sizes(tokens)[0]), DType.INT64)
    order = build.add("Range", (build.number(0, starts), count, build.number(1, starts)))
    after = build.add("UpperBound", (build.expand(starts, 0), build.expand(order, 0)), {"out_type": DType.INT64})
    rows = build.add("Sub", (build.squeeze(after, [0]), build.number(1, starts)))
    columns = build.add("Sub", (order, build.add("GatherV2", (starts, rows, build.constant(0, name="axis")))))
    places = build.add("Pack", (rows, columns), {"axis": 1, "N": 2})
    rows_in_all = build.plus(build.sizes(starts)[0], -1)
    lengths = build.add("Sub", (build.cut(starts, {0: (1, 0)}), build.cut(starts, {0: (0, 1)})))
    return places, [rows_in_all, build.cast(build.reduce("Max", lengths, [0]), DType.INT32)]


def _rows(build: Builder, ids: Value, places: Value, sizes: Sequence[Size], length: int, empty: int) -> Value:
    """The numbers as a table, rows cut or filled up to a length where there is one."""
    rows, columns = sizes
    if length:
        columns = build.add("Maximum", (build.scalar(columns), build.constant(length)))
    shape = build.cast(build.vector([rows, columns]), DType.INT64)
    made = build.add("SparseToDense", (places, shape, ids, build.number(empty, ids)))
    return _first(build, made, length) if length else made


def _first(build: Builder, table: Value, length: int) -> Value:
    begin, size = build.vector([0, 0]), build.vector([-1, length])
    return build.add("Slice", (table, begin, size))


def _cut_to(build: Builder, table: Value, length: int) -> Value:
    """As many columns, zeros behind where there are fewer."""
    columns = build.size(table, build.rank(table) - 1)
    last = build.rank(table) - 1
    return build.cut(table, {last: (0, columns - length)}) if columns >= length else build.pad(table, {last: (0, length - columns)})
