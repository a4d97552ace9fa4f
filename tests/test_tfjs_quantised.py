"""Weights of TensorFlow.js models in fewer bits: their codes, what is left alone, how they load, and how the result is proved."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import tensorferry
from tensorferry import ops, proof
from tensorferry.comparison import compare_arrays, compare_rounded
from tensorferry.errors import OptionError, VerificationError
from tensorferry.ir import Graph, Port
from tensorferry.quantising import web_allowance
from tensorferry.runtimes import tfjs
from tensorferry.storage import SourceFile
from tensorferry.tensor import DType, FileTensor, TransposedTensor
from tensorferry.wire.tfjs_releases import oldest_release
from tensorferry.wire.webweights import read_manifest
from tensorferry.writers.graphdef import write_graphdef
from tensorferry.writers.tfjs import write_tfjs
from tensorferry.writers.tfjs_quantised import AffineCodes, Reduction, Surroundings, WeightRule, affine_parameters, quantise_weights
from tensorferry.writers.tfjs_weights import plan_weight

_MISSING = tfjs.available()
needs_runtime = pytest.mark.skipif(_MISSING is not None, reason=f"TensorFlow.js cannot be run: {_MISSING}")

VALUES = np.array([-1.03, -0.7, -0.001, 0, 0.002, 0.33, 0.9, 1.77], np.float32)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def constants(**arrays: np.ndarray) -> Graph:
    """Each constant is an output."""
    graph = Graph("constants")
    for name, array in arrays.items():
        graph.outputs.append(Port(f"{name}_out", graph.constant(array, name)))
    return graph


def net() -> Graph:
    """A convolution, a depthwise one whose channels differ a hundredfold, both with biases, and a product with a matrix."""
    graph = Graph("net")
    value = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (1, 8, 8, 4)}, name="image").output
    graph.inputs.append(Port("image", value))
    strides = {"strides": [1, 1, 1, 1], "padding": "SAME"}
    value = ops.add(graph, "Conv2D", [value, graph.constant(noise(3, 3, 4, 32), "first")], strides).output
    value = ops.add(graph, "BiasAdd", [value, graph.constant(noise(32, seed=1), "first_bias")]).output
    value = ops.add(graph, "Relu", [value]).output
    uneven = noise(3, 3, 32, 1, seed=2) * np.logspace(0, -2, 32, dtype=np.float32)[:, None]
    value = ops.add(graph, "DepthwiseConv2dNative", [value, graph.constant(uneven, "uneven")], strides).output
    value = ops.add(graph, "BiasAdd", [value, graph.constant(noise(32, seed=4) / 100, "second_bias")]).output
    value = ops.add(graph, "Reshape", [value, graph.constant(np.array([64, 32], np.int32), "shape")]).output
    value = ops.add(graph, "MatMul", [value, graph.constant(noise(32, 64, seed=3), "matrix")]).output
    graph.outputs.append(Port("scores", value))
    return graph


def write(graph: Graph, folder: Path, *rules: str) -> dict[str, dict]:
    """The manifest's entries by name; a rule is MODE or MODE=PATTERN."""
    parted = [rule.partition("=") for rule in rules]
    write_tfjs(graph, folder, reduction=Reduction([WeightRule(mode, pattern) for mode, _, pattern in parted]))
    return {each["name"]: each for each in json.loads((folder / "model.json").read_text())["weightsManifest"][0]["weights"]}


def notices(graph: Graph, folder: Path, mode: str) -> str:
    return " | ".join(write_tfjs(graph, folder, reduction=Reduction([WeightRule(mode)])).notices)


