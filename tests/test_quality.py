"""The report on a quantised file: its numbers against plain numpy over LiteRT's own outputs, its page, its code."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import tensorferry
from tensorferry.errors import OptionError, SourceError, TargetError
from tensorferry.quality import Quality, examine, measure_quality, write_report
from tensorferry.quality.page import make_page
from tensorferry.quality.records import Feed
from tensorferry.quality.snippets import snippets
from tensorferry.tensor import Array
from tensorferry.writers.graphdef import write_graphdef
from tensorferry.zoo import Architecture, build_mobilenet_v1

SIZE = 32


@pytest.fixture(scope="module")
def samples() -> list[dict[str, Array]]:
    generator = np.random.default_rng(3)
    return [{"image": generator.uniform(-1, 1, (1, SIZE, SIZE, 3)).astype(np.float32)} for _ in range(4)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, samples: list[dict[str, Array]]) -> dict[str, Path]:
    """A small net as float file and with int8 inside and outside, both by TensorFlow's converter; and dynamic by ours."""
    folder = tmp_path_factory.mktemp("quality")
    graph = build_mobilenet_v1(Architecture(multiplier=0.25, resolution=(SIZE, SIZE), output_stride=16), classes=10)
    write_graphdef(graph, folder / "net.pb")
    (output,) = (port.name for port in graph.outputs)
    definition = tf.compat.v1.GraphDef.FromString((folder / "net.pb").read_bytes())
    wrapped = tf.compat.v1.wrap_function(lambda: tf.compat.v1.import_graph_def(definition, name=""), [])
    function = wrapped.prune("image:0", f"{output}:0")
    made = {}
    for kind in ("float", "int8"):
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
        if kind == "int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([sample["image"]] for sample in samples)
            converter.inference_input_type = converter.inference_output_type = tf.int8
        made[kind] = folder / f"{kind}.tflite"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorFlow's own, of statistics that it does not need
            made[kind].write_bytes(converter.convert())
    for kind, options in (("ours", {}), ("dynamic", {"quantize": "dynamic"})):
        made[kind] = folder / f"{kind}.tflite"
        tensorferry.convert(folder / "net.pb", made[kind], verify=False, **options)
    return made


