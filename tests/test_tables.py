"""Hash tables: filled beside the model, read in it; on both targets what TensorFlow finds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import tensorferry
from op_harness import assert_close
from small_graphs import v1
from tensorferry.errors import SourceError, UnsupportedError
from tensorferry.runtimes import litert, tfjs

WORDS = np.array([[b"ferry", b"?", b"quay"], [b"", b"boat", b"ferry"]], object)
NUMBERS = np.array([[3, 9, -1], [4, 3, 100]])
VOCABULARY = [b"boat", b"ferry", b"quay"]


def table_of(keys: Any, values: Any, default: Any) -> Any:
    return tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), default)


def several(x: Any) -> Any:
    """Two tables, one of them read twice, and the size of one."""
    one = table_of(tf.constant(VOCABULARY), tf.constant([4, 5, 6], tf.int64), tf.constant(-1, tf.int64))
    other = table_of(tf.constant([4, 6], tf.int64), tf.constant([0.5, 1.5]), 0.0)
    first, second = one.lookup(x), one.lookup(x[:, ::-1])
    return other.lookup(first) + other.lookup(second) * 10 + tf.cast(one.size(), tf.float32)


Graph = Callable[[Any], Any]
GRAPHS: dict[str, tuple[Graph, np.ndarray]] = {
    "words to ids": (lambda x: table_of(tf.constant(VOCABULARY), tf.range(3, dtype=tf.int64), -1).lookup(x), WORDS),
    "ids to words": (lambda x: table_of(tf.constant([3, 4, 9], tf.int64), tf.constant(VOCABULARY), "-").lookup(x), NUMBERS),
    "ids to ids": (lambda x: table_of(tf.constant([3, 9], tf.int64), tf.constant([1, 2], tf.int64), 0).lookup(x), NUMBERS),
    "ids far apart": (lambda x: table_of(tf.constant([3, 10**6], tf.int64), tf.constant([1, 2], tf.int64), 0).lookup(x), NUMBERS),
    "embedding": (
        lambda x: tf.gather(
            tf.constant(np.arange(8, dtype=np.float32).reshape(4, 2)),
            table_of(tf.constant(VOCABULARY), tf.range(1, 4, dtype=tf.int64), 0).lookup(x),
        ),
        WORDS,
    ),
    "several": (several, WORDS),
}


def write_graph(make: Graph, example: np.ndarray, folder: Path) -> Path:
    """The graph with what fills its tables; sizes are left open."""
    with tf.Graph().as_default() as graph:
        dtype = tf.string if example.dtype == object else tf.int64
        tf.identity(make(v1.placeholder(dtype, (None, example.shape[1]), "x")), name="out")
    path = folder / "source.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def run_source(path: Path, example: np.ndarray) -> np.ndarray:
    definition = v1.GraphDef.FromString(path.read_bytes())
    fills = ("LookupTableImportV2", "InitializeTableV2", "InitializeTableFromTextFileV2")
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(definition, name="")
        with v1.Session(graph=graph) as session:
            session.run([node.name for node in definition.node if node.op in fills])
            return session.run("out:0", {"x:0": example})


@pytest.mark.parametrize("name", GRAPHS)
def test_tables_on_both_targets(name: str, tmp_path: Path) -> None:
    make, example = GRAPHS[name]
    source = write_graph(make, example, tmp_path)
    expected = run_source(source, example)
    lite, js = tmp_path / "model.tflite", tmp_path / "js"
    report = tensorferry.convert(source, [lite, js])
    assert [target.check.status for target in report.targets] == ["verified", "verified"]
    with litert.LiteRtModel(lite) as model:
        for rows in (example, example[:1], example):
            assert_close([model.run({"x": rows})["out"]], [expected[: len(rows)]], 1e-6)
    narrow = expected.astype(np.int32) if expected.dtype == np.int64 else expected
    assert_close([tfjs.run(js, {"x": example}).outputs["out"]], [narrow], 1e-6)


def test_tables_of_a_graph_model_are_read_back(tmp_path: Path) -> None:
    make, example = GRAPHS["several"]
    source = write_graph(make, example, tmp_path)
    report = tensorferry.convert(source, tmp_path / "js")
    assert any("does not carry text" in notice for notice in report.targets[0].notices)
    tensorferry.convert(tmp_path / "js", tmp_path / "model.tflite")
    found = litert.run(tmp_path / "model.tflite", {"x": example}).outputs["out"]
    assert_close([found], [run_source(source, example)], 1e-6)


def test_a_size_is_a_scalar(tmp_path: Path) -> None:
    """TensorFlow's own converter makes it a vector."""
    make = lambda x: table_of(tf.constant(VOCABULARY), tf.range(3, dtype=tf.int64), -1).size() + tf.cast(tf.shape(x)[0], tf.int64)  # noqa: E731
    source = write_graph(make, WORDS, tmp_path)
    tensorferry.convert(source, tmp_path / "model.tflite")
    assert litert.run(tmp_path / "model.tflite", {"x": WORDS}).outputs["out"] == np.array(5)


