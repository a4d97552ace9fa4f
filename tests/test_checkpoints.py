"""Checkpoints of TensorFlow's first format, and all the ways to name a checkpoint."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import tensorferry
from tensorferry import readers
from tensorferry.cli import app
from tensorferry.errors import FerryError, SourceError
from tensorferry.readers.checkpoint import find_prefix, open_checkpoint
from tensorferry.readers.selection import select
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.wire.bundle import Bundle
from tensorferry.wire.slices import SavedSlices

tf = pytest.importorskip("tensorflow", reason="TensorFlow, which writes the checkpoints, is not installed")
v1 = tf.compat.v1

VALUES = {
    "a/float": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b/double": np.array([[1.5], [-2]]),
    "c/int64": np.array([1, -2, 2**40], np.int64),
    "d/bool": np.array([True, False]),
    "e/half": np.array([1.5, -2], np.float16),
    "f/complex": np.array([1 + 2j], np.complex64),
    "g/int8": np.array([-128, 127], np.int8),
    "h/scalar": np.array(3, np.int32),
}
ROWS = np.arange(20, dtype=np.float32).reshape(10, 2)


@pytest.fixture(scope="module")
def first_format(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`one` (a single file) and `many` (shards), with their graphs y = x @ rows."""
    folder = tmp_path_factory.mktemp("v1")
    with tf.Graph().as_default(), v1.Session() as session:
        for name, value in VALUES.items():
            v1.get_variable(name, initializer=value)
        v1.get_variable("i/words", initializer=tf.constant([b"", b"F\xc3\xa4hre"]), dtype=tf.string)
        table = v1.get_variable("rows", (10, 2), initializer=v1.ones_initializer(), partitioner=v1.fixed_size_partitioner(3))
        fill = [v1.assign(part, ROWS[at : at + part.shape[0]]) for part, at in zip(table, (0, 4, 7), strict=True)]
        x = v1.placeholder(tf.float32, (None, 10), name="x")
        tf.identity(x @ tf.convert_to_tensor(table), name="y")
        session.run(v1.global_variables_initializer())
        session.run(fill)
        old = v1.train.SaverDef.V1
        v1.train.Saver(write_version=old).save(session, str(folder / "one"), latest_filename="one-list")
        v1.train.Saver(write_version=old, sharded=True).save(session, str(folder / "many"), latest_filename="many-list")
        graph = session.graph.as_graph_def().SerializeToString()
    (folder / "graph.pb").write_bytes(graph)
    return folder


def test_the_first_format_is_read_as_it_was_written(first_format: Path) -> None:
    for name in ("one", "many", "many-00000-of-00001", "many-?????-of-00001", "one.meta"):
        values = open_checkpoint(first_format / name)
        assert isinstance(values, SavedSlices)
        assert values.names == sorted([*VALUES, "i/words", "rows"])
        for key, expected in VALUES.items():
            tensor = values.tensor(key)
            assert (tensor.dtype.value, tensor.shape) == (expected.dtype.name, expected.shape)
            np.testing.assert_array_equal(tensor.array(), expected)
            assert b"".join(tensor.chunks(8)) == expected.tobytes()
        assert values.tensor("i/words").array().tolist() == [b"", "Fähre".encode()]
        np.testing.assert_array_equal(values.tensor("rows").array(), ROWS)
        with pytest.raises(SourceError, match="has no tensor 'other'"):
            values.tensor("other")


def test_graphs_take_their_variables_from_it(first_format: Path) -> None:
    x = np.ones((1, 10), np.float32)
    for source, checkpoint in (("one.meta", None), ("one", None), ("graph.pb", "one"), ("graph.pb", "many")):
        graph = select(readers.read(first_format / source, checkpoint=checkpoint and first_format / checkpoint), outputs=["y"])
        assert evaluate_graph(graph, {"x": x})["y"].tolist() == [[90, 100]]


def test_a_part_of_a_variable_alone_is_none(first_format: Path, tmp_path: Path) -> None:
    data = bytearray((first_format / "one").read_bytes())
    (tmp_path / "short").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match="there is no checkpoint"):
        open_checkpoint(tmp_path / "short")
    data[20] ^= 1
    (tmp_path / "wrong").write_bytes(data)
    with pytest.raises(SourceError, match="checksum of a block"):
        open_checkpoint(tmp_path / "wrong")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_changed_files_are_read_or_refused(first_format: Path, data: st.DataObject) -> None:
    """Checksums are made right again, so that what they guard is reached."""
    content = bytearray((first_format / "one").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 9))] = data.draw(st.integers(0, 255))
    path = first_format / "changed"
    path.write_bytes(content)
    with contextlib.suppress(FerryError), pytest.MonkeyPatch.context() as patch:
        patch.setattr("tensorferry.wire.table.masked_crc", _Anything)
        values = SavedSlices([path])
        for name in values.names:
            with contextlib.suppress(FerryError):
                values.tensor(name).array()


