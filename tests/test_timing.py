"""Models timed side by side: what is counted, in which order, in which process, and what is told when one cannot run."""

from __future__ import annotations

import http.client
import json
import math
import threading
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import tensorferry
from tensorferry import ops
from tensorferry.cli import app
from tensorferry.errors import FerryError, OptionError
from tensorferry.ir import Graph, Port, Typed
from tensorferry.runtimes import chromium, litert, tfjs
from tensorferry.tensor import DType
from tensorferry.timing import benching
from tensorferry.timing.lanes import LiteLane, Outcome, Warmup
from tensorferry.timing.records import Bench, Timing, quantile
from tensorferry.writers.foreign import lite_fallback
from tensorferry.writers.graphdef import write_graphdef
from tensorferry.writers.tflite import write_tflite

needs_litert = pytest.mark.skipif(litert.available() is not None, reason=f"LiteRT cannot be run: {litert.available()}")
needs_chromium = pytest.mark.skipif(chromium.available() is not None, reason=f"no page can be run: {chromium.available()}")
needs_node = pytest.mark.skipif(tfjs.available() is not None, reason=f"TensorFlow.js cannot be run: {tfjs.available()}")


def net(path: Path, width: int = 8, batch: int | str = 1, layers: int = 2) -> Path:
    """Products with matrices, and nothing else."""
    graph = Graph("net")
    generator = np.random.default_rng(0)
    value = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (batch, width)}, name="features").output
    graph.inputs.append(Port("features", value))
    for layer in range(layers):
        matrix = graph.constant(generator.normal(size=(width, width)).astype(np.float32) / width, f"matrix{layer}")
        value = ops.add(graph, "MatMul", [value, matrix], name=f"product{layer}").output
    graph.outputs.append(Port("scores", value))
    write_graphdef(graph, path)
    return path


def lite(folder: Path, name: str = "net", **how) -> Path:
    tensorferry.convert(net(folder / f"{name}.pb", **how), folder / f"{name}.tflite", verify=False)
    return folder / f"{name}.tflite"


def timing(model: str, *times: float, setting: str = "here") -> Timing:
    return Timing(model, 0, setting, times=times)


# -- figures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 10, 51])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_quantiles_are_numpys(count, part):
    numbers = np.random.default_rng(count).exponential(size=count).tolist()
    assert quantile(numbers, part) == pytest.approx(np.quantile(numbers, part), rel=1e-12)
    assert timing("a", *numbers).median == pytest.approx(np.median(numbers))


def test_models_are_compared_with_the_first_of_their_setting():
    lines = [timing("a", 2, 4), timing("b", 6, 6), timing("a", 10, setting="there"), timing("b", 5, setting="there")]
    assert [each.ratio for each in benching._compare(lines)] == [1, 2, 1, 0.5]


def test_one_model_is_compared_with_itself_in_the_first_setting():
    assert [each.ratio for each in benching._compare([timing("a", 2), timing("a", 3, setting="there")])] == [1, 1.5]


def test_what_was_not_measured_is_null_in_json():
    told = json.loads(Bench((timing("a"),)).to_json())["timings"][0]
    assert (told["median_ms"], told["ratio"], told["memory_bytes"], told["runs"]) == (None, None, None, 0)


class FakeLane:
    """Notes its turns; fails in the round that it is told to."""

    def __init__(self, name: str, turns: list[str], fails: int = -1) -> None:
        self.outcome = Outcome()
        self._name, self._turns, self._fails = name, turns, fails

    def open(self, warmup: Warmup) -> None:
        self._turns.append(f"open {self._name}")

    def run(self, runs: int, seconds: float) -> None:
        if len(self.outcome.times) == self._fails:
            raise FerryError("it stopped", why="of old age")
        self._turns.append(f"{self._name}{runs}")
        self.outcome.times += (1.0,)

    def profile(self) -> None:
        self._turns.append(f"profile {self._name}")

    def close(self) -> None: ...


def test_models_take_turns_in_an_order_that_turns_around():
    turns: list[str] = []
    candidate = benching._Candidate("model", Path("model.tflite"), "tflite", {})
    lanes = [FakeLane("a", turns), FakeLane("b", turns, fails=3)]
    lines = [benching._Line(candidate, "here", lambda lane=lane: lane) for lane in lanes]
    benching._measure(lines, benching.Plan(runs=7, profile=True), lambda _step: None)
    assert turns == ["open a", "open b", "b2", "a2", "a2", "b2", "b1", "a1", "a1", "a1", "profile a"]
    assert [line.problem for line in lines] == ["", "it stopped: of old age"]


