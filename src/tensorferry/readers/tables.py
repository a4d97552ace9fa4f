"""Tables: each op that reads one becomes a TableLookup over the constants that the graph fills it with.

TensorFlow fills a table beside the model, by an op that no output reads; it is looked for here before the graph is pruned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tensorferry import ops
from tensorferry.errors import SourceError
from tensorferry.ir import Graph, Node
from tensorferry.readers.computing import compute_constant
from tensorferry.tensor import Array, DType, Tensor

TABLES = frozenset(
    {"HashTable", "HashTableV2", "MutableHashTable", "MutableHashTableV2", "MutableDenseHashTable", "MutableDenseHashTableV2"}
)
_FILLS = frozenset({"InitializeTable", "InitializeTableV2", "LookupTableImport", "LookupTableImportV2"})
_FILE_FILLS = frozenset({"InitializeTableFromTextFile", "InitializeTableFromTextFileV2"})
_CHANGES = frozenset({"LookupTableInsert", "LookupTableInsertV2", "LookupTableRemoveV2"})
_FINDS = frozenset({"LookupTableFind", "LookupTableFindV2"})
_SIZES = frozenset({"LookupTableSize", "LookupTableSizeV2"})
_PASSING = ("Identity", "Enter", "RefIdentity")

FIRST_NUMBER = 1000
"""Of the tables; below, TensorFlow Lite numbers the variables, in the same room. Each may need a second table beside it."""

LARGEST_VOCABULARY = 64 << 20
"""Bytes of a text file that is taken in."""

_WHOLE_LINE, _LINE_NUMBER = -2, -1


@dataclass(frozen=True, slots=True)
class _Contents:
    keys: Tensor | Array
    values: Tensor | Array

    @property
    def size(self) -> int:
        return int(np.prod(self.keys.shape))


def resolve_tables(graph: Graph) -> None:
    """Rewrite what reads tables that are filled once, with constants."""
    for number, table in enumerate([node for node in graph.nodes if node.op in TABLES]):
        readers = list(_readers(table))
        contents = next(filter(None, (_contents(graph, node) for node in readers)), None)
        if contents is not None and not any(node.op in _CHANGES for node in readers):
            for node in readers:
                if node.op in _FINDS | _SIZES:
                    _rewrite(graph, node, contents, FIRST_NUMBER + 2 * number)


def refuse_empty_tables(needed: set[Node]) -> None:
    """SourceError for a table that an output needs and whose contents are not in the file."""
    finds = sorted(node.name for node in needed if node.op in _FINDS | _SIZES)
    if finds:
        raise SourceError(
            "a table is read whose contents are not in the file, or change while the model runs",
            where=", ".join(finds[:4]),
            remedy=(
                "keep the op that initialises the table when the graph is frozen, and its vocabulary file beside the graph; "
                f"or cut the lookup off: --inputs {','.join(finds)}"
            ),
        )


def _readers(table: Node) -> Iterator[Node]:
    waiting = list(table.outputs)
    while waiting:
        for user in dict.fromkeys(waiting.pop().users):
            if user.op in _PASSING:
                waiting += user.outputs
            else:
                yield user


def _contents(graph: Graph, node: Node) -> _Contents | None:
    if node.op in _FILLS:
        keys, values = (compute_constant(value) for value in node.inputs[1:3])
        return _Contents(keys, values) if keys is not None and values is not None else None
    return _from_file(graph, node) if node.op in _FILE_FILLS else None


def _rewrite(graph: Graph, node: Node, contents: _Contents, number: int) -> None:
    if node.op in _SIZES:
        made = graph.constant(np.asarray(contents.size, np.int64), node.name, before=node, origin=node.origin)
    else:
        keys, values = (
            graph.constant(part, f"{node.name}/{role}", before=node, origin=node.origin)
            for role, part in (("table_keys", contents.keys), ("table_values", contents.values))
        )
        operands = (node.inputs[1], node.inputs[2], keys, values)
        made = ops.add(graph, "TableLookup", operands, {"table": number}, name=node.name, origin=node.origin, before=node).output
    name = node.name
    graph.replace_uses(node.outputs[0], made)
    graph.remove(node)
    graph.rename(made.producer, name)


# -- text files ----------------------------------------------------------------------------------------------------


def _from_file(graph: Graph, node: Node) -> _Contents | None:
    """A vocabulary that lies beside the graph, column by column (tensorflow/core/kernels/lookup_util.cc)."""
    name = _file_of(node)
    text = graph.assets.get(asset_name(name)) if name is not None else None
    table = _table_of(node)
    if text is None or table is None:
        return None
    lines = text.replace(b"\r", b"").decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")
    limit = int(node.get("vocab_size", -1))
    lines = lines[: int(limit)] if limit > 0 else lines
    delimiter = node.get("delimiter") or "\t"
    try:
        columns = [
            _column(lines, int(node.get(f"{role}_index", default)), str(delimiter), table.get(f"{role}_dtype", DType.STRING))
            for role, default in (("key", _WHOLE_LINE), ("value", _LINE_NUMBER))
        ]
    except (IndexError, TypeError, ValueError, OverflowError) as error:
        what = f"the table '{node.name}' cannot be filled from '{asset_name(name) if name is not None else ''}'"
        raise SourceError(what, why=f"a line has no such column, or no such number in it: {error}") from error
    return _Contents(columns[0], columns[1])


def _file_of(node: Node) -> Tensor | None:
    """The name of the file that fills a table; TensorFlow 2 keeps it in a variable."""
    value = node.inputs[1]
    if value.producer.op != "ReadVariableOp":
        return compute_constant(value)
    handle = value.producer.inputs[0]
    names = (
        compute_constant(user.inputs[1]) for user in handle.users if user.op == "AssignVariableOp" and user.inputs[0] is handle
    )
    return next((name for name in names if name is not None), None)


def asset_name(name: Tensor) -> str:
    """The last part of a file's name: nothing outside the model's own folder is looked at."""
    element = name.array().reshape(-1)[0] if name.size == 1 and name.dtype is DType.STRING else b""
    return str(element.decode("utf-8", "replace")).replace("\\", "/").rpartition("/")[2]


def load_vocabularies(graph: Graph, folder: Path) -> None:
    """Take in the text files that tables are filled from, if they lie beside the graph or in its folder of assets."""
    for node in graph.nodes:
        name = _file_of(node) if node.op in _FILE_FILLS else None
        if name is None or not (last := asset_name(name)):
            continue
        for path in (folder / last, folder / "assets" / last):
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST_VOCABULARY:
                graph.assets.setdefault(last, path.read_bytes())


def _table_of(node: Node) -> Node | None:
    value = node.inputs[0]
    while value.producer.op in _PASSING:
        value = value.producer.inputs[0]
    return value.producer if value.producer.op in TABLES else None


def _column(lines: list[str], index: int, delimiter: str, dtype: DType) -> Array:
    if index == _LINE_NUMBER:
        return np.arange(len(lines), dtype=dtype.numpy)
    cells = lines if index == _WHOLE_LINE else [line.split(delimiter)[index] for line in lines]
    if dtype is DType.STRING:
        column = np.empty(len(cells), object)
        column[:] = [cell.encode("utf-8", "surrogateescape") for cell in cells]
        return column
    return np.array([float(cell) if dtype.is_float else int(cell) for cell in cells], dtype.numpy)
