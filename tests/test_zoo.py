"""MobileNetV1 and PoseNet: the frozen graph as it was, the reference outputs, geometry, weights and their download."""

from __future__ import annotations

import dataclasses
import functools
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tensorferry import readers, zoo
from tensorferry.errors import OptionError, SourceError
from tensorferry.ir import Graph, format_shape, verify
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.tensor import FileTensor
from tensorferry.writers.graphdef import serialize_graphdef, write_graphdef
from tensorferry.zoo import Architecture, fetching
from tensorferry.zoo.posenet import DEFAULT, OUTPUTS, weight_order
from tensorferry.zoo.weights import POSENET, POSENET_PUBLIC, read_manifest

v1 = tf.compat.v1
SHARED = Path(__file__).parents[2] / "shared"
WEIGHTS = SHARED / "models" / POSENET
TABLE = fetching.known_models()
REFERENCES = SHARED / "models" / "posenet_ref_outputs"

with_weights = pytest.mark.skipif(not WEIGHTS.is_dir(), reason="the shared weights of PoseNet are not there")


def run(graph: Graph, image: np.ndarray) -> list[np.ndarray]:
    with tf.Graph().as_default() as built, v1.Session(graph=built) as session:
        tf.graph_util.import_graph_def(v1.GraphDef.FromString(serialize_graphdef(graph)), name="")
        return session.run([f"{port.value.name}:0" for port in graph.outputs], {"image:0": image})


@pytest.mark.skipif(not (SHARED / "seed").is_dir(), reason="the shared list of nodes is not there")
def test_the_frozen_graph_lists_as_it_did(tmp_path: Path) -> None:
    write_graphdef(zoo.build_posenet(), tmp_path / "posenet.pb")
    graph = readers.read(tmp_path / "posenet.pb")
    verify(graph)
    rows = [
        f"{index}\t{node.name}\t{node.name}:0\t{format_shape(node.output.shape)}\t{node.output.dtype}"
        for index, node in enumerate(graph.nodes)
    ]
    assert rows == (SHARED / "seed" / "posenet-nodes.tsv").read_text().splitlines()[1:]


@with_weights
@pytest.mark.skipif(not REFERENCES.is_dir(), reason="the shared reference outputs are not there")
def test_real_weights_give_the_reference_outputs() -> None:
    graph = zoo.build_posenet(weights=zoo.FolderWeights(WEIGHTS))
    paths = sorted(REFERENCES.glob("*.npz"))
    assert paths
    for path in paths:
        with np.load(path) as reference:
            for name, output in zip(OUTPUTS, run(graph, reference["image"]), strict=True):
                assert np.abs(output - reference[name]).max() <= 1e-5 * np.abs(reference[name]).max(), (path.name, name)


def test_there_are_62_different_weights() -> None:
    assert len(set(weight_order())) == len(weight_order()) == 62


@pytest.mark.parametrize(
    ("stride", "strides", "rates"),
    [
        (32, [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1], [1] * 14),
        (16, [2, 1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1], [1] * 13 + [2]),
        (8, [2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1], [1] * 7 + [2] * 6 + [4]),
    ],
)
def test_strides_become_dilations(stride: int, strides: list[int], rates: list[int]) -> None:
    layers = Architecture(output_stride=stride).layers()
    assert [layer.stride for layer in layers] == strides
    assert [layer.rate for layer in layers] == rates


