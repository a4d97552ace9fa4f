import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from tensorferry import ops
from tensorferry.errors import FerryError, OptionError
from tensorferry.ir import Graph, Port, Typed
from tensorferry.ops.spec import OpSpec, lite
from tensorferry.runtimes import litert
from tensorferry.tensor import DType
from tensorferry.writers import tflite
from tensorferry.writers.tflite import write_tflite


def placeholder(graph, name, shape, dtype=DType.FLOAT32, public=None):
    value = ops.add(graph, "Placeholder", attrs={"dtype": dtype, "shape": shape}, name=name).output
    graph.inputs.append(Port(public or name, value))
    return value


def sums():
    """zeta = x + 1, alpha = (x + 1) * y; the public names are not the nodes'."""
    graph = Graph()
    y = placeholder(graph, "y", ("batch", 3), public="second")
    x = placeholder(graph, "x", ("batch", 3), public="first")
    one = graph.constant(np.float32(1), "one")
    total = ops.add(graph, "AddV2", [x, one], name="total").output
    product = ops.add(graph, "Mul", [total, y], name="product").output
    graph.outputs = [Port("zeta", total), Port("alpha", product)]
    return graph


@pytest.fixture
def path(tmp_path):
    write_tflite(sums(), tmp_path / "model.tflite")
    return tmp_path / "model.tflite"


def feeds(batch):
    x = np.arange(3 * batch, dtype=np.float32).reshape(batch, 3)
    return {"first": x, "second": 2 * x}


def test_it_is_here():
    assert litert.available() is None


def test_its_absence_is_said(monkeypatch, path):
    monkeypatch.setattr(litert.importlib.util, "find_spec", lambda name: None)
    assert "pip install ai-edge-litert" in litert.available()
    with pytest.raises(OptionError, match="LiteRT cannot be run"):
        litert.run(path, feeds(1))


def test_names_stand_in_the_order_of_the_file(path):
    with litert.LiteRtModel(path) as model:
        assert [(slot.name, slot.tensor, slot.shape, slot.dtype.name) for slot in model.inputs] == [
            ("second", "y", (-1, 3), "float32"),
            ("first", "x", (-1, 3), "float32"),
        ]
        assert [(slot.name, slot.tensor) for slot in model.outputs] == [("zeta", "total"), ("alpha", "product")]
        assert model.signature == "serving_default"
    assert litert.read_ports(path) == (("second", "first"), ("zeta", "alpha"))


def test_a_run_takes_the_sizes_it_is_given(path):
    with litert.LiteRtModel(path) as model:
        for batch in (1, 5, 5, 2):
            given = feeds(batch)
            outputs = model.run(given)
            assert list(outputs) == ["zeta", "alpha"]
            np.testing.assert_array_equal(outputs["zeta"], given["first"] + 1)
            np.testing.assert_array_equal(outputs["alpha"], (given["first"] + 1) * given["second"])


def test_outputs_outlive_the_model_and_the_next_run(path):
    with litert.LiteRtModel(path) as model:
        first = model.run(feeds(2))
        model.run({name: array + 100 for name, array in feeds(2).items()})
    np.testing.assert_array_equal(first["zeta"], feeds(2)["first"] + 1)


def test_a_run_says_who_computed(path):
    run = litert.run(path, feeds(2))
    assert run.runtime.startswith("LiteRT 2.") and run.runtime.endswith("(XNNPACK)")
    assert run.intermediates == {}
    with litert.LiteRtModel(path, xnnpack=False) as model:
        model.run(feeds(2))
        assert model.backend == "builtin kernels"


def test_the_backend_counts_what_the_delegate_takes(tmp_path):
    graph = sums()
    cosine = ops.add(graph, "Sin", [graph.outputs[1].value], name="sine").output
    graph.outputs.append(Port("sine", ops.add(graph, "Floor", [cosine], name="floor").output))
    write_tflite(graph, tmp_path / "mixed.tflite")
    with litert.LiteRtModel(tmp_path / "mixed.tflite") as model:
        model.run(feeds(1))
        own = model._interpreter._get_ops_details()
        assert [each["op_name"] for each in own if each["op_name"] != "DELEGATE"] == ["ADD", "MUL", "SIN", "FLOOR"]
        taken = {"XNNPACK": 4, "XNNPACK 3 of 4 operators, builtin kernels the others": 3}
        assert model.backend in taken


def test_intermediate_values_can_be_kept(path):
    run = litert.run(path, feeds(2), keep_intermediates=True)
    assert run.runtime.endswith("(builtin kernels)")
    np.testing.assert_array_equal(run.intermediates["total"], feeds(2)["first"] + 1)
    np.testing.assert_array_equal(run.intermediates["product"], run.outputs["alpha"])
    assert run.intermediates["one"] == 1
    with litert.LiteRtModel(path) as model, pytest.raises(OptionError, match="not kept"):
        model.intermediates()


def test_strings_go_through(tmp_path):
    graph = Graph()
    placeholder(graph, "words", ("n",), DType.STRING)
    graph.outputs = [Port("same", graph.inputs[0].value)]
    write_tflite(graph, tmp_path / "strings.tflite")
    words = np.array([b"one", b"", b"\xc3\xa9\0!"], object)
    assert litert.run(tmp_path / "strings.tflite", {"words": words}).outputs["same"].tolist() == words.tolist()