# -- codes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "mode", "codes", "minimum", "scale"),
    [
        (VALUES, "uint8", [0, 30, 94, 94, 94, 124, 176, 255], -1.0321568451675713, 0.01098039196986778),
        (VALUES, "uint16", [0, 7724, 24085, 24108, 24155, 31832, 45173, 65535], -1.0300205821384143, 4.272526058314312e-05),
        (VALUES + 2, "uint8", [0, 30, 94, 94, 94, 124, 176, 255], 0.9700000286102295, 0.01098039196986778),
        (VALUES + 2, "uint16", [0, 7724, 24084, 24108, 24154, 31831, 45172, 65535], 0.9700000286102295, 4.272526058314312e-05),
        (VALUES - 3, "uint8", [0, 30, 94, 94, 94, 124, 176, 255], -4.029999732971191, 0.01098039103489296),
        (VALUES - 3, "uint16", [0, 7724, 24084, 24108, 24154, 31831, 45172, 65535], -4.029999732971191, 4.27252569451088e-05),
        (np.full(8, 0.7, np.float32), "uint8", [0, 0, 0, 0, 0, 0, 0, 0], 0.699999988079071, 1.0),
        (np.full(8, 0.7, np.float32), "uint16", [0, 0, 0, 0, 0, 0, 0, 0], 0.699999988079071, 1.0),
    ],
)
def test_codes_are_those_of_the_official_converter(values, mode, codes, minimum, scale):
    """The numbers come from `tensorflowjs.quantization.quantize_weights` of 4.22."""
    weight = plan_weight("w", constants(w=values).outputs[0].value.constant)
    steps = {"uint8": 255, "uint16": 65535}[mode]
    found = affine_parameters(float(values.min()), float(values.max()), steps)
    assert found == pytest.approx((scale, minimum), rel=1e-12)
    assert AffineCodes(weight.tensor, mode, *found).array().tolist() == codes


@pytest.mark.parametrize("mode", ["uint8", "uint16"])
@pytest.mark.parametrize("low", [-3.0, -1e-3, 0.0, 1e-3, -1e30])
def test_zero_stays_exact_and_no_element_moves_by_more_than_a_step(tmp_path, mode, low):
    values = np.linspace(low, 2.0, 1000, dtype=np.float32)
    values[500] = 0
    (entry,) = write(constants(w=values.reshape(10, 100)), tmp_path, f"{mode}=w").values()
    back = read_manifest([{"paths": ["group1-shard1of1.bin"], "weights": [entry]}], tmp_path)["w"].array().reshape(-1)
    assert entry["dtype"] == "float32"
    assert entry["quantization"]["dtype"] == mode
    if low <= 0:
        assert back[500] == 0
    scale = entry["quantization"]["scale"]
    inner = slice(2, -2)
    assert np.abs(back.astype(float) - values)[inner].max() <= 0.501 * scale
    assert np.abs(back.astype(float) - values).max() <= 1.001 * scale
    assert np.abs(back.astype(float) - values).max() > 0


def test_equal_elements_are_exact(tmp_path):
    entries = write(constants(w=np.full((20, 20), 0.7, np.float32)), tmp_path, "uint8=w")
    back = read_manifest([{"paths": ["group1-shard1of1.bin"], "weights": list(entries.values())}], tmp_path)["w"].array()
    assert np.all(back == np.float32(0.7))


@needs_runtime
@pytest.mark.parametrize("mode", ["uint8", "uint16", "float16"])
def test_tensorflow_js_makes_the_numbers_that_our_reader_makes(tmp_path, mode):
    graph = constants(
        large=noise(40, 30), odd=noise(7, 11, 3), flags=np.array([True, False]), small=noise(3), number=np.float32(0.3)
    )
    entries = write(graph, tmp_path, f"{mode}=large", f"{mode}=odd")
    assert {name for name, entry in entries.items() if "quantization" in entry} == {"large", "odd"}
    ours = read_manifest([{"paths": ["group1-shard1of1.bin"], "weights": list(entries.values())}], tmp_path)
    theirs = tfjs.run(tmp_path, {}).outputs
    for name in ("large", "odd"):
        assert np.array_equal(theirs[f"{name}_out"], ours[name].array())
        assert not np.array_equal(theirs[f"{name}_out"], graph.outputs[0 if name == "large" else 1].value.constant.array())
    assert theirs["number_out"] == np.float32(0.3)


# -- what is left alone --------------------------------------------------------------------------------------------


def test_integers_flags_scalars_and_small_ones_are_left_alone(tmp_path):
    graph = constants(
        whole=np.arange(1000, dtype=np.int32), flag=np.ones(1000, bool), scalar=np.float32(3), one=np.ones((1, 1, 1), np.float32),
        few=noise(4, 6), words=np.array([b"a", b"b"], object), weight=noise(30, 40),
    )  # fmt: skip
    facts = write_tfjs(graph, tmp_path, reduction=Reduction([WeightRule("uint8")]))
    entries = json.loads((tmp_path / "model.json").read_text())["weightsManifest"][0]["weights"]
    assert [each["name"] for each in entries if "quantization" in each] == ["weight"]
    assert facts.weight_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.bin"))
    assert "1 weight as uint8" in facts.notices[0]
    assert any(notice.startswith("1 float weights are so small") for notice in facts.notices)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mode", ["uint8", "uint16", "float16"])