def run(path: Path, sample: dict[str, Array]) -> Array:
    """The only output, as real numbers."""
    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    (given,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    (array,) = sample.values()
    if given["dtype"] == np.int8:
        scale, zero = given["quantization"]
        array = np.clip(np.rint(array / scale) + zero, -128, 127).astype(np.int8)
    interpreter.set_tensor(given["index"], array)
    interpreter.invoke()
    stored = interpreter.get_tensor(result["index"])
    if result["dtype"] == np.int8:
        scale, zero = result["quantization"]
        return (stored.astype(np.float64) - zero) * scale
    return stored.astype(np.float64)


@pytest.fixture(scope="module")
def quality(files: dict[str, Path], samples: list[dict[str, Array]]) -> Quality:
    return measure_quality(files["float"], files["int8"], samples)


def test_output_errors_are_those_of_the_outputs(files: dict[str, Path], samples: list[dict[str, Array]], quality: Quality) -> None:
    one, other = (np.stack([run(files[kind], sample) for sample in samples]) for kind in ("float", "int8"))
    (output,) = quality.outputs
    away = np.abs(one - other)
    told = output.difference
    assert told.max_absolute == pytest.approx(away.max(), rel=1e-5)
    assert told.mean_absolute == pytest.approx(away.mean(), rel=1e-5)
    assert told.relative == pytest.approx(away.max() / np.abs(one).max(), rel=1e-5)
    assert told.snr == pytest.approx(10 * np.log10(np.square(one).sum() / np.square(away).sum()), abs=1e-3)
    assert told.cosine == pytest.approx((one * other).sum() / np.sqrt(np.square(one).sum() * np.square(other).sum()), abs=1e-6)


def test_layers_are_those_that_compute_and_the_worst_come_first(files: dict[str, Path], quality: Quality) -> None:
    operators = {name for name in quality.operators_after if name not in ("QUANTIZE", "DEQUANTIZE")}
    assert {layer.operator for layer in quality.layers} == operators
    ratios = [layer.difference.snr for layer in quality.layers]
    assert ratios == sorted(ratios)
    assert all(layer.stored == "int8" for layer in quality.layers)
    assert not quality.float_layers
    convolutions = [layer for layer in quality.layers if layer.operator == "CONV_2D" and layer.bytes_before > 4000]
    assert convolutions
    assert all(0.2 < layer.bytes_after / layer.bytes_before < 0.35 for layer in convolutions)
    assert quality.bytes_after == files["int8"].stat().st_size
    assert 0 <= min(layer.clipped for layer in quality.layers) <= max(layer.clipped for layer in quality.layers) < 0.2


def test_histograms_count_the_same_elements_before_and_after(quality: Quality) -> None:
    drawn = [spread for layer in quality.layers for spread in (layer.values, layer.weights) if spread is not None]
    assert len(drawn) > 12
    for spread in drawn:
        assert sum(spread.before) == sum(spread.after) > 0
        assert len(spread.edges) == len(spread.before) + 1


def test_a_file_compared_with_itself_is_the_same(files: dict[str, Path], samples: list[dict[str, Array]]) -> None:
    same = measure_quality(files["float"], files["float"], samples[:1])
    assert all(layer.difference.snr == math.inf and layer.difference.max_absolute == 0 for layer in same.layers)
    assert "the same" in make_page(same)


def test_a_scaled_weight_shows(files: dict[str, Path], samples: list[dict[str, Array]], tmp_path: Path) -> None:
    """The measure is not blind: a file with one changed byte in its weights differs."""
    content = bytearray(files["dynamic"].read_bytes())
    place = len(content) - 5000  # among the weights of the last layers, which lie behind the tables
    content[place : place + 2000] = bytes(2000)
    (tmp_path / "spoilt.tflite").write_bytes(content)
    fine = measure_quality(files["ours"], files["dynamic"], samples[:1])
    spoilt = measure_quality(files["ours"], tmp_path / "spoilt.tflite", samples[:1])
    assert spoilt.outputs[0].difference.snr < fine.outputs[0].difference.snr - 3


def test_weights_alone_quantised(files: dict[str, Path], samples: list[dict[str, Array]]) -> None:
    quality = measure_quality(files["ours"], files["dynamic"], samples[:2])
    assert len(quality.float_layers) == len(quality.layers)
    assert quality.outputs[0].difference.snr > 10


def test_as_json_and_as_a_page(quality: Quality, tmp_path: Path) -> None:
    told = json.loads(json.dumps(quality.as_dict()))
    assert told["layers"][0]["tensor"] == quality.layers[0].tensor
    write_report(quality, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert text.count("<svg") > 12
    assert "http" not in text.replace("http-equiv", "")
    assert text.count('class="name"') == len(quality.layers) + len(quality.outputs) + len(quality.feeds)


def test_names_cannot_break_out_of_the_page() -> None:
    feed = Feed('<img src=x onerror="alert(1)">', "input", "float32", (1,))
    result = Feed("</pre><script>", "output", "float32", (1,))
    page = make_page(Quality("a<b", "c&d", 1, "drawn", 10, 5, "LiteRT", {}, {"<ADD>": 1}, (), (), (feed, result)))
    assert "<img" not in page
    assert "<script" not in page
    assert "a&lt;b" in page


def test_the_python_code_runs_and_gives_the_file_s_own_results(
    files: dict[str, Path], samples: list[dict[str, Array]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(files["dynamic"].parent)
    quality = measure_quality(files["ours"], files["dynamic"], samples[:1])
    code = snippets(files["dynamic"].name, quality.feeds)["Python"]
    zeros = "np.zeros((1, 32, 32, 3), np.float32)"
    assert zeros in code
    scope: dict[str, Any] = {"given": samples[0]["image"]}
    exec(code.replace(zeros, "given"), scope)
    np.testing.assert_allclose(scope["result"], run(files["dynamic"], samples[0]), atol=0.02)


def test_no_samples_are_refused(files: dict[str, Path]) -> None:
    with pytest.raises(OptionError, match="without samples"):
        measure_quality(files["float"], files["int8"], [])


@pytest.mark.parametrize("language", ["Python", "Kotlin (Android)", "Swift (iOS)", "JavaScript (LiteRT.js)"])
def test_code_in_every_language_names_scale_and_zero_point(language: str) -> None:
    feeds = (Feed("in", "input", "int8", (1, 2), 0.0078125, -3), Feed("out", "output", "uint8", (1, 5), 0.00390625, 7))
    code = snippets("net.tflite", feeds)[language]
    for part in ("0.0078125", "(-3)", "0.00390625", "7", "-128", "127"):
        assert part in code


def test_from_the_command_line(files: dict[str, Path], samples: list[dict[str, Array]], tmp_path: Path) -> None:
    np.save(tmp_path / "samples.npy", np.concatenate([sample["image"] for sample in samples]))
    words = ["quality", files["ours"], files["dynamic"], "--samples", tmp_path / "samples.npy", "-o", tmp_path / "report.html"]
    done = subprocess.run([sys.executable, "-m", "tensorferry", *map(str, words)], capture_output=True, text=True, check=True)
    assert "probabilities" in done.stdout
    assert "DEPTHWISE_CONV_2D" in done.stdout
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    told = examine(files["ours"], files["dynamic"], tmp_path / "samples.npy")
    assert told.samples == len(samples)
    assert told.outputs[0].difference.snr == measure_quality(files["ours"], files["dynamic"], samples).outputs[0].difference.snr


def test_without_samples_inputs_are_drawn_and_it_is_said(files: dict[str, Path]) -> None:
    assert "drawn" in examine(files["ours"], files["dynamic"]).drawn_from


def test_what_is_no_lite_file_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no TensorFlow Lite file"):
        examine(files["ours"].parent / "net.pb", files["dynamic"])
    quality = measure_quality(files["ours"], files["dynamic"], [{"image": np.zeros((1, SIZE, SIZE, 3), np.float32)}])
    with pytest.raises(TargetError, match="is a page"):
        write_report(quality, tmp_path / "report.pdf")
    assert not list(tmp_path.iterdir())
