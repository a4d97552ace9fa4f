"""What a file is follows from its content; what cannot be read is named, with the way on."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest
import tensorflow as tf

from tensorferry import readers
from tensorferry.errors import SourceError

MODELS = Path(__file__).parents[2] / "shared" / "models"

with_models = pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")


def graph_bytes() -> bytes:
    with tf.Graph().as_default() as graph:
        x = tf.compat.v1.placeholder(tf.float32, (1, 4), name="x")
        tf.identity(x, name="y")
    return graph.as_graph_def().SerializeToString()


def zipped() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("config.json", "{}")
    return target.getvalue()


def tarred() -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("model.pb"))
    return target.getvalue()


def meta_graph() -> bytes:
    meta = tf.compat.v1.MetaGraphDef()
    meta.meta_info_def.tensorflow_version = "2.21"
    meta.meta_info_def.tags.append("serve")
    meta.graph_def.ParseFromString(graph_bytes())
    return meta.SerializeToString()


FOREIGN = {
    "html": (b"\n <!DOCTYPE html><html><title>Not found</title>", "an HTML page", "download the file itself"),
    "xml error": (b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code></Error>', "an HTML page", "download the file itself"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a Git LFS pointer", "git lfs pull"),
    "zip": (zipped(), "a zip archive", "unpack it"),
    "gzip": (gzip.compress(b"graph"), "a gzip archive", "unpack it"),
    "tar": (tarred(), "a tar archive", "unpack it"),
    "json": (json.dumps({"größe": [1, 2, 3]}, ensure_ascii=False).encode(), "a JSON file", "own file"),
    "broken json": (b'{"modelTopology": ', "JSON-like text", "own file"),
    "deep json": (b"[" * 100_000, "JSON-like text", "own file"),
    "text": ("Hier steht etwas über Modelle.\n".encode() * 300, "text", "own file"),
    "random": (bytes.fromhex("fedcba9876543210") * 10, "of no known kind", "graph in binary form"),
    "onnx": (b"\x08\x07\x12\x07pytorch\x3a\x02\x0a\x00", "an ONNX model", "start from"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_a_graph_is_named(tmp_path: Path, kind: str) -> None:
    data, what, remedy = FOREIGN[kind]
    path = tmp_path / "model.pb"
    path.write_bytes(data)
    with pytest.raises(SourceError) as caught:
        readers.read(path)
    assert what in caught.value.what
    assert any(part in caught.value.remedy for part in remedy.split("|"))
    with pytest.raises(SourceError):
        readers.detect(path)


def test_a_graph_is_known_whatever_its_name(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_bytes(graph_bytes())
    assert readers.FORMATS[readers.detect(path)] == "TensorFlow GraphDef"
    assert [node.name for node in readers.read(path).nodes] == ["x", "y"]


@pytest.mark.parametrize("length", [9, 10, 13, 32, 60, 91, 123])
def test_a_first_node_that_looks_like_white_space(tmp_path: Path, length: int) -> None:
    # The first node's length is the second byte of the file: a line break, a blank, '<', '[' or '{' is no sign of text.
    proto = tf.compat.v1.GraphDef()
    node = proto.node.add(name="n", op="NoOp", device="")
    node.device = "d" * (length - 11) if length >= 13 else ""
    if length < 13:
        node.op = "N" * (length - 5)
    assert proto.SerializeToString()[:2] == bytes((10, length))
    path = tmp_path / "model.pb"
    path.write_bytes(proto.SerializeToString())
    assert [each.name for each in readers.read(path).nodes] == ["n"]


def test_missing_empty_and_folders(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        readers.read(tmp_path / "nowhere.pb")
    (tmp_path / "empty.pb").write_bytes(b"")
    with pytest.raises(SourceError, match="is empty"):
        readers.read(tmp_path / "empty.pb")
    with pytest.raises(SourceError, match="a folder, not a model") as caught:
        readers.read(tmp_path)
    assert "empty.pb" in caught.value.remedy
    (tmp_path / "checkpoint").write_bytes(b"x")
    with pytest.raises(SourceError, match="holds no checkpoint"):
        readers.read(tmp_path)


def test_graphs_in_other_messages_are_known_whatever_their_name(tmp_path: Path) -> None:
    saved = tf.compat.v1.MetaGraphDef.FromString(meta_graph())
    for kind, data in {
        "metagraph": meta_graph(),
        "savedmodel": b"\x08\x01\x12" + bytes([saved.ByteSize() & 0x7F | 0x80, saved.ByteSize() >> 7]) + meta_graph(),
    }.items():
        path = tmp_path / "model.pb"
        path.write_bytes(data)
        assert readers.detect(path) == kind
        assert [node.name for node in readers.read(path).nodes] == ["x", "y"]


def test_values_of_a_checkpoint_are_known_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt.data-00000-of-00001"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(SourceError, match="there is no checkpoint"):
        readers.read(path)
    (tmp_path / "checkpoint").write_bytes(b'model_checkpoint_path: "model.ckpt"\n')
    with pytest.raises(SourceError, match="holds no checkpoint"):
        readers.read(tmp_path / "checkpoint")
    (tmp_path / "table.pb").write_bytes(bytes(40) + bytes.fromhex("57fb808b247547db"))
    with pytest.raises(SourceError, match="--checkpoint"):
        readers.read(tmp_path / "table.pb")


@with_models
def test_real_models_of_other_kinds(tmp_path: Path) -> None:
    for name, what in (("k3_weights_only/checkpoint.weights.h5", "--architecture"),):
        with pytest.raises(SourceError, match=what):
            readers.read(MODELS / name)
        if (MODELS / name).is_file() and ".data-" not in name:  # under another name, too
            shutil.copyfile(MODELS / name, tmp_path / "model.pb")
            with pytest.raises(SourceError, match=what):
                readers.read(tmp_path / "model.pb")