def test_a_weight_that_is_not_finite_is_left_alone(tmp_path, mode, bad):
    array = noise(30, 40)
    array[3, 4] = bad
    assert "spoilt: stays float32, which holds NaN or infinity" in notices(
        constants(spoilt=array, good=noise(30, 40)), tmp_path, mode
    )
    back = read_manifest(json.loads((tmp_path / "model.json").read_text())["weightsManifest"], tmp_path)
    assert np.array_equal(back["spoilt"].array(), array, equal_nan=True)
    assert not np.array_equal(back["good"].array(), noise(30, 40))


@pytest.mark.parametrize(("largest", "refused"), [(65519.0, False), (65520.0, True), (-1e6, True)])
def test_what_float16_cannot_hold_is_refused_for_that_weight(tmp_path, largest, refused):
    array = noise(30, 40)
    array[0, 0] = largest
    told = notices(constants(big=array, good=noise(30, 40)), tmp_path, "float16")
    assert ("big: stays float32, which holds numbers that float16 does not" in told) is refused
    back = read_manifest(json.loads((tmp_path / "model.json").read_text())["weightsManifest"], tmp_path)
    assert np.all(np.isfinite(back["big"].array()))
    assert (back["big"].array()[0, 0] == np.float32(largest)) is np.bool_(refused)


def test_what_float16_would_flatten_is_left_alone(tmp_path):
    assert "tiny: stays float32, whose numbers are so small" in notices(constants(tiny=noise(30, 40) * 1e-6), tmp_path, "float16")


def test_uint8_spares_depthwise_filters_and_vectors_unless_they_are_named(tmp_path):
    graph = net()
    modes = {name: entry.get("quantization", {}).get("dtype") for name, entry in write(graph, tmp_path, "uint8").items()}
    assert modes["first"] == modes["matrix"] == "uint8"
    assert modes["uneven"] == "float16"
    named = write(graph, tmp_path, "uint8", "uint8=unev*")
    assert named["uneven"]["quantization"]["dtype"] == "uint8"


# -- a scale for each channel --------------------------------------------------------------------------------------


def test_each_channel_has_its_own_scale(tmp_path):
    graph = net()
    entries = write(graph, tmp_path, "uint8-channels")
    stored = read_manifest(json.loads((tmp_path / "model.json").read_text())["weightsManifest"], tmp_path)
    assert entries["matrix/codes"]["quantization"] == {"min": -127.0, "scale": 1.0, "dtype": "uint8", "original_dtype": "float32"}
    assert {name for name in entries if "bias" in name and "quantization" in entries[name]} == set()  # 32 numbers are too few
    consts = {node.name: node.output.constant.array() for node in graph.nodes if node.op == "Const"}
    for name, axes in (("first", (0, 1, 2)), ("uneven", (0, 1)), ("matrix", (0,))):
        codes, scales = stored[f"{name}/codes"].array(), stored[f"{name}/scales"].array()
        assert np.array_equal(codes, np.rint(codes))
        assert np.abs(codes).max(axes).min() == 127  # each channel reaches as far as codes do
        assert np.allclose(np.squeeze(scales), np.squeeze(np.abs(consts[name]).max(axes)) / 127, rtol=1e-6)
        assert np.all(np.abs(codes * scales - consts[name]).max(axes, keepdims=True) <= 0.501 * scales)
    with pytest.raises(KeyError):
        stored["matrix"]


@needs_runtime
def test_channels_with_scales_are_closer_than_one_scale_for_all(tmp_path):
    source, errors = _source(tmp_path), {}
    for mode in ("uint8", "uint8=*", "uint8-channels"):
        report = tensorferry.convert(source, tmp_path / "web", quantize=mode)
        assert report.verified
        errors[mode] = report.targets[0].check.outputs[0].mean_absolute
    assert errors["uint8-channels"] < 0.85 * errors["uint8"]
    assert errors["uint8"] < errors["uint8=*"]


