"""Numbers and words to categories: Discretization, CategoryEncoding, Hashing, IntegerLookup, StringLookup."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorferry.ir import Value
from tensorferry.readers.keras.building import Builder
from tensorferry.readers.keras.description import EXPORT, Config
from tensorferry.readers.keras.registry import Slot, Slots, layer
from tensorferry.tensor import Array, DType

_MODES = ("int", "one_hot", "multi_hot", "binary", "count", "tf_idf", "tf-idf")
CUT = (
    "look the words up outside of the model: save the part that begins with the numbers "
    "(keras.Model(lookup_layer.output, model.output)) and convert that"
)


# -- categories to vectors -----------------------------------------------------------------------------------------


def encode(build: Builder, places: Value, mode: str, depth: int, amounts: Value | None = None) -> Value:
    """Numbers of categories as vectors with an element for each; numbers outside count nothing."""
    dtype = DType.INT64 if places.dtype is DType.INT64 else DType.INT32
    places = build.cast(places, dtype)
    rank, one_hot = build.rank(places), mode == "one_hot"
    if one_hot and rank > 1 and build.shape(places)[-1] == 1:
        places = build.squeeze(places, (rank - 1,))
    if rank == 0:
        places, one_hot = build.expand(places, -1), False
    marks = build.add(
        "OneHot",
        (places, build.constant(depth, name="depth"), build.constant(1.0, name="on"), build.constant(0.0, name="off")),
        {"axis": -1},
    )
    if one_hot:
        return marks
    if mode in ("multi_hot", "binary"):
        return build.reduce("Max", marks, [build.rank(marks) - 2])
    if amounts is not None:
        marks = build.add("Mul", (marks, build.expand(build.floating(amounts), -1)))
    return build.reduce("Sum", marks, [build.rank(marks) - 2])


def _mode(build: Builder, config: Config, default: str) -> str:
    if config.flag("sparse"):
        raise build.unsupported("its output is sparse", "make it dense (sparse=False)")
    return config.text("output_mode", default, _MODES)


@layer("CategoryEncoding")
def category_encoding(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Numbers of categories as vectors."""
    amounts = build.kwargs.get("count_weights")
    mode = _mode(build, config, "multi_hot")
    return encode(build, inputs[0], mode, config.integer("num_tokens"), amounts if isinstance(amounts, Value) else None)


