"""Strings: comparing, joining, splitting, converting, and moving them about."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ops.case import Family, floats, integers, words

raw = tf.raw_ops
NUMBERS = np.array([b"1", b"-42", b"7"], object)
DECIMALS = np.array([b"1.5", b"-4e2", b"7"], object)


def add_cases(family: Family) -> None:
    for name, function in {
        "lower": tf.strings.lower,
        "upper": tf.strings.upper,
        "lower_utf8": lambda x: tf.strings.lower(x, "utf-8"),
        "length": tf.strings.length,
        "length_utf8": lambda x: tf.strings.length(x, "UTF8_CHAR"),
        "strip": tf.strings.strip,
        "substr": lambda x: tf.strings.substr(x, 0, 2),
        "hash": lambda x: tf.strings.to_hash_bucket_fast(x, 100),
        "hash_strong": lambda x: tf.strings.to_hash_bucket_strong(x, 100, [1, 2]),
        "hash_v1": lambda x: raw.StringToHashBucket(string_tensor=x, num_buckets=100),
        "regex_replace": lambda x: tf.strings.regex_replace(x, "[aeiou]", "_"),
        "regex_match": lambda x: tf.strings.regex_full_match(x, "[A-Z].*"),
        "base64": lambda x: tf.io.encode_base64(x),
        "join_constant": lambda x: tf.strings.join([x, "!"]),
        "join_separator": lambda x: tf.strings.join([x, x], "-"),
        "reduce_join": lambda x: tf.strings.reduce_join(x, 0, separator=","),
        "equal": lambda x: tf.equal(x, "ferry"),
        "not_equal": lambda x: tf.not_equal(x, x[::-1]),
        "first": lambda x: x[0],
        "gather": lambda x: tf.gather(x, [1, 0]),
        "reshape": lambda x: tf.reshape(x, [2, 2]),
        "concat": lambda x: tf.concat([x, x], 0),
        "pack": lambda x: tf.stack([x, x], 1),
        "tile": lambda x: tf.tile(x, [2]),
        "where": lambda x: tf.where([True, False, True, False], x, "other"),
        "unstack": lambda x: tf.unstack(x),
        "pad": lambda x: tf.concat([x, [""]], 0),
        "identity": lambda x: tf.identity(x),
        "reverse": lambda x: tf.reverse(x, [0]),
        "expand_dims": lambda x: x[:, None],
        "broadcast": lambda x: tf.broadcast_to(x, [2, 4]),
        "unicode_decode": lambda x: tf.strings.unicode_decode(x, "UTF-8").values,
        "bytes_split": lambda x: tf.strings.bytes_split(x).values,
        "split": lambda x: tf.strings.split(x).values,
        "split_separator": lambda x: tf.strings.split(x, ",").values,
        "ngrams": lambda x: tf.strings.ngrams(x, 2),
        "format": lambda x: tf.strings.format("<{}>", x),
        "unique": lambda x: tf.unique(x)[0],
        "size": tf.size,
        "one_hot_by_equal": lambda x: tf.cast(tf.equal(x[:, None], tf.constant(["ferry", "42"])), tf.float32),
    }.items():
        family.add(name, function, words(4))
        if name not in ("reshape", "where", "broadcast", "unstack", "format"):
            family.add(name, function, words(4), unknown="sizes")
        family.add(f"{name}_ascii", function, words(4, among=(b"a b", b"XY", b"", b"ferry"), seed=3))
    for dtype in ("float32", "float64", "int32", "int64"):
        family.add(
            f"to_number_{dtype}",
            lambda x, d=dtype: tf.strings.to_number(x, tf.as_dtype(d)),
            DECIMALS if dtype.startswith("float") else NUMBERS,
        )
    for dtype in ("int8", "int32", "int64", "float32", "float64", "bool"):
        array = (
            floats(3).astype(dtype)
            if dtype.startswith("float")
            else np.array([1, 0, 1], dtype)
            if dtype == "bool"
            else integers(3, dtype=dtype)
        )
        family.add(f"as_string_{dtype}", tf.strings.as_string, array)
    family.add("as_string_precision", lambda x: tf.strings.as_string(x, precision=2), floats(3))
    family.add("as_string_filled", lambda x: tf.strings.as_string(x, width=5, fill="0"), integers(3, low=0))
    family.add("RegexFullMatch", tf.strings.regex_full_match, words(4), np.array(b"[A-Z].*", object))
    family.add("RegexReplace", lambda x, p: tf.strings.regex_replace(x, p, "_"), words(4), np.array(b"[aeiou]", object))
    family.add("Fingerprint", lambda x: raw.Fingerprint(data=x, method="farmhash64"), words(4))
    family.add("unicode_script", tf.strings.unicode_script, np.array([65, 228, 12354], np.int32))
    family.add("unicode_transcode", lambda x: tf.strings.unicode_transcode(x, "UTF-8", "UTF-16-BE"), words(4))
    family.add("serialize_tensor", tf.io.serialize_tensor, floats(3))
    family.add("decode_raw", lambda x: tf.io.decode_raw(x, tf.uint8), np.array([b"abcd", b"wxyz"], object))
    family.add("decode_raw_int16", lambda x: tf.io.decode_raw(x, tf.int16), np.array([b"abcd", b"wxyz"], object))
    family.add("decode_csv", lambda x: tf.io.decode_csv(x, [0.0, 1]), np.array([b"1.5,2", b"3,4"], object))
    family.add("decode_base64", lambda x: tf.io.decode_base64(x), np.array([b"YWJj", b"ZA"], object))
    family.add("unicode_encode", lambda x: tf.strings.unicode_encode(x, "UTF-8"), np.array([[72, 105], [228, 33]], np.int32))
    family.add("parse_example", lambda x: tf.io.parse_example(x, {"a": tf.io.FixedLenFeature([2], tf.float32)})["a"], _example())
    family.add(
        "parse_example_default",
        lambda x: tf.io.parse_example(x, {"b": tf.io.FixedLenFeature([], tf.int64, default_value=4)})["b"],
        _example(),
    )
    family.add(
        "parse_tensor", lambda x: tf.io.parse_tensor(x, tf.float32), np.array(tf.io.serialize_tensor(floats(3)).numpy(), object)
    )
    family.add("empty", lambda x: tf.strings.join([x, "!"]), np.zeros(0, object))
    family.add("matrix", lambda x: tf.transpose(x), words(2, 3))
    family.add("scalar", lambda x: tf.strings.join([x, x]), np.array(b"ab", object))
    family.add("constant_output", lambda x: tf.gather(tf.constant(["no", "maybe", "yes"]), x), integers(4, low=0, high=3))
    family.add(
        "label_of_best",
        lambda x: tf.gather(tf.constant(["cat", "dog", "owl"]), tf.argmax(x, -1)),
        np.array([[1, 5, 2], [9, 0, 3]], np.float32),
    )


def _example() -> np.ndarray:
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[1.5, -2.0]))
    message = tf.train.Example(features=tf.train.Features(feature={"a": feature})).SerializeToString()
    return np.array([message, message], object)