def test_a_single_string_goes_through_unless_it_is_empty(tmp_path):
    graph = Graph()
    placeholder(graph, "word", (), DType.STRING)
    graph.outputs = [Port("same", graph.inputs[0].value)]
    write_tflite(graph, tmp_path / "string.tflite")
    for word in (b"one", b"\0", b"\xc3\xa9\0!\0"):
        assert litert.run(tmp_path / "string.tflite", {"word": np.array(word, object)}).outputs["same"].item() == word
    with pytest.raises(FerryError, match="single empty string"):
        litert.run(tmp_path / "string.tflite", {"word": np.array(b"", object)})


def test_a_file_without_signature_uses_the_tensors_names(tmp_path, monkeypatch):
    tables = tflite._model
    monkeypatch.setattr(tflite, "_model", lambda *arguments: {**tables(*arguments), "signature_defs": None})
    write_tflite(sums(), tmp_path / "bare.tflite")
    x = feeds(1)
    outputs = litert.run(tmp_path / "bare.tflite", {"x": x["first"], "y": x["second"]}).outputs
    assert list(outputs) == ["total", "product"]


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"first": np.ones((1, 3), np.float32)}, "its inputs are second, first; given are first"),
        ({**feeds(1), "third": np.ones(1)}, "given are first, second, third"),
        ({**feeds(1), "first": np.ones((1, 3), np.int32)}, "'first' is float32; given is int32"),
        ({**feeds(1), "first": np.ones((1, 4), np.float32)}, r"'first' has the shape \[-1, 3\]; given is \[1, 4\]"),
        ({**feeds(1), "first": np.ones(3, np.float32)}, r"given is \[3\]"),
    ],
)
def test_wrong_inputs_are_named(path, inputs, words):
    with pytest.raises(OptionError, match=words):
        litert.run(path, inputs)


def test_floats_of_another_precision_are_those_of_a_source_that_was_narrowed(path):
    wide = {name: array.astype(np.float64) for name, array in feeds(1).items()}
    narrow, outputs = litert.run(path, feeds(1)).outputs, litert.run(path, wide).outputs
    assert {name: array.tolist() for name, array in outputs.items()} == {name: array.tolist() for name, array in narrow.items()}


# -- trouble in LiteRT ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 4, 100, 700])
def test_a_file_cut_short_is_an_error(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FerryError, match="LiteRT cannot load") as caught:
        litert.run(path, feeds(1))
    assert caught.value.why


@pytest.mark.parametrize("name", [b"total", b"first"])
def test_a_name_in_the_file_that_is_no_text_is_an_error(path, name):
    content = path.read_bytes()
    assert name in content
    path.write_bytes(content.replace(name, b"\xff" + name[1:]))
    with pytest.raises(FerryError, match="LiteRT cannot"), litert.LiteRtModel(path, keep_intermediates=True) as model:
        model.run(feeds(1))
        model.intermediates()
    with pytest.raises(FerryError, match="LiteRT cannot"):
        litert.run(path, feeds(1))


def test_a_path_that_is_no_text_is_an_error(tmp_path):
    with pytest.raises(FerryError, match="its name is no text"):
        litert.run(os.fsdecode(os.fsencode(tmp_path) + b"/m\xff.tflite"), {})


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(FerryError, match=r"LiteRT cannot load(?s:.)*nothing\.tflite"):
        litert.run(tmp_path / "nothing.tflite", {})


def test_what_an_operator_refuses_is_told_in_litert_s_words(tmp_path, monkeypatch, capfd):
    registry = {
        **ops.registry(),
        "Bad": OpSpec(name="Bad", infer=lambda _: [Typed(DType.STRING, (3,))], to_tflite=lambda node: lite("CAST", node)),
    }
    monkeypatch.setattr(ops, "registry", lambda: registry)
    graph = Graph()
    graph.outputs = [Port("y", ops.add(graph, "Bad", [placeholder(graph, "x", (3,))], name="bad").output)]
    write_tflite(graph, tmp_path / "bad.tflite")
    with pytest.raises(FerryError, match="LiteRT cannot run") as caught:
        litert.run(tmp_path / "bad.tflite", {"x": np.ones(3, np.float32)})
    assert "CAST" in caught.value.why
    assert capfd.readouterr() == ("", "")


# -- stderr --------------------------------------------------------------------------------------------------------


def test_litert_is_silent(path):
    """In a process of its own, as LiteRT says some things only once."""
    program = f"""if True:
        import numpy as np
        from tensorferry.runtimes import litert
        x = np.ones((1, 3), np.float32)
        for keep in (False, True):
            litert.run({str(path)!r}, dict(first=x, second=x), keep_intermediates=keep)
    """
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_what_others_write_meanwhile_is_not_lost(capfd):
    with litert._captured_stderr() as lines:
        os.write(2, b"INFO: of no interest\n")
        thread = threading.Thread(target=os.write, args=(2, b"a word from another thread\n"))
        thread.start()
        thread.join()
        assert lines() == ["INFO: of no interest", "a word from another thread"]
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "a word from another thread\nlater\n"


def test_without_any_stderr_it_still_works(path, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    np.testing.assert_array_equal(litert.run(path, feeds(1)).outputs["zeta"], feeds(1)["first"] + 1)