@pytest.mark.parametrize(("stride", "multiplier"), [(8, 0.25), (16, 0.25), (32, 1.0)])
@pytest.mark.parametrize("resolution", [(65, 97), (32, 64)])
def test_posenet_of_every_stride_runs_the_same_everywhere(stride: int, multiplier: float, resolution: tuple[int, int]) -> None:
    graph = zoo.build_posenet(Architecture(multiplier=multiplier, resolution=resolution, output_stride=stride))
    verify(graph)
    height, width = (-(-size // stride) for size in resolution)
    assert graph.outputs[0].value.shape == (1, height, width, 17)
    image = np.random.default_rng(1).uniform(-1, 1, (1, *resolution, 3)).astype(np.float32)
    ours = evaluate_graph(graph, {"image": image})
    for port, theirs in zip(graph.outputs, run(graph, image), strict=True):
        np.testing.assert_allclose(ours[port.name], theirs, atol=1e-5 * np.abs(theirs).max(), rtol=0)


def test_narrow_posenets_end_at_stride_16() -> None:
    with pytest.raises(OptionError, match="do not reach the output stride 32"):
        zoo.build_posenet(Architecture(multiplier=0.5, output_stride=32))


def test_dilation_keeps_the_pixels_of_the_coarser_net() -> None:
    """Without its strides' thinning, a dilated net computes what the strided one does, at more places."""
    image = np.random.default_rng(1).uniform(-1, 1, (1, 65, 65, 3)).astype(np.float32)
    coarse, fine = (
        evaluate_graph(zoo.build_posenet(Architecture(multiplier=1.0, resolution=(65, 65), output_stride=stride)), {"image": image})
        for stride in (32, 16)
    )
    largest = np.abs(coarse["offset_2"]).max()
    assert largest > 0
    np.testing.assert_allclose(fine["offset_2"][:, ::2, ::2], coarse["offset_2"], atol=1e-5 * largest, rtol=0)


def test_classifier() -> None:
    graph = zoo.build_mobilenet_v1(Architecture(multiplier=0.5, resolution=(64, 96)), classes=10)
    verify(graph)
    image = np.random.default_rng(1).uniform(-1, 1, (1, 64, 96, 3)).astype(np.float32)
    (theirs,) = run(graph, image)
    assert theirs.shape == (1, 10)
    assert theirs.sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(evaluate_graph(graph, {"image": image})["probabilities"], theirs, atol=1e-5)
    full = zoo.build_mobilenet_v1()
    # keras.applications.MobileNet has 4,253,864 parameters for 1000 classes; four for each of 10,944 channels are batch norm,
    # which here is one bias. One class more is 1025 more.
    parameters = sum(node["value"].size for node in full.nodes if node.op == "Const" and node["value"].dtype.is_float)
    assert parameters == 4_253_864 - 3 * 10_944 + 1025


def test_random_weights_are_seeded() -> None:
    one, same, other = (zoo.RandomWeights(seed).tensor("a", (3, 3, 2, 4)).array() for seed in (1, 1, 2))
    assert (one == same).all()
    assert not (one == other).any()
    assert not (one == zoo.RandomWeights(1).tensor("b", (3, 3, 2, 4)).array()).any()
    assert one.dtype == np.float32


@pytest.mark.parametrize(
    "wrong",
    [{"multiplier": 0}, {"multiplier": float("nan")}, {"output_stride": 12}, {"resolution": (0, 5)}, {"resolution": (1, 2, 3)}],
    ids=str,
)
def test_architectures_check_themselves(wrong: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        Architecture(**wrong)  # type: ignore[arg-type]


# -- weights in a folder -------------------------------------------------------------------------------------------


def folder(tmp_path: Path, manifest: object, files: dict[str, bytes] | None = None) -> Path:
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    (tmp_path / "manifest.json").write_text(text)
    for name, content in (files or {}).items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_folder_weights_stay_in_their_files(tmp_path: Path) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    weights = zoo.FolderWeights(folder(tmp_path, {"a/b": {"filename": "a_b", "shape": [2, 3]}}, {"a_b": values.tobytes()}))
    tensor = weights.tensor("a/b", (2, 3))
    assert isinstance(tensor, FileTensor)
    assert tensor.array().tolist() == values.tolist()
    with pytest.raises(SourceError, match="no variable 'c'"):
        weights.tensor("c", (1,))
    with pytest.raises(SourceError, match=r"shape \[2, 3\], the model needs \[3, 2\]") as caught:
        weights.tensor("a/b", (3, 2))
    assert "multiplier" in caught.value.remedy
    (tmp_path / "a_b").write_bytes(bytes(20))
    with pytest.raises(SourceError, match="has 20 bytes, 24 are needed"):
        weights.tensor("a/b", (2, 3))


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "..", "", "a/b", "a\\b", "c:x", 3, None])
def test_no_path_leads_out_of_the_folder(tmp_path: Path, name: object) -> None:
    with pytest.raises(SourceError, match="no plain file name for 'a'"):
        read_manifest(folder(tmp_path, {"a": {"filename": name, "shape": [1]}}) / "manifest.json")


@pytest.mark.parametrize(
    "manifest", ["", "[", "[" * 100_000, "[]", '{"a": 3}', {"a": {"filename": "a", "shape": [-1]}}, {"a": {"filename": "a"}}]
)
def test_broken_manifests(tmp_path: Path, manifest: object) -> None:
    with pytest.raises(SourceError):
        read_manifest(folder(tmp_path, manifest) / "manifest.json")


def test_weights_of_another_width(tmp_path: Path) -> None:
    folder(tmp_path, {"MobilenetV1/Conv2d_3_pointwise/biases": {"filename": "x", "shape": [64]}})
    with pytest.raises(SourceError, match=r"shape \[64\], the model needs \[96\]"):
        zoo.build_posenet(DEFAULT, zoo.FolderWeights(tmp_path))


# -- finding and downloading ---------------------------------------------------------------------------------------


class Silent(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Silent, directory=str(WEIGHTS)))
    server.daemon_threads = False  # so that closing waits for every answer
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def public(address: str, **pins: str) -> dict[str, fetching.Entry]:
    """The table with the weights at another address."""
    entry = TABLE[POSENET_PUBLIC]
    return {POSENET_PUBLIC: dataclasses.replace(entry, address=f"{address}manifest.json", pins={**entry.pins, **pins})}