# -- LiteRT --------------------------------------------------------------------------------------------------------


@needs_litert
def test_a_larger_model_takes_longer_in_each_setting(tmp_path):
    small, large = lite(tmp_path, "small"), lite(tmp_path, "large", width=1000)
    result = tensorferry.bench([small, large], runs=12, xnnpack=(True, False), threads=[1])
    assert result.complete
    assert [each.model for each in result.timings] == [str(small), str(large)] * 2
    assert [each.setting for each in result.timings[::2]] == ["LiteRT, 1 thread, XNNPACK", "LiteRT, 1 thread, builtin kernels"]
    for first, second in (result.timings[:2], result.timings[2:]):
        assert first.ratio == 1
        assert second.ratio == second.median / first.median > 5
        assert len(first.times) == len(second.times) == 12
        assert 0 < first.low <= first.median <= first.high
        assert first.backend in first.setting
        assert second.load > 0 < second.first
    assert result.timings[0].bytes == small.stat().st_size


@needs_litert
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell what a process holds")
def test_memory_is_that_of_the_model(tmp_path):
    small, large = tensorferry.bench([lite(tmp_path, "small"), lite(tmp_path, "large", width=1500, layers=3)], runs=2).timings
    weights = 3 * 4 * 1500**2
    assert large.memory > 0.9 * weights
    assert large.memory - small.memory < 3 * weights


@needs_litert
def test_other_sources_are_converted_first_and_said_to_be(tmp_path):
    (line,) = tensorferry.bench(net(tmp_path / "net.pb", batch="n"), runs=2).timings
    assert line.model == f"{tmp_path / 'net.pb'} (converted to tflite)"
    assert len(line.times) == 2
    assert not list(tmp_path.glob("*.tflite"))


@needs_litert
def test_an_open_batch_is_one(tmp_path):
    arrays = benching._inputs(lite(tmp_path, batch="n"), "tflite", tensorferry.Options.of())
    assert arrays["features"].shape == (1, 8)
    given = tensorferry.Options.of(input_shapes={"features": (5, 8)})
    assert benching._inputs(tmp_path / "net.tflite", "tflite", given)["features"].shape == (5, 8)


@needs_litert
def test_a_model_that_does_not_run_has_a_line_with_the_problem(tmp_path):
    graph = Graph("net")
    value = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (1, 8)}, name="features").output
    graph.inputs.append(Port("features", value))
    strange = graph.add("OwnOp", [value], {}, typed=[Typed(DType.FLOAT32, (1, 8))], name="out")
    graph.outputs.append(Port("out", strange.output))
    write_tflite(graph, tmp_path / "own.tflite", fallback=lite_fallback(custom=True, select=False))
    result = tensorferry.bench([tmp_path / "own.tflite", lite(tmp_path)], runs=2)
    assert not result.complete
    assert "OwnOp" in result.timings[0].problem
    assert math.isnan(result.timings[0].median)
    assert len(result.timings[1].times) == 2
    run = CliRunner().invoke(app, ["bench", str(tmp_path / "own.tflite"), "--runs", "1"])
    assert run.exit_code == 2
    assert "OwnOp" in run.output


@needs_litert
def test_a_process_that_dies_is_told(tmp_path):
    lane = LiteLane(lite(tmp_path), {"features": np.zeros((1, 8), np.float32)}, 1, xnnpack=True)
    try:
        lane.open(Warmup(1, 1.0))
        lane._process.kill()
        with pytest.raises(FerryError, match="did not finish running") as caught:
            lane.run(1, 1.0)
        assert "ended with -9" in caught.value.why
    finally:
        lane.close()


@needs_litert
def test_time_runs_out_before_the_runs_do(tmp_path):
    (line,) = tensorferry.bench(lite(tmp_path, width=1000), runs=1_000_000, warmup=0, seconds=0.3).timings
    assert 5 <= len(line.times) < 100_000
    assert sum(line.times) < 3000


# -- TensorFlow.js -------------------------------------------------------------------------------------------------