class _Anything:
    """Equal to every checksum."""

    def __init__(self, _pieces: object) -> None: ...

    def __eq__(self, _other: object) -> bool:
        return True

    def __ne__(self, _other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def second_format(tmp_path: Path) -> Path:
    """Checkpoints `net-1` and `net-2` of y = x * v, their list, and the graph without a saver."""
    with tf.Graph().as_default(), v1.Session() as session:
        value = v1.get_variable("v", initializer=np.float32(1))
        tf.multiply(v1.placeholder(tf.float32, (), name="x"), value, name="y")
        (tmp_path / "graph.pb").write_bytes(session.graph.as_graph_def().SerializeToString())
        (tmp_path / "graph.pbtxt").write_text(str(session.graph.as_graph_def()))
        (tmp_path / "misnamed.pb").write_text(str(session.graph.as_graph_def()))
        saver = v1.train.Saver()
        for number in (1, 2):
            session.run(value.assign(number))
            saver.save(session, str(tmp_path / "net"), global_step=number)
    return tmp_path


@pytest.mark.parametrize("named", ["net-2", "net-2.index", "net-2.data-00000-of-00001", "net-2.meta", "", "checkpoint"])
@pytest.mark.parametrize("graph", ["graph.pb", "graph.pbtxt", "misnamed.pb"])
def test_freeze_takes_whatever_of_a_checkpoint(second_format: Path, named: str, graph: str) -> None:
    target = second_format / "frozen.pb"
    arguments = ["freeze", str(second_format / graph), "--checkpoint", str(second_format / named), "-o", str(target)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    with tf.Graph().as_default(), v1.Session() as session:
        tf.import_graph_def(v1.GraphDef.FromString(target.read_bytes()), name="")
        assert session.run("y:0", {"x:0": 10}) == 20


def test_what_is_dropped_just_opens(second_format: Path) -> None:
    for name in ("net-2", "net-2.index", "net-2.data-00000-of-00001", "net-2.meta", "checkpoint", ""):
        assert readers.detect(second_format / name) == "metagraph"
        graph = select(readers.read(second_format / name))
        assert evaluate_graph(graph, {"x": np.float32(10)})["y"] == 20
    (second_format / "net-2.meta").unlink()
    for name in ("net-2", "net-2.index", "net-2.data-00000-of-00001"):
        assert readers.detect(second_format / name) == "checkpoint"
        assert readers.variables(second_format / name)["v"].array() == 2
        with pytest.raises(SourceError, match="holds weights only") as caught:
            readers.read(second_format / name)
        assert "--checkpoint" in caught.value.remedy
    assert "v" in str(tensorferry.inspect(second_format / "net-2").as_dict())


def test_a_missing_variable_is_named(second_format: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        product = v1.placeholder(tf.float32, (), name="x") * v1.get_variable("v", initializer=np.float32(1))
        told = v1.get_variable("told", initializer=np.float32(5))
        other = v1.get_variable("other", initializer=tf.random.uniform(()))
        tf.multiply(product, told, name="y")
        tf.multiply(product, other, name="z")
        (second_format / "graph.pb").write_bytes(session.graph.as_graph_def().SerializeToString())
    graph = select(readers.read(second_format / "graph.pb", checkpoint=second_format / "net-1"), outputs=["y"])
    assert "variable 'told' is not in the checkpoint: it has the value that it is initialised with" in graph.notices
    with pytest.raises(SourceError, match="not frozen: it has 1 variable") as caught:
        select(readers.read(second_format / "graph.pb", checkpoint=second_format / "net-1"), outputs=["z"])
    assert "other" in caught.value.where


def test_small_types_are_read_from_checkpoints(tmp_path: Path) -> None:
    values = {"f8": tf.constant([1.5, -2.0]), "i4": tf.constant([7, -8], tf.int8)}
    small = {
        "f8": tf.cast(values["f8"], tf.dtypes.experimental.float8_e4m3fn),
        "i4": tf.cast(values["i4"], tf.dtypes.experimental.int4),
    }
    tf.raw_ops.SaveV2(
        prefix=str(tmp_path / "small"), tensor_names=list(small), shape_and_slices=["", ""], tensors=list(small.values())
    )
    bundle = Bundle(find_prefix(tmp_path / "small"))
    assert {name: bundle.tensor(name).array().tolist() for name in small} == {"f8": [1.5, -2.0], "i4": [7, -8]}