def test_checksums_name_manifest_and_files() -> None:
    pins = TABLE[POSENET_PUBLIC].pins
    assert len(pins) == 71
    assert next(iter(pins)) == "manifest.json"
    assert all(len(digest) == 64 for digest in pins.values())


@with_weights
def test_download_fills_the_cache(tmp_path: Path, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TENSORFERRY_MODELS", str(tmp_path / "nothing"))
    monkeypatch.setenv("TENSORFERRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "known_models", lambda: public(served))
    assert zoo.find_weights(download=False) is None
    told: list[str] = []
    found = zoo.find_weights(progress=lambda name, there, total: told.append(name))
    assert found == tmp_path / "cache" / "models" / POSENET_PUBLIC
    assert set(told) == {path.name for path in WEIGHTS.iterdir()}
    assert {path.name for path in found.iterdir()} == {path.name for path in WEIGHTS.iterdir()} | {fetching.RECORD}
    assert zoo.find_weights(download=False) == found
    zoo.build_posenet(weights=zoo.FolderWeights(found))
    monkeypatch.setenv("TENSORFERRY_MODELS", str(WEIGHTS.parent))
    assert zoo.find_weights(download=False) == WEIGHTS


@with_weights
def test_a_changed_file_is_refused_and_survived(
    tmp_path: Path, served: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TENSORFERRY_MODELS", raising=False)
    monkeypatch.setenv("TENSORFERRY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(fetching, "known_models", lambda: public(served, **{"manifest.json": "0" * 64}))
    assert zoo.find_weights() is None
    assert "is not the file expected" in caplog.text
    monkeypatch.setattr(fetching, "known_models", lambda: public(f"{served}nowhere/"))
    assert zoo.find_weights() is None
    assert "answers 404" in caplog.text
    assert not (tmp_path / "cache" / "models" / POSENET_PUBLIC).exists()
