"""Lookups in tables whose keys and values are constants: TableLookup, which readers make of TensorFlow's table ops.

TensorFlow has a table, an op that fills it and ops that read it. As a table that is filled once never changes, each reading is
written down here as one pure op over the keys asked for, the default, and the table's own keys and values.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tensorferry.ir import UNKNOWN_DIM, Graph, Node, Typed, Value
from tensorferry.ops.expansion import Expansion
from tensorferry.ops.index_operands import int32_vector
from tensorferry.ops.shape import reshape_target
from tensorferry.ops.sizes import Sizes, vector
from tensorferry.ops.spec import Declined, Example, OpSpec
from tensorferry.targets import JsNode, LiteBody, LiteOp, Ref, Temp
from tensorferry.tensor import Array, DType, Tensor

_DENSE_FACTOR, _DENSE_LEAST = 8, 4096
"""Integer keys are indices into a row while from the least to the largest it is at most so many times as far as there are keys,
and so much more."""


def _infer(node: Node) -> list[Typed]:
    keys, default, _, table_values = node.inputs
    if default.dtype is not table_values.dtype and DType.UNKNOWN not in (default.dtype, table_values.dtype):
        raise Declined(f"its default is {default.dtype}, its values are {table_values.dtype}")
    return [Typed(table_values.dtype, keys.shape)]


def _evaluate(_node: Node, keys: Array, default: Array, table_keys: Array, table_values: Array) -> Array:
    table = dict(zip(table_keys.reshape(-1).tolist(), table_values.reshape(-1).tolist(), strict=True))
    other = default.reshape(-1).tolist()[0]
    found = np.empty(keys.size, object)
    found[:] = [table.get(key, other) for key in keys.reshape(-1).tolist()]
    shaped = found.reshape(keys.shape)
    return shaped if table_values.dtype == object else shaped.astype(table_values.dtype)


def _contents(node: Node) -> tuple[Array, Array]:
    """The table's keys and values."""
    keys, values = (value.constant for value in node.inputs[2:])
    if keys is None or values is None:
        raise Declined("the table is filled with what is computed while the model runs", remedy="fill it from constants")
    return keys.array().reshape(-1), values.array().reshape(-1)


# -- TensorFlow Lite -----------------------------------------------------------------------------------------------


def _to_tflite(node: Node) -> list[LiteOp]:
    """A table in the runtime, filled by a subgraph that runs once. Tables of one number are one table."""
    keys, default, table_keys, table_values = node.inputs
    if {table_keys.dtype, table_values.dtype} != {DType.STRING, DType.INT64}:
        raise Declined(f"TensorFlow Lite has no table from {table_keys.dtype} to {table_values.dtype}")
    size = len(_contents(node)[0])
    if not size:
        raise Declined("the table is empty")
    tensors = table_keys.constant, table_values.constant
    assert tensors[0] is not None
    assert tensors[1] is not None
    return lite_lookup(node.name, keys, default, (tensors[0], tensors[1]), int(node["table"]), node.output)


def lite_lookup(name: str, keys: Ref, default: Ref, contents: tuple[Tensor, Tensor], number: int, target: Ref) -> list[LiteOp]:
    """The operators that fill the table of that number, once, and look the keys up in it."""
    kinds = {f"{role}_dtype": tensor.dtype.value.upper() for role, tensor in zip(("key", "value"), contents, strict=True)}
    options = {"table_id": number, **kinds}
    filled, asked = (Temp("table", DType.RESOURCE, (1,)) for _ in range(2))
    fill = (LiteOp("HASHTABLE", (), (filled,), options), LiteOp("HASHTABLE_IMPORT", (filled, *contents), ()))
    return [
        LiteOp("CALL_ONCE", (), (), {"init_subgraph_index": LiteBody(f"{name}/fill", fill)}),
        LiteOp("HASHTABLE", (), (asked,), options),
        LiteOp("HASHTABLE_FIND", (asked, keys, default), (target,)),
    ]


def _expand(graph: Graph, node: Node) -> bool:
    """Each key's place in the table, one beyond the last for a missing one; then the value, or the default, that stands there."""
    keys, default, table_keys, _ = node.inputs
    known, values = _contents(node)
    expansion = Expansion(graph, node)
    if not known.size:
        sizes = vector(expansion, Sizes(expansion, keys).all()) if keys.shape is not None else expansion.make("Shape", keys)
        return expansion.finish(expansion.make("BroadcastTo", default, sizes))
    missing = np.array(known.size, np.int64)
    number = int(node["table"])
    if table_keys.dtype is DType.STRING:
        places = _look_up(expansion, keys, missing, known, np.arange(known.size), number)
    elif table_keys.dtype.is_integer:
        wide = keys if keys.dtype is DType.INT64 else expansion.make("Cast", keys, DstT=DType.INT64)
        places = _places_of_numbers(expansion, wide, known.astype(np.int64), number)
    else:
        return False
    if values.dtype == object:
        fallback = default.constant
        if fallback is None:
            raise Declined("its default is computed while the model runs", remedy="make the default a constant")
        row = expansion.constant(np.concatenate([values, fallback.array().reshape(-1)]), "values")
    else:
        one = expansion.make("Reshape", default, np.array([1], np.int32))
        row = expansion.make("ConcatV2", values, one, np.array(0, np.int32))
    return expansion.finish(expansion.make("GatherV2", row, places, np.array(0, np.int32)))


def _look_up(expansion: Expansion, keys: Value, default: Array, table_keys: Array, table_values: Array, number: int) -> Value:
    return expansion.make("TableLookup", keys, default, table_keys, table_values, table=number)