def from_file(path: Path) -> Graph:
    where = {"key_index": tf.lookup.TextFileIndex.WHOLE_LINE, "value_index": tf.lookup.TextFileIndex.LINE_NUMBER}
    filler = tf.lookup.TextFileInitializer(str(path), tf.string, where["key_index"], tf.int64, where["value_index"])
    return lambda x: tf.lookup.StaticHashTable(filler, -1).lookup(x)


def test_what_a_reader_resolves_counts_as_possible(tmp_path: Path) -> None:
    source = write_graph(GRAPHS["words to ids"][0], WORDS, tmp_path)
    assert not any(support.missing for support in tensorferry.inspect(source).support)
    assert any("does not carry text" in notice for notice in tensorferry.assess(source)["tfjs"].notices)


def test_a_vocabulary_file_beside_the_graph(tmp_path: Path) -> None:
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_bytes(b"\n".join(VOCABULARY) + b"\n")

    def make(x: Any) -> Any:
        return from_file(vocabulary)(x)

    source = write_graph(make, WORDS, tmp_path)
    expected = run_source(source, WORDS)
    tensorferry.convert(source, tmp_path / "model.tflite")
    assert_close([litert.run(tmp_path / "model.tflite", {"x": WORDS}).outputs["out"]], [expected], 0)
    vocabulary.unlink()
    with pytest.raises(SourceError, match="contents are not in the file") as error:
        tensorferry.convert(source, tmp_path / "other.tflite")
    assert "--inputs" in error.value.remedy


class Reader(tf.Module):
    """A table that is filled from a file, which a SavedModel keeps among its assets."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        where = tf.lookup.TextFileIndex
        filler = tf.lookup.TextFileInitializer(str(path), tf.string, where.WHOLE_LINE, tf.int64, where.LINE_NUMBER)
        self.table = tf.lookup.StaticHashTable(filler, -1)

    @tf.function(input_signature=[tf.TensorSpec((None, 3), tf.string)])
    def look_up(self, x: Any) -> Any:
        return self.table.lookup(x)


def test_the_vocabulary_of_a_saved_model(tmp_path: Path) -> None:
    vocabulary = tmp_path / "words.txt"
    vocabulary.write_bytes(b"\n".join(VOCABULARY) + b"\n")
    module = Reader(vocabulary)
    expected = module.look_up(WORDS).numpy()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.look_up)
    vocabulary.unlink()
    tensorferry.convert(tmp_path / "saved", [tmp_path / "model.tflite", tmp_path / "js"])
    found = litert.run(tmp_path / "model.tflite", {"x": WORDS}).outputs
    assert_close(list(found.values()), [expected], 0)


def test_a_lookup_can_be_cut_off(tmp_path: Path) -> None:
    source = write_graph(GRAPHS["embedding"][0], WORDS, tmp_path)
    find = next(node.name for node in v1.GraphDef.FromString(source.read_bytes()).node if node.op == "LookupTableFindV2")
    tensorferry.convert(source, tmp_path / "model.tflite", inputs=[find], outputs=["out"])
    ids = np.array([[0, 3, 1]])
    found = litert.run(tmp_path / "model.tflite", {find: ids}).outputs["out"]
    assert_close([found], [np.arange(8, dtype=np.float32).reshape(4, 2)[ids]], 0)


def test_a_default_of_text_must_be_constant_where_it_cannot_be_chosen(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        x, default = v1.placeholder(tf.string, (None, 3), "x"), v1.placeholder(tf.string, (1,), "default")
        table = table_of(tf.constant(VOCABULARY), tf.constant(VOCABULARY[::-1]), "")
        found = tf.raw_ops.LookupTableFindV2(table_handle=table.resource_handle, keys=x, default_value=default[0])
        tf.identity(found, name="out")
    (tmp_path / "source.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(UnsupportedError, match="no table from string to string"):
        tensorferry.convert(tmp_path / "source.pb", tmp_path / "model.tflite", outputs=["out"])
