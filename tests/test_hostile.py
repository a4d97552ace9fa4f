"""Models made to do harm: each ends in a result or in one clear error, in seconds, and does nothing else."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorferry
from fuzzing.seeds import FLOAT, LAYERS, OLD, OLD_WEIGHTS, SHAPE, build_net, encoded, files_in, meta_graph, node, zipped
from tensorferry.conversion import freeze, inspect
from tensorferry.errors import FerryError, SourceError
from tensorferry.writers.tfjs import write_tfjs
from tensorferry.writers.tflite import write_tflite

PLAIN_X = node("x", "Placeholder", dtype=FLOAT, shape=SHAPE)


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < 20


def graph(path: Path, nodes: list[dict[str, Any]], functions: list[dict[str, Any]] = ()) -> Path:
    document: dict[str, Any] = {"node": nodes, "versions": {"producer": 1000}}
    if functions:
        document["library"] = {"function": list(functions)}
    path.write_bytes(encoded("GraphDef", document))
    return path


def function(name: str, *nodes: dict[str, Any], result: str) -> dict[str, Any]:
    signature = {"name": name, "input_arg": [{"name": "a", "type": 1}], "output_arg": [{"name": "b", "type": 1}]}
    return {"signature": signature, "node_def": list(nodes), "ret": {"b": result}}


def call(name: str, of: str, *inputs: str) -> dict[str, Any]:
    types = {"list": {"type": [1]}}
    return node(name, "PartitionedCall", *inputs, Tin=types, Tout=types, f={"func": {"name": of}})


def folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    place = tmp_path_factory.mktemp("web")
    write_tfjs(build_net(), place, shard_size=0)
    return files_in(place)


# -- what calls itself ---------------------------------------------------------------------------------------------


def test_functions_that_call_themselves(tmp_path: Path) -> None:
    loops = {
        "itself": [function("f", call("c", "f", "a"), result="c:output:0")],
        "each other": [
            function("f", call("c", "g", "a"), result="c:output:0"),
            function("g", call("c", "f", "a"), result="c:output:0"),
        ],
    }
    for functions in loops.values():
        path = graph(tmp_path / "net.pb", [PLAIN_X, call("y", "f", "x")], functions)
        with pytest.raises(SourceError):
            inspect(path)


def test_functions_that_double(tmp_path: Path) -> None:
    """Each calls the one before twice: forty of them stand for 2^40 nodes."""
    functions = [function("f0", node("n", "Neg", "a", T=FLOAT), result="n:y:0")]
    for number in range(1, 41):
        first, second = call("c", f"f{number - 1}", "a"), call("d", f"f{number - 1}", "c:output:0")
        functions.append(function(f"f{number}", first, second, result="d:output:0"))
    with pytest.raises(SourceError) as caught:
        inspect(graph(tmp_path / "net.pb", [PLAIN_X, call("y", "f40", "x")], functions))
    assert caught.value.what


def test_a_loop_in_the_node_list(tmp_path: Path) -> None:
    for nodes in (
        [node("a", "Neg", "b", T=FLOAT), node("b", "Neg", "a", T=FLOAT)],
        [node("a", "Neg", "a", T=FLOAT)],
        [node("a", "Neg", "x", "^b", T=FLOAT), node("b", "Neg", "a", T=FLOAT)],
    ):
        with pytest.raises(FerryError):
            freeze(graph(tmp_path / "net.pb", [PLAIN_X, *nodes]), tmp_path / "out.pb")
    assert not (tmp_path / "out.pb").exists()


def test_two_nodes_of_one_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'y'"):
        inspect(graph(tmp_path / "net.pb", [PLAIN_X, node("y", "Neg", "x", T=FLOAT), node("y", "Abs", "x", T=FLOAT)]))


def test_objects_that_hold_each_other(tmp_path: Path) -> None:
    config = json.loads(LAYERS)
    inner = config["modelTopology"]["model_config"]
    for _ in range(300):
        inner = {"class_name": "Sequential", "config": {"name": "n", "layers": [inner]}}
    config["modelTopology"]["model_config"] = inner
    with pytest.raises(SourceError):
        inspect(folder(tmp_path, {"model.json": json.dumps(config).encode(), "w.bin": bytes(64)}) / "model.json")


# -- what claims much ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[2**40], [2**40, 2**40], [2**62, 4], [-5], [2**63 - 1], [1] * 300])
def test_shapes_beyond_all_memory(tmp_path: Path, sizes: list[int], web: dict[str, bytes]) -> None:
    shape = {"dim": [{"size": size} for size in sizes]}
    value = {"tensor": {"dtype": 1, "tensor_shape": shape, "float_val": [1.0]}}
    constant = node("w", "Const", dtype=FLOAT, value=value)
    path = graph(tmp_path / "net.pb", [PLAIN_X, constant, node("y", "Add", "x", "w", T=FLOAT)])
    with pytest.raises(FerryError):
        tensorferry.convert(path, tmp_path / "out.tflite", verify=False)
    placeholder = node("x", "Placeholder", dtype=FLOAT, shape={"shape": shape})
    with suppress(FerryError):
        inspect(graph(tmp_path / "in.pb", [placeholder, node("y", "Neg", "x", T=FLOAT)]))
    model = json.loads(web["model.json"])
    model["weightsManifest"][0]["weights"][0]["shape"] = sizes
    with pytest.raises(SourceError):
        inspect(folder(tmp_path / "web", {**web, "model.json": json.dumps(model).encode()}))
    assert not (tmp_path / "out.tflite").exists()


def test_counts_beyond_all_memory(tmp_path: Path) -> None:
    """A node that claims a billion outputs, and one with a billion inputs."""
    for attributes in ({"num_split": {"i": 2**40}}, {"num_split": {"i": -1}}, {"num_split": {"i": 10**9}}):
        axis = node("axis", "Const", dtype={"type": 3}, value={"tensor": {"dtype": 3, "tensor_shape": {}, "int_val": [0]}})
        with pytest.raises(FerryError):
            inspect(graph(tmp_path / "net.pb", [PLAIN_X, axis, node("y", "Split", "axis", "x", T=FLOAT, **attributes)]))
    with pytest.raises(FerryError):
        inspect(graph(tmp_path / "net.pb", [PLAIN_X, node("y", "AddN", "x", T=FLOAT, N={"i": 2**40})]))


@pytest.mark.parametrize("kind", ["json", "topology", "text", "protobuf", "keras"])
def test_deep_nesting(tmp_path: Path, kind: str, web: dict[str, bytes]) -> None:
    depth = 50_000
    if kind == "json":
        path = folder(tmp_path, {"model.json": b'{"modelTopology":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"}) / "model.json"
    elif kind == "topology":
        model = web["model.json"].replace(b'"attr"', b'"attr":{"deep":' + b'{"list":' * 500 + b"{}" + b"}" * 500 + b'},"more"', 1)
        path = folder(tmp_path, {**web, "model.json": model}) / "model.json"
    elif kind == "text":
        (path := tmp_path / "net.pbtxt").write_bytes(b"node { " * depth + b"}" * depth)
    elif kind == "protobuf":
        data = b""
        for _ in range(3000):
            length = len(data)
            data = b"\x0a" + bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14]) + data
        (path := tmp_path / "net.pb").write_bytes(data)
    else:
        config = b'{"class_name":"Sequential","config":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        path = tmp_path / "net.keras"
        path.write_bytes(zipped({"config.json": config, "metadata.json": b"{}", "model.weights.h5": b""}))
    try:
        inspect(path)
    except FerryError as error:
        assert len(str(error)) < 2000


def test_a_tflite_file_whose_tables_point_at_each_other(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    write_tflite(build_net(), path)
    good = path.read_bytes()
    for place in range(0, min(len(good), 1200), 4):
        for value in (0, 4, 0xFFFFFFFF, 0x7FFFFFFF, len(good) - place):
            path.write_bytes(good[:place] + (value % 2**32).to_bytes(4, "little") + good[place + 4 :])
            with suppress(FerryError):
                inspect(path)


# -- what leads elsewhere ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "link.bin", "\0", "a" * 5000])
def test_shards_elsewhere(tmp_path: Path, name: str, web: dict[str, bytes]) -> None:
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    model = json.loads(web["model.json"])
    model["weightsManifest"][0]["paths"] = [name]
    place = folder(tmp_path / "web", {**web, "model.json": json.dumps(model).encode()})
    (place / "link.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(SourceError):
        inspect(place)
    manifest = json.loads(OLD_WEIGHTS)
    manifest[0]["paths"] = [name]
    old = {"tensorflowjs_model.pb": encoded("GraphDef", OLD), "weights_manifest.json": json.dumps(manifest).encode()}
    with pytest.raises(SourceError):
        inspect(folder(tmp_path / "old", old))


@pytest.mark.parametrize("name", ["../../secret.txt", "/etc/hostname", "link.txt", "..", "a/b.txt"])
def test_assets_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.txt").write_text("secret words\n")
    meta = meta_graph()
    meta["asset_file_def"] = [{"tensor_info": {"name": "x:0"}, "filename": name}]
    saved = encoded("SavedModel", {"saved_model_schema_version": 1, "meta_graphs": [meta]})
    place = folder(tmp_path / "saved", {"saved_model.pb": saved, "assets/other.txt": b"x"})
    (place / "assets" / "link.txt").symlink_to(tmp_path / "secret.txt")
    loaded = tensorferry.load(place)
    assert not any(b"secret" in data for data in loaded.assets.values())


def test_a_link_out_of_an_archive_is_not_followed(tmp_path: Path) -> None:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        link = tarfile.TarInfo("saved_model.pb")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    (tmp_path / "net.tar").write_bytes(target.getvalue())
    with pytest.raises(SourceError, match="is not opened"):
        inspect(tmp_path / "net.tar")


# -- what would run ------------------------------------------------------------------------------------------------


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch harmed",)


def keras_file(path: Path, config: dict[str, Any], **more: bytes) -> Path:
    import h5py  # noqa: PLC0415

    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        file.create_group("layers")
    files = {
        "config.json": json.dumps(config).encode(),
        "metadata.json": b'{"keras_version": "3.5.0"}',
        "model.weights.h5": weights.getvalue(),
    }
    path.write_bytes(zipped({**files, **more}))
    return path


def sequential(*layers: dict[str, Any]) -> dict[str, Any]:
    first = {"class_name": "InputLayer", "config": {"batch_shape": [None, 3], "dtype": "float32", "name": "x"}}
    return {"module": "keras", "class_name": "Sequential", "config": {"name": "net", "layers": [first, *layers]}}


def test_lambdas_and_pickles_in_keras_files_are_never_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    harmful = pickle.dumps(Harmful())
    code = {
        "class_name": "__lambda__",
        "config": {"code": "4wEAAAAAAAAAAAAAAAEAAAADAAAAQwAAAHMEAAAA", "defaults": None, "closure": None},
    }
    for layer in (
        {"class_name": "Lambda", "config": {"name": "harm", "function": code}},
        {"class_name": "Lambda", "config": {"name": "harm", "function": [harmful.hex(), None, None], "function_type": "lambda"}},
        {"class_name": "system", "module": "os", "config": {"name": "harm", "command": "touch harmed"}},
        {
            "class_name": "__import__('os').system",
            "module": "builtins",
            "config": {"name": "harm"},
            "registered_name": "touch harmed",
        },
        {"class_name": "Dense", "config": {"name": "harm", "units": 3, "activation": code}},
        {"class_name": "Dense", "config": {"name": "harm", "units": 3, "activation": "__import__('os').system('touch harmed')"}},
    ):
        path = keras_file(tmp_path / "net.keras", sequential(layer), **{"harm.pkl": harmful})
        with pytest.raises(FerryError):
            inspect(path)
        assert {each.name for each in tmp_path.iterdir()} == {"net.keras"}
    lambdas = keras_file(tmp_path / "net.keras", sequential({"class_name": "Lambda", "config": {"name": "harm", "function": code}}))
    with pytest.raises(FerryError, match="Lambda") as caught:
        inspect(lambdas)
    assert "SavedModel" in str(caught.value)


def test_a_pickle_in_place_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("net.pb", "net.h5", "net.keras", "net.npz", "model.json"):
        (tmp_path / name).write_bytes(pickle.dumps(Harmful()))
        with pytest.raises(FerryError):
            inspect(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "net.zip", "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps(Harmful()))
    with pytest.raises(FerryError):
        inspect(tmp_path / "net.zip")
    np.savez(tmp_path / "in.npz", x=np.array([Harmful()], object))
    path = graph(tmp_path / "plain.pb", [PLAIN_X, node("y", "Neg", "x", T=FLOAT)])
    with pytest.raises(FerryError):
        tensorferry.convert(path, tmp_path / "out.tflite", verify_inputs=tmp_path / "in.npz")
    assert not (tmp_path / "harmed").exists()
    assert not (tmp_path / "out.tflite").exists()


# -- numbers that are none -----------------------------------------------------------------------------------------


def test_weights_that_are_no_numbers_are_carried_as_they_are(tmp_path: Path) -> None:
    values = [float("nan"), float("inf"), float("-inf"), 1.0]
    value = {"tensor": {"dtype": 1, "tensor_shape": SHAPE["shape"], "float_val": values}}
    nodes = [PLAIN_X, node("w", "Const", dtype=FLOAT, value=value), node("y", "Add", "x", "w", T=FLOAT)]
    report = tensorferry.convert(graph(tmp_path / "net.pb", nodes), tmp_path / "net.tflite")
    assert report.verified


@pytest.mark.parametrize("size", [float("nan"), float("inf"), 1e300, "1e999", "NaN", None, [1], True, 2.5])
def test_sizes_that_are_no_numbers(tmp_path: Path, size: object, web: dict[str, bytes]) -> None:
    model = json.loads(web["model.json"])
    model["weightsManifest"][0]["weights"][0]["shape"] = [size, 3]
    with pytest.raises(SourceError):
        inspect(folder(tmp_path / "web", {**web, "model.json": json.dumps(model).encode()}))
    layers = json.loads(LAYERS)
    layers["modelTopology"]["model_config"]["config"]["layers"][0]["config"]["units"] = size
    try:
        found = inspect(folder(tmp_path / "layers", {"model.json": json.dumps(layers).encode(), "w.bin": bytes(64)}))
    except FerryError:
        return
    assert found.outputs[0].shape[1] == 4  # as the weights say


@pytest.mark.parametrize(
    ("scale", "least"), [(float("nan"), 0), (float("inf"), 0), (1, float("nan")), ("x", 0), (None, 0), ([1], 0)]
)
def test_quantisation_that_is_no_number(tmp_path: Path, scale: object, least: object, web: dict[str, bytes]) -> None:
    model = json.loads(web["model.json"])
    entry = model["weightsManifest"][0]["weights"][0]
    entry["quantization"] = {"dtype": "uint8", "scale": scale, "min": least}
    with pytest.raises(SourceError):
        inspect(folder(tmp_path / "web", {**web, "model.json": json.dumps(model).encode()}))


# -- names that act ------------------------------------------------------------------------------------------------

ACTING = ["\x1b[31mred", "\x1b]0;title\x07", "line\nwhat to do: pay", "back\rover", "\x9b31m", "zero\0", "\x08\x08"]


@pytest.mark.parametrize("name", ACTING)
def test_names_with_control_characters_are_refused(tmp_path: Path, name: str, web: dict[str, bytes]) -> None:
    paths = [graph(tmp_path / "net.pb", [PLAIN_X, node(name, "Neg", "x", T=FLOAT)])]
    meta = meta_graph()
    meta["signature_def"]["serving_default"]["outputs"] = {name: {"name": "y:0", "dtype": 1}}
    paths.append(
        folder(
            tmp_path / "saved", {"saved_model.pb": encoded("SavedModel", {"saved_model_schema_version": 1, "meta_graphs": [meta]})}
        )
    )
    model = json.loads(web["model.json"])
    model["modelTopology"]["node"][-1]["name"] = name
    paths.append(folder(tmp_path / "web", {**web, "model.json": json.dumps(model).encode()}))
    layers = LAYERS.replace(b'"name": "dense"', json.dumps({"name": name}).encode()[1:-1])
    paths.append(folder(tmp_path / "layers", {"model.json": layers, "w.bin": bytes(64)}))
    for path in paths:
        with pytest.raises(FerryError):
            inspect(path)


@pytest.mark.parametrize("words", [("inspect",), ("inspect", "--nodes"), ("check",), ("inspect", "--json")])
def test_nothing_of_a_model_acts_on_the_terminal(tmp_path: Path, words: tuple[str, ...]) -> None:
    for name in ("\x1b]0;title\x07", "y\x1b[2J", "y\u202egnp"):
        path = graph(tmp_path / "net.pb", [PLAIN_X, node(name, "Neg", "x", T=FLOAT), node("z", f"Odd{name}", "x", T=FLOAT)])
        done = subprocess.run(
            [sys.executable, "-m", "tensorferry", words[0], str(path), *words[1:]], capture_output=True, check=False, timeout=60,
            env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color"},
        )  # fmt: skip
        said = (done.stdout + done.stderr).decode()
        assert done.returncode in (0, 2), said
        assert "internal error" not in said
        for acting in ("\x1b]", "\x1b[2J", "\x07", "\u202e"):
            assert acting not in said, (words, name, said)


def test_what_is_not_utf8(tmp_path: Path) -> None:
    data = encoded("GraphDef", {"node": [PLAIN_X, node("yyyyyyyy", "Neg", "x", T=FLOAT)]}).replace(
        b"yyyyyyyy", b"\xff\xfe\xc3(\xed\xa0\x80y"
    )
    (tmp_path / "net.pb").write_bytes(data)
    with pytest.raises(SourceError, match="UTF-8"):
        inspect(tmp_path / "net.pb")


def test_a_checkpoint_whose_graph_is_a_checkpoint(tmp_path: Path, web: dict[str, bytes]) -> None:
    """The .meta file, which a part of a checkpoint leads to, is a part of a checkpoint."""
    tensorferry.convert(folder(tmp_path / "web", web) / "model.json", tmp_path / "ckpt", to="checkpoint", verify=False)
    (tmp_path / "ckpt.meta").write_bytes((tmp_path / "ckpt.index").read_bytes())
    for name in ("ckpt", "ckpt.meta", "ckpt.index"):
        with pytest.raises(SourceError, match="under the name of its graph"):
            inspect(tmp_path / name)
