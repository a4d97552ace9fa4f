"""What is written for the browser, loaded in one: Chromium fetches it from a local server and computes the source's numbers."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tensorferry
from tensorferry.readers import read
from tensorferry.readers.selection import select
from tensorferry.runtimes import tfjs
from tensorferry.runtimes.reference import evaluate_graph
from tensorferry.sampling import sample_inputs
from tensorferry.writers.graphdef import write_graphdef
from tensorferry.zoo import FolderWeights, build_posenet
from tensorferry.zoo.posenet import DEFAULT

SCRIPT = Path(__file__).parents[1] / "js" / "dist" / "page.js"
MODELS = Path(__file__).parents[2] / "shared" / "models"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (apt-get install chromium)"),
    pytest.mark.skipif(not SCRIPT.is_file(), reason="the page's script is not built (python scripts/build_js.py --force)"),
]


class Server(ThreadingHTTPServer):
    """Serves a folder, and takes what its page sends back."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.answer: dict[str, Any] = {}
        self.came = threading.Event()


class Handler(SimpleHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Server)
        self.server.answer = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()
        self.server.came.set()

    def log_message(self, *_words: Any) -> None:
        pass


def in_chromium(folder: Path, tasks: list[tuple[str, str, Mapping[str, np.ndarray]]]) -> dict[str, Any]:
    """The page's answer for (address, kind, inputs) of models in the folder."""
    (folder / "page.js").write_bytes(SCRIPT.read_bytes())
    (folder / "index.html").write_text('<!doctype html><meta charset="utf-8"><script src="page.js"></script>')
    described = [
        {
            "url": url,
            "kind": kind,
            "inputs": {
                name: {"shape": array.shape, "dtype": str(array.dtype), "values": array.reshape(-1).tolist()}
                for name, array in inputs.items()
            },
        }
        for url, kind, inputs in tasks
    ]
    (folder / "tasks.json").write_text(json.dumps(described))
    with Server(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder / 'profile'}"]
        page = f"http://127.0.0.1:{server.server_port}/index.html"
        browser = subprocess.Popen([str(CHROMIUM), *flags, page], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            came = server.came.wait(120)
        finally:
            browser.kill()
            browser.wait()
            server.shutdown()
    assert came, "the page did not answer"
    return server.answer


def compare(answer: Any, expected: list[np.ndarray]) -> None:
    assert "error" not in answer, answer
    for found, wanted in zip(answer, expected, strict=True):
        assert found["shape"] == list(wanted.shape)
        array = np.reshape(found["values"], wanted.shape)
        np.testing.assert_allclose(array, wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())


def test_a_graph_model_of_ours_loads_in_a_page(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow", reason="TensorFlow, which makes the graph, is not installed")
    from small_graphs import freeze, small_net  # noqa: PLC0415

    source = freeze(tmp_path / "net.pb", small_net)
    (tmp_path / "site").mkdir()
    tensorferry.convert(source, tmp_path / "site" / "our net", shard_size=1000, verify=False)
    assert len(list((tmp_path / "site" / "our net").glob("*.bin"))) > 1
    graph = select(read(source))
    inputs = sample_inputs(graph)
    expected = evaluate_graph(graph, inputs)
    answer = in_chromium(tmp_path / "site", [("our net/model.json", "tfjs", inputs)])
    assert "Chrom" in answer["browser"]
    compare(answer["results"][0], [expected[port.name] for port in graph.outputs])
    wrong = [1.01 * array for array in expected.values()]
    with pytest.raises(AssertionError):
        compare(answer["results"][0], wrong)


def test_a_layers_model_of_ours_loads_in_a_page(tmp_path: Path) -> None:
    keras = pytest.importorskip("keras", reason="Keras, which makes the model, is not installed")
    layers = keras.layers
    image = keras.Input((8, 8, 3), name="image")
    branch = layers.SpatialDropout2D(0.5)(layers.Conv2D(4, 3, activation="leaky_relu")(image))
    turned = layers.Bidirectional(layers.LSTM(3))(layers.Conv1D(5, 2, padding="causal")(layers.Reshape((36, 4))(branch)))
    pooled = layers.GlobalAveragePooling2D()(branch)
    model = keras.Model(image, layers.Subtract(name="less")([layers.Dense(6)(pooled), turned]))
    model.save(tmp_path / "net.keras")
    (tmp_path / "site").mkdir()
    tensorferry.convert(tmp_path / "net.keras", tmp_path / "site" / "our layers", to="tfjs-layers", shard_size=500, verify=False)
    array = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    answer = in_chromium(tmp_path / "site", [("our layers/model.json", "tfjs-layers", {"image": array})])
    assert "Chrom" in answer["browser"]
    compare(answer["results"][0], [np.asarray(model(array))])


@pytest.mark.skipif(not MODELS.is_dir() or tfjs.available() is not None, reason="the shared models or Node are not there")
def test_the_page_reads_layers_models_as_node_does(tmp_path: Path) -> None:
    shutil.copytree(MODELS / "kp_front_or_side", tmp_path / "site" / "pose")
    image = np.random.default_rng(0).uniform(0, 1, (2, 34)).astype(np.float32)
    expected = tfjs.run(MODELS / "kp_front_or_side", {"dense_1_input": image}).outputs
    answer = in_chromium(tmp_path / "site", [("pose/model.json", "tfjs-layers", {"dense_1_input": image})])
    compare(answer["results"][0], list(expected.values()))


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
def test_quantised_posenet_computes_in_a_page_what_it_does_in_numpy(tmp_path: Path) -> None:
    source = tmp_path / "posenet.pb"
    weights = FolderWeights(MODELS / "posenet075_tfjs_manifest")
    write_graphdef(build_posenet(replace(DEFAULT, resolution=(65, 65)), weights), source)
    site = tmp_path / "site"
    site.mkdir()
    modes = ("uint8", "float16", "uint8-channels")
    for mode in modes:
        tensorferry.convert(source, site / mode, quantize=mode, verify=False)
    graph = select(read(source))
    inputs = sample_inputs(graph)
    answer = in_chromium(site, [(f"{mode}/model.json", "tfjs", inputs) for mode in modes])
    exact = evaluate_graph(graph, inputs)
    for found, mode in zip(answer["results"], modes, strict=True):
        stored = select(read(site / mode))
        expected = evaluate_graph(stored, inputs)
        order = tfjs.read_ports(site / mode)[1]
        compare(found, [expected[name] for name in order])
        with pytest.raises(AssertionError):
            compare(found, [exact[name] for name in order])