@needs_node
def test_web_models_are_timed_and_their_kernels_watched(tmp_path):
    tensorferry.convert(net(tmp_path / "net.pb", width=300, layers=3), tmp_path / "web", verify=False)
    result = tensorferry.bench(tmp_path / "web", runs=4, backends="wasm,cpu", profile=True)
    assert result.complete
    wasm, cpu = result.timings
    assert (wasm.setting, cpu.setting) == ("TensorFlow.js in Node, wasm", "TensorFlow.js in Node, cpu")
    assert len(wasm.times) == len(cpu.times) == 4
    assert cpu.ratio == cpu.median / wasm.median
    kernels = {each.name: each for each in wasm.kernels}
    products = [each for name, each in kernels.items() if "MatMul" in name]
    assert sum(each.count for each in products) == 3
    assert all(each.milliseconds >= 0 for each in wasm.kernels)
    assert wasm.memory > 0
    assert wasm.bytes == sum(each.stat().st_size for each in (tmp_path / "web").iterdir())


@needs_node
def test_an_old_javascript_part_is_told(tmp_path, monkeypatch):
    tensorferry.convert(net(tmp_path / "net.pb"), tmp_path / "web", verify=False)
    monkeypatch.setattr(tfjs.Session, "_exchange", lambda *_rest: ({"outputs": []}, []))
    (line,) = tensorferry.bench(tmp_path / "web", runs=1).timings
    assert "older than this program" in line.problem


@needs_chromium
def test_a_page_in_chromium_is_timed_too(tmp_path):
    tensorferry.convert(net(tmp_path / "net.pb", width=300, layers=3), tmp_path / "web", verify=False)
    (line,) = tensorferry.bench(tmp_path / "web", runs=4, places="chromium", profile=True).timings
    assert line.problem == ""
    assert line.setting == "TensorFlow.js in Chromium, wasm"
    assert "(Chromium" in line.runtime
    assert len(line.times) == 4 and all(time > 0 for time in line.times)
    assert sum(each.count for each in line.kernels if "MatMul" in each.name) == 3
    assert line.memory is None


@needs_chromium
def test_what_a_page_cannot_run_is_told(tmp_path):
    tensorferry.convert(net(tmp_path / "net.pb"), tmp_path / "web", verify=False)
    (tmp_path / "web" / "group1-shard1of1.bin").unlink()
    with chromium.Page(tmp_path / "web", {"features": np.zeros((1, 8), np.float32)}, "cpu") as page:
        with pytest.raises(FerryError, match="Chromium cannot run"):
            page.time(tfjs.TimingPlan(1, 1.0))
        page._browser.kill()
        with pytest.raises(FerryError, match="did not finish running"):
            page.time(tfjs.TimingPlan(1, 1.0))


def test_the_server_gives_the_models_files_to_its_page_alone(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "model.json").write_text("{}")
    (tmp_path / "secret.txt").write_text("secret")
    server = chromium._Server(tmp_path / "web", b"numbers")
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def ask(path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()

    try:
        assert ask(f"/{server.secret}/model/model.json") == (200, b"{}")
        assert ask(f"/{server.secret}/inputs") == (200, b"numbers")
        for path in (
            "/",
            "/x/model/model.json",
            f"/{server.secret}/model/../secret.txt",
            f"/{server.secret}/model/%2e%2e/secret.txt",
        ):
            assert ask(path)[0] == 404
    finally:
        server.shutdown()
        server.server_close()


# -- what is asked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ({"runs": 0}, "at least one run"),
        ({"seconds": math.inf}, "at least one run"),
        ({"threads": [0]}, "threads are whole numbers"),
        ({"backends": "webgl"}, "unknown backend 'webgl'"),
        ({"places": "safari"}, "TensorFlow.js is not timed in 'safari'"),
        ({"to": "savedmodel"}, "'savedmodel' is nothing that can be timed"),
        ({"rounds": 3}, "unknown option rounds"),
        ({"threads": list(range(1, 40))}, "39 models and settings are too many"),
    ],
)
def test_plans_that_make_no_sense(tmp_path, how, what):
    with pytest.raises(OptionError, match=what):
        tensorferry.bench(lite(tmp_path), **how)


def test_the_command_line_prints_a_table_or_json(tmp_path):
    if litert.available() is not None:
        pytest.skip("LiteRT cannot be run")
    model = str(lite(tmp_path))
    told = json.loads(CliRunner().invoke(app, ["bench", model, "--runs", "3", "--threads", "1,2", "--json"]).output)
    assert [each["runs"] for each in told["timings"]] == [3, 3]
    assert told["timings"][1]["setting"] == "LiteRT, 2 threads, XNNPACK"
    text = CliRunner().invoke(app, ["bench", model, "--runs", "3"]).output
    assert "median ms" in text
    assert CliRunner().invoke(app, ["bench", model, "--threads", "x"]).exit_code == 2
    assert CliRunner().invoke(app, ["bench", str(tmp_path / "none.tflite")]).exit_code == 2