def test_zeros_and_what_is_not_finite_in_channels(tmp_path):
    array = noise(40, 30)
    array[:, 3] = 0
    array[5] = 0
    spoilt = noise(40, 30)
    spoilt[2, 2] = np.inf
    graph = constants(gaps=array, spoilt=spoilt)
    entries = write(graph, tmp_path, "uint8-channels")
    stored = read_manifest(json.loads((tmp_path / "model.json").read_text())["weightsManifest"], tmp_path)
    back = stored["gaps/codes"].array() * stored["gaps/scales"].array()
    assert not np.any(back[:, 3]) and not np.any(back[5])
    assert np.array_equal(stored["spoilt"].array(), spoilt)
    assert "quantization" not in entries["spoilt"]


def test_a_weight_of_a_loop_is_multiplied_where_it_is_read(tmp_path):
    body, graph = Graph("body"), Graph("main")
    matrix = noise(30, 40)
    for each in (body, graph):
        value = ops.add(each, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (2, 30)}, name="x").output
        each.inputs.append(Port("x", value))
        each.outputs.append(Port("y", ops.add(each, "MatMul", [value, each.constant(matrix, "weight")], name="y").output))
    condition = graph.constant(np.array(True), "always")
    chosen = ops.add(
        graph, "If", [condition, graph.inputs[0].value], {"then_branch": body, "else_branch": body.copy()}, name="chosen"
    )
    graph.outputs.append(Port("z", chosen.outputs[0]))
    write(graph, tmp_path, "uint8-channels")
    document = json.loads((tmp_path / "model.json").read_text())["modelTopology"]
    places = [document["node"], *(each["nodeDef"] for each in document["library"]["function"])]
    for nodes in places:
        names = [node["name"] for node in nodes]
        assert len(names) == len(set(names))
        products = [node for node in nodes if node["op"] == "Mul"]
        assert all(set(node["input"]) <= set(names) for node in products)
    assert sum(node["op"] == "Mul" for nodes in places for node in nodes) >= 2


# -- rules ---------------------------------------------------------------------------------------------------------


def test_patterns_go_before_what_is_said_of_all(tmp_path):
    entries = write(constants(a1=noise(30, 40), a2=noise(30, 40), b=noise(30, 40)), tmp_path, "uint8", "float16=a*")
    assert {name: entry["quantization"]["dtype"] for name, entry in entries.items()} == {
        "a1": "float16",
        "a2": "float16",
        "b": "uint8",
    }


@pytest.mark.parametrize(
    ("rules", "what"),
    [
        (["uint8", "float16"], "all weights cannot be float16 and uint8 at once"),
        (["uint8=a*", "float16=*1"], "weight 'a1' fits patterns of float16 and uint8"),
        (["uint8=A*"], "no float weight has a name like 'A*'"),
    ],
)
def test_rules_that_make_no_sense(tmp_path, rules, what):
    with pytest.raises(OptionError, match=what.replace("*", r"\*")):
        write(constants(a1=noise(30, 40)), tmp_path, *rules)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("quantize", "targets", "what"),
    [
        ("uint9", "web", "unknown way to quantise 'uint9'"),
        ("uint8=", "web", "names nothing behind the ="),
        ("uint8", "net.pb", "none of the targets can be quantised as uint8"),
    ],
)
def test_modes_are_checked_before_anything_is_read(tmp_path, quantize, targets, what):
    with pytest.raises(OptionError, match=what):
        tensorferry.convert(
            tmp_path / "net.pb" if targets != "net.pb" else _source(tmp_path), tmp_path / "out" / targets, quantize=quantize
        )


def _source(folder: Path) -> Path:
    write_graphdef(net(), folder / "source.pb")
    return folder / "source.pb"


def test_each_target_takes_its_own_modes(tmp_path):
    report = tensorferry.convert(_source(tmp_path), [tmp_path / "web", tmp_path / "net.npz"], quantize=["uint16"], verify=False)
    web, archive = report.targets
    assert any("weights as uint16" in notice for notice in web.notices)
    assert any("nothing is quantised in it: uint16 is for other targets" in notice for notice in archive.notices)


def test_halves_need_a_younger_runtime():
    assert oldest_release(["Conv2D"]) == "1.0"
    assert oldest_release(["Conv2D"], halves=True) == "2.0.1"


# -- memory --------------------------------------------------------------------------------------------------------