@layer("Discretization")
def discretization(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """In which of the ranges a number lies."""
    bounds = config.get("bin_boundaries")
    if not isinstance(bounds, list) or not all(isinstance(each, int | float) for each in bounds):
        raise build.unsupported("its boundaries are not in its config", "set bin_boundaries")
    places = build.add("Bucketize", (build.cast(inputs[0], DType.FLOAT32),), {"boundaries": [float(each) for each in bounds]})
    mode = _mode(build, config, "int")
    return places if mode == "int" else encode(build, places, mode, len(bounds) + 1)


@layer("Hashing")
def hashing(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """A number of a bin for each word or number."""
    if config.get("salt") is not None:
        raise build.unsupported("its hash is salted (SipHash), which no target computes", CUT)
    bins, mask = config.integer("num_bins"), config.get("mask_value")
    x = inputs[0]
    words = x if x.dtype is DType.STRING else build.add("AsString", (x,))
    places = build.add("StringToHashBucketFast", (words,), {"num_buckets": bins - (mask is not None)})
    if mask is not None:
        shown = build.constant(np.asarray(str(mask).encode(), object), DType.STRING) if x.dtype is DType.STRING else None
        hidden = build.add("Equal", (x, shown if shown is not None else build.number(float(mask), x)))
        places = build.add("AddV2", (places, build.number(1, places)))
        places = build.add("SelectV2", (hidden, build.number(0, places), places))
    mode = _mode(build, config, "int")
    return places if mode == "int" else encode(build, places, mode, bins)


# -- tables --------------------------------------------------------------------------------------------------------


class Vocabulary:
    """A lookup layer's table: which token has which number."""

    def __init__(self, build: Builder, config: Config) -> None:
        self.build, self.config = build, config
        self.text = config.get("vocabulary_dtype", _kind(build)) == "string"
        self.mode = _mode(build, config, "int")
        self.mask = config.get("mask_token")
        self.unknown = config.integer("num_oov_indices", 1)
        self.first_unknown = int(self.mask is not None and self.mode == "int")
        self.start = self.first_unknown + self.unknown
        self.tokens = self._tokens()

    @property
    def depth(self) -> int:
        padded = self.config.get("max_tokens") if self.config.flag("pad_to_max_tokens") else None
        return int(padded) if isinstance(padded, int) else self.start + len(self.tokens)

    @property
    def keys(self) -> Array:
        return self.words(self.tokens) if self.text else np.asarray(self.tokens, np.int64)

    def words(self, tokens: Sequence[Any]) -> Array:
        made = np.empty(len(tokens), object)
        made[:] = [each.encode() if isinstance(each, str) else each for each in tokens]
        return made

    def _tokens(self) -> list[Any]:
        given = self.config.get("vocabulary")
        if not isinstance(given, list):
            given = vocabulary_in_assets(self.build, self.text)
        kind = (str, bytes) if self.text else (int,)
        if not all(isinstance(each, kind) and not isinstance(each, bool) for each in given):
            raise self.config.wrong("vocabulary", "a list of words" if self.text else "a list of whole numbers")
        special = [self.mask] * self.first_unknown + [self.config.get("oov_token")] * self.unknown
        return list(given[len(special) :] if special and given[: len(special)] == special else given)


def _kind(build: Builder) -> str:
    return "string" if build.layer.class_name in ("StringLookup", "TextVectorization") else "int64"


def vocabulary_in_assets(build: Builder, text: bool) -> list[Any]:
    """The words of the layer's file of assets."""
    raw = build.layer.assets.get("vocabulary.txt")
    if raw is None:
        raise build.unsupported("its vocabulary is neither in its config nor in the file's assets", "save it as .keras, or " + CUT)
    lines = raw.decode("utf-8", "surrogateescape").split("\n")
    lines = lines[:-1] if lines and not lines[-1] else lines
    return [line if text else int(line) for line in lines]


def lookup_weights(config: Config, folder: str = "") -> Slots:
    """How rare each token is, which only Keras 3's own form and Keras 2 keep as a weight."""
    if config.get("output_mode") not in ("tf_idf", "tf-idf"):
        return []
    return [Slot(f"{folder}idf_weights", trainable=False, named=True, listed=config.release == 2)]


@layer("IntegerLookup", "StringLookup", weights=lookup_weights)
def lookup(build: Builder, config: Config, inputs: Sequence[Value]) -> Value:
    """Each token's number, or the vector of all that are there."""
    words = Vocabulary(build, config)
    return invert(build, words, inputs[0]) if config.flag("invert") else find(build, words, inputs[0])


def find(build: Builder, words: Vocabulary, x: Value) -> Value:
    """Numbers of tokens, or the vector of all that are there."""
    found = numbers(build, words, x)
    return found if words.mode == "int" else counted(build, words, found)


def numbers(build: Builder, words: Vocabulary, x: Value) -> Value:
    """Numbers of tokens."""
    x = x if words.text else build.cast(x, DType.INT64)
    missing = words.first_unknown if words.unknown == 1 else -1
    found = _look_up(build, x, build.constant(missing, DType.INT64), words.keys, np.arange(len(words.tokens)) + words.start)
    if words.mask is not None:
        key = build.constant(
            words.words([words.mask])[0] if words.text else words.mask, DType.STRING if words.text else DType.INT64
        )
        hidden = build.constant(0 if words.mode == "int" else -1, DType.INT64, "masked")
        found = build.add("SelectV2", (build.add("Equal", (x, key)), hidden, found))
    if words.unknown > 1:
        found = _spread_unknown(build, words, x, found)
    return found


def counted(build: Builder, words: Vocabulary, found: Value) -> Value:
    """Numbers of tokens as vectors; those below 0 count nothing."""
    if words.mode not in ("tf_idf", "tf-idf"):
        return encode(build, found, words.mode, words.depth)
    return build.add("Mul", (encode(build, found, "count", words.depth), _weights(build, words)))


def _spread_unknown(build: Builder, words: Vocabulary, x: Value, found: Value) -> Value:
    """Several numbers for tokens that are not known: by their remainder, or by the hash of their letters."""
    if build.config.get("salt") is not None or (not words.text and build.config.get("oov_method") == "farmhash"):
        raise build.unsupported("tokens that it does not know get numbers by a hash that no target computes", CUT)
    if words.text:
        place = build.add("StringToHashBucketFast", (x,), {"num_buckets": words.unknown})
    else:
        place = build.add("FloorMod", (x, build.constant(words.unknown, DType.INT64)))
    place = build.add("AddV2", (place, build.constant(words.first_unknown, DType.INT64)))
    return build.add("SelectV2", (build.add("Equal", (found, build.constant(-1, DType.INT64))), place, found))


def _weights(build: Builder, words: Vocabulary) -> Value:
    """How rare each token is; tokens that are not known get the mean, tokens to come nothing."""
    made = np.zeros(build.bounded(words.depth, 1 << 26))
    role = next((each for each in build.layer.weights if each.endswith("idf_weights")), None)
    if role is not None:
        kept = build.tensor(role).array().reshape(-1)[: words.depth]
        made[: kept.size] = kept
        return build.constant(made, name="idf_weights")
    given = words.config.get("idf_weights")
    if not isinstance(given, list) or len(given) != len(words.tokens):
        raise build.unsupported("its idf_weights are not in its config", EXPORT)
    known = np.asarray(given, np.float64)
    made[: words.start] = known.mean() if known.size else 0.0
    made[words.start : words.start + known.size] = known
    return build.constant(made, name="idf_weights")


def invert(build: Builder, words: Vocabulary, x: Value) -> Value:
    """Tokens of numbers."""
    dtype = DType.STRING if words.text else DType.INT64
    other = words.config.get("oov_token", "[UNK]" if words.text else -1)
    default = build.constant(words.words([other])[0] if words.text else other, dtype)
    places = np.arange(len(words.tokens)) + words.start
    found = _look_up(build, build.cast(x, DType.INT64), default, places, words.keys)
    if words.mask is None:
        return found
    mask = build.constant(words.words([words.mask])[0] if words.text else words.mask, dtype)
    return build.add("SelectV2", (build.add("Equal", (build.cast(x, DType.INT64), build.constant(0, DType.INT64))), mask, found))


def _look_up(build: Builder, x: Value, default: Value, keys: Array, values: Array) -> Value:
    number = 2 * sum(node.op == "TableLookup" for node in build.graph.nodes)
    operands = [build.constant(each, DType.STRING if each.dtype == object else DType.INT64, "table") for each in (keys, values)]
    return build.add("TableLookup", (x, default, *operands), {"table": number})