def _places_of_numbers(expansion: Expansion, keys: Value, known: Array, number: int) -> Value:
    """By a row of places where the keys are close to each other; else by a name for each key, for tables give or take text."""
    least, span = int(known.min()), int(known.max()) - int(known.min()) + 1
    missing = known.size
    if span <= _DENSE_FACTOR * known.size + _DENSE_LEAST:
        row = np.full(span + 2, missing, np.int64)  # one before and one after, where all keys outside come to lie
        row[known - least + 1] = np.arange(known.size)
        lowest, highest = np.int64(least - 1), np.int64(least + span)
        inside = expansion.make("Minimum", expansion.make("Maximum", keys, np.array(lowest)), np.array(highest))
        return expansion.make("GatherV2", row, expansion.make("Sub", inside, np.array(lowest)), np.array(0, np.int32))
    names = np.array([b"%d" % place for place in range(known.size)], object)
    named = _look_up(expansion, keys, np.array(b"", object), known, names, number)
    return _look_up(expansion, named, np.array(missing, np.int64), names, np.arange(known.size), number + 1)


# -- TensorFlow.js -------------------------------------------------------------------------------------------------


def _to_tfjs(node: Node) -> list[JsNode]:
    """A table that is filled when the model is loaded. Whatever the shape of the keys, what is found comes in a row."""
    keys, default, table_keys, table_values = node.inputs
    if not len(_contents(node)[0]):
        raise Declined("the table is empty")
    kinds = {"key_dtype": table_keys.dtype, "value_dtype": table_values.dtype}
    table = Temp("table", DType.RESOURCE, ())
    types = {"Tin": table_keys.dtype, "Tout": table_values.dtype}
    made = JsNode("HashTableV2", (), (table,), kinds)
    fill = JsNode("LookupTableImportV2", (table, table_keys, table_values), (), types, initial=True)
    if keys.rank == 1:
        return [made, fill, JsNode("LookupTableFindV2", (table, keys, default), (node.output,), types)]
    row, found = Temp("row", keys.dtype, (UNKNOWN_DIM,)), Temp("found", node.output.dtype, (UNKNOWN_DIM,))
    return [
        made,
        fill,
        JsNode("Reshape", (keys, int32_vector([-1])), (row,), {"T": keys.dtype, "Tshape": DType.INT32}),
        JsNode("LookupTableFindV2", (table, row, default), (found,), types),
        *_js_shaped(keys, found, node),
    ]


def _js_shaped(keys: Value, found: Temp, node: Node) -> list[JsNode]:
    attrs = {"T": found.dtype, "Tshape": DType.INT32}
    target = reshape_target(keys.shape)
    if target is not None:
        return [JsNode("Reshape", (found, int32_vector(target)), (node.output,), attrs)]
    sizes = Temp("sizes", DType.INT32, (UNKNOWN_DIM,))
    shape = JsNode("Shape", (keys,), (sizes,), {"T": keys.dtype, "out_type": DType.INT32})
    return [shape, JsNode("Reshape", (found, sizes), (node.output,), attrs)]


def _infer_find(node: Node) -> list[Typed]:
    _table, keys, default = node.inputs
    return [Typed(default.dtype, keys.shape)]


# -- examples ------------------------------------------------------------------------------------------------------


def _words(*words: bytes) -> Array:
    return np.array(words, object)


def _examples() -> Iterator[Example]:
    names, asked = _words(b"a", b"b", b"ccc"), np.array([[b"b", b"ccc", b"-"], [b"", b"a", b"b"]], object)
    numbers, some = np.array([5, 7, -2]), np.array([[7, 0], [-2, 5]])
    apart = np.array([5, 2**31 - 9, -70000])
    fixed = (1, 2, 3)
    yield Example((asked, np.array(-1), names, numbers), {"table": 10}, fixed, note="string to int64")
    yield Example((some, np.array(b"none", object), numbers, names), {"table": 10}, fixed, note="int64 to string")
    yield Example((asked[0], np.array(9), names, numbers), {"table": 10}, (2, 3), note="computed default")
    yield Example((asked, np.array(0.5, np.float32), names, np.array([1, 2, 3], np.float32)), {"table": 10}, fixed, note="to float")
    yield Example((asked, np.array(4, np.int32), names, numbers.astype(np.int32)), {"table": 10}, fixed, note="to int32")
    yield Example((asked, np.array(b"?", object), names, names[::-1]), {"table": 10}, fixed, note="string to string")
    yield Example((some, np.array(-1), numbers, np.arange(3)), {"table": 10}, fixed, note="int64 to int64")
    yield Example((np.array([5, 6, -70000]), np.array(-1), apart, np.arange(3)), {"table": 10}, fixed, note="far apart")
    narrow = some.astype(np.int32), np.array(0.5, np.float32), numbers.astype(np.int32), np.array([1, 2, 3], np.float32)
    yield Example(narrow, {"table": 10}, fixed, note="int32 to float")
    yield Example((asked, np.array(False), names, np.array([True, True, False])), {"table": 10}, fixed, note="to bool")
    yield Example((some, np.array(3), np.array([7]), np.array([1])), {"table": 10}, (2, 3), note="computed default, dense")


SPECS = (
    OpSpec(
        name="TableLookup",
        attrs={"table": 0},
        infer=_infer,
        evaluate=_evaluate,
        to_tflite=_to_tflite,
        to_tfjs=_to_tfjs,
        expand=_expand,
        examples=_examples,
    ),
    OpSpec(name="LookupTableFindV2", aliases=("LookupTableFind",), infer=_infer_find, pure=False),
    OpSpec(name="LookupTableSizeV2", aliases=("LookupTableSize",), infer=lambda _node: [Typed(DType.INT64, ())], pure=False),
)