def test_a_large_weight_is_never_held(tmp_path):
    size = 4 << 20
    (tmp_path / "data").write_bytes(noise(size).tobytes())
    tensor = FileTensor(SourceFile(tmp_path / "data"), 0, DType.FLOAT32, (2048, size // 2048))
    around = Surroundings(claim=str)
    turned = plan_weight("turned", TransposedTensor(tensor, (1, 0)))
    for weight, mode in (
        (plan_weight("plain", tensor), "uint8"),
        (turned, "uint8"),
        (plan_weight("plain", tensor), "uint8-channels"),
    ):
        tracemalloc.start()
        made, *_scales = quantise_weights([weight], Reduction([WeightRule(mode)]), around).weights
        count = sum(len(piece) for piece in made.chunks())
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == made.nbytes == size
        assert peak < 4 * 4 * size if weight.name == "turned" else peak < 20 << 20  # 16 MiB of weight; 1 MiB a piece, in doubles


# -- proof ---------------------------------------------------------------------------------------------------------


@needs_runtime
@pytest.mark.parametrize(("mode", "largest"), [("uint8", 0.03), ("uint16", 3e-3), ("float16", 2e-3)])
def test_a_quantised_model_is_proved_and_its_error_told(tmp_path, mode, largest):
    report = tensorferry.convert(_source(tmp_path), tmp_path / "web", quantize=mode)
    outcome = report.targets[0].check
    assert report.verified
    assert outcome.outputs[0].problem.startswith(f"quantised ({mode})") is (outcome.outputs[0].relative > 1e-4)
    assert report.targets[0].quantisation["quantised"][mode] >= 1
    assert 1e-5 < outcome.outputs[0].relative < largest
    assert outcome.note.startswith("what its own weights give in numpy, within")
    with pytest.raises(VerificationError):
        tensorferry.convert(_source(tmp_path), tmp_path / "strict", quantize=mode, tolerance=1e-5)
    assert not (tmp_path / "strict").exists()


@needs_runtime
def test_what_its_own_weights_do_not_give_is_refused(tmp_path, monkeypatch):
    real = proof.evaluate_again
    monkeypatch.setattr(
        proof, "evaluate_again", lambda path, inputs: {key: 1.01 * each for key, each in real(path, inputs).items()}
    )
    with pytest.raises(VerificationError, match="does not compute what its weights give"):
        tensorferry.convert(_source(tmp_path), tmp_path / "web", quantize="float16")


@needs_runtime
def test_a_quantised_file_can_be_verified_later(tmp_path):
    source = _source(tmp_path)
    tensorferry.convert(source, tmp_path / "web", quantize="uint8", verify=False)
    assert tensorferry.verify(source, tmp_path / "web").verified
    assert not tensorferry.verify(source, tmp_path / "web", tolerance=1e-5).verified


def test_the_allowance_tells_a_coarse_result_from_a_spoilt_one():
    reference = noise(1000)
    allowed = web_allowance(["float16", "uint8"])

    def judged(result: np.ndarray) -> bool:
        result = result.astype(np.float32)
        return compare_rounded(compare_arrays("out", reference, result, 1e-4), reference, result, allowed).passed

    assert judged(reference * 1.05)
    assert judged(reference + noise(1000, seed=1) * 0.5)
    assert not judged(-reference)
    assert not judged(np.zeros(1000))
    assert not judged(reference * 10)
    assert not judged(np.full(1000, np.nan))
    assert web_allowance([]) is None
    assert web_allowance(["float16"]).mean < allowed.mean


def test_what_is_to_stay_float_stays(tmp_path):
    report = tensorferry.convert(_source(tmp_path), tmp_path / "web", quantize="uint8", keep_float=["mat*", "nobody"], verify=False)
    (group,) = json.loads((tmp_path / "web" / "model.json").read_text())["weightsManifest"]
    assert {each["name"] for each in group["weights"] if "quantization" not in each} >= {"matrix"}
    assert any("no weight has a name like nobody" in notice for notice in report.targets[0].notices)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"quantize": ["uint8", "uint16"]}, "TensorFlow.js is to be quantised in 2 ways: uint8, uint16"),
        ({"quantize": "dynamic=conv*"}, "dynamic is not for some names alone"),
        ({"quantize": "uint8", "io_dtype": "int8"}, "no TensorFlow Lite file is quantised"),
        ({"quantize": "uint8", "per_tensor": True}, "no TensorFlow Lite file is quantised"),
    ],
)
def test_what_does_not_go_together(tmp_path, options, what):
    with pytest.raises(OptionError, match=what):
        tensorferry.convert(tmp_path / "none.pb", tmp_path / "web", **options)
