"""Small valid models of each format, to be spoilt: made by our writers and by hand, and by TensorFlow where it is installed."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fuzzing.mutation import Files
from tensorferry import ops
from tensorferry.ir import Graph, Port, Value
from tensorferry.tensor import ArrayTensor, DType
from tensorferry.wire.named import encode
from tensorferry.writers.graphdef import write_graphdef
from tensorferry.writers.tfjs import write_tfjs
from tensorferry.writers.tflite import write_tflite


@dataclass
class Seed:
    """A model's files; `main` is the one to name (empty: their folder), `options` as for a conversion, a checkpoint's
    name within the files."""

    format: str
    files: Files
    main: str
    options: dict[str, str] = field(default_factory=dict)


def files_in(folder: Path) -> Files:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def build_net() -> Graph:
    """A convolution, a batch of simple ops, a table of sizes: enough kinds of attributes to be worth spoiling."""
    graph = Graph("net")
    random = np.random.default_rng(0)

    def constant(name: str, *shape: int) -> Value:
        tensor = ArrayTensor(random.normal(size=shape).astype(np.float32))
        return ops.add(graph, "Const", attrs={"value": tensor, "dtype": DType.FLOAT32}, name=name).output

    image = ops.add(graph, "Placeholder", attrs={"dtype": DType.FLOAT32, "shape": (1, 6, 6, 2)}, name="image").output
    attributes = {
        "strides": [1, 2, 2, 1],
        "padding": "SAME",
        "dilations": [1, 1, 1, 1],
        "data_format": "NHWC",
        "explicit_paddings": [],
    }
    value = ops.add(graph, "Conv2D", [image, constant("filter", 3, 3, 2, 3)], attributes, name="conv").output
    value = ops.add(graph, "BiasAdd", [value, constant("bias", 3)], {"data_format": "NHWC"}, name="biased").output
    value = ops.add(graph, "Relu6", [value], name="active").output
    sizes = graph.constant(np.asarray([1, 27], np.int32), "sizes")
    value = ops.add(graph, "Reshape", [value, sizes], name="flat").output
    value = ops.add(graph, "MatMul", [value, constant("dense", 27, 4)], name="product").output
    value = ops.add(graph, "Softmax", [value], name="scores").output
    graph.inputs, graph.outputs = [Port("image", image)], [Port("scores", value)]
    return graph


def our_seeds(work: Path) -> Iterator[Seed]:
    """What needs nothing but this package."""
    work.mkdir(parents=True, exist_ok=True)
    write_graphdef(build_net(), work / "net.pb")
    graph = (work / "net.pb").read_bytes()
    yield Seed("graphdef", {"net.pb": graph}, "net.pb")
    yield Seed("graphdef", {"net.pb": encoded("GraphDef", LOOP)}, "net.pb")
    yield Seed("graphdef", {"net.pb": encoded("GraphDef", CALLS)}, "net.pb")
    yield Seed("text", {"net.pbtxt": TEXT}, "net.pbtxt")
    write_tflite(build_net(), work / "net.tflite")
    yield Seed("tflite", {"net.tflite": (work / "net.tflite").read_bytes()}, "net.tflite")
    web = work / "web"
    web.mkdir()
    write_tfjs(build_net(), web, shard_size=400)
    yield Seed("tfjs", files_in(web), "model.json")
    yield Seed("tfjs", quantised(files_in(web)), "")
    yield Seed(
        "tfjs0", {"tensorflowjs_model.pb": encoded("GraphDef", OLD), "weights_manifest.json": OLD_WEIGHTS, "w": bytes(16)}, ""
    )
    yield Seed("weights", {"weights_manifest.json": OLD_WEIGHTS, "w": bytes(16)}, "weights_manifest.json")
    yield Seed("weights", {"manifest.json": b'{"a/b": {"filename": "a_b", "shape": [2, 2]}}', "a_b": bytes(16)}, "manifest.json")
    variable = encoded("GraphDef", {"node": [node("w", "VariableV2", dtype=FLOAT, shape=SHAPE), *OLD["node"][::2]]})
    files = {"net.pb": variable, "weights_manifest.json": OLD_WEIGHTS, "w": bytes(16)}
    yield Seed("weights", files, "net.pb", {"checkpoint": "weights_manifest.json"})
    yield Seed("layers", {"model.json": LAYERS, "w.bin": bytes(4 * 16)}, "model.json")
    saved = encoded("SavedModel", {"saved_model_schema_version": 1, "meta_graphs": [meta_graph()]})
    yield Seed("savedmodel", {"saved_model.pb": saved}, "")
    yield Seed("archive", {"net.zip": zipped({"a/net.pb": graph, "b.txt": b"words"})}, "net.zip")
    yield Seed("archive", {"net.zip": zipped(files_in(web))}, "net.zip")
    yield Seed("archive", {"net.tar": tarred({"saved_model.pb": saved, "assets/words.txt": b"a\nb\n"})}, "net.tar")
    yield Seed("archive", {"net.tgz": gzip.compress(tarred({"net.pb": graph}), mtime=0)}, "net.tgz")
    yield Seed("archive", {"net.pb.gz": gzip.compress(graph, mtime=0)}, "net.pb.gz")


def encoded(message: str, data: dict[str, object]) -> bytes:
    return b"".join(bytes(chunk) for chunk in encode(message, data).chunks())


def quantised(files: Files) -> Files:
    """The same model with its weights in one byte each, in one group and one file."""
    model = json.loads(files["model.json"])
    total = 0
    for group in model["weightsManifest"]:
        for entry in group["weights"]:
            if entry["dtype"] == "float32":
                entry["quantization"] = {"dtype": "uint8", "scale": 0.1, "min": -3.0}
            total += int(np.prod(entry["shape"])) * (1 if entry["dtype"] == "float32" else 4)
        group["paths"] = ["all.bin"]
    return {"model.json": json.dumps(model).encode(), "all.bin": bytes(range(256)) * (total // 256) + bytes(total % 256)}


def zipped(files: Files) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return target.getvalue()


def tarred(files: Files) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return target.getvalue()


FLOAT = {"type": 1}
SHAPE = {"shape": {"dim": [{"size": 2}, {"size": 2}]}}


def node(name: str, op: str, *inputs: str, **attributes: object) -> dict[str, object]:
    return {"name": name, "op": op, "input": list(inputs), "attr": attributes}


def constant(name: str, kind: int, **value: object) -> dict[str, object]:
    return node(name, "Const", dtype={"type": kind}, value={"tensor": {"dtype": kind, **value}})


LOOP = {
    "node": [
        node("x", "Placeholder", dtype=FLOAT, shape=SHAPE),
        constant("ten", 3, tensor_shape={}, int_val=[10]),
        constant("zero", 3, tensor_shape={}, int_val=[0]),
        constant("texts", 7, tensor_shape={"dim": [{"size": 2}]}, string_val=[b"a", b"\xff"]),
        constant("half", 19, tensor_shape={"dim": [{"size": 3}]}, half_val=[15360]),
        node("e0", "Enter", "zero", T={"type": 3}, frame_name={"s": b"f"}),
        node("e1", "Enter", "x", T=FLOAT, frame_name={"s": b"f"}),
        node("m0", "Merge", "e0", "n0", T={"type": 3}, N={"i": 2}),
        node("m1", "Merge", "e1", "n1", T=FLOAT, N={"i": 2}),
        node("limit", "Const", "^m0", dtype={"type": 3}, value={"tensor": {"dtype": 3, "tensor_shape": {}, "int_val": [5]}}),
        node("less", "Less", "m0", "limit", T={"type": 3}),
        node("cond", "LoopCond", "less"),
        node("s0", "Switch", "m0", "cond", T={"type": 3}),
        node("s1", "Switch", "m1", "cond", T=FLOAT),
        node("one", "Const", "^s0", dtype={"type": 3}, value={"tensor": {"dtype": 3, "tensor_shape": {}, "int_val": [1]}}),
        node("add", "Add", "s0:1", "one", T={"type": 3}),
        node("twice", "Add", "s1:1", "s1:1", T=FLOAT),
        node("n0", "NextIteration", "add", T={"type": 3}),
        node("n1", "NextIteration", "twice", T=FLOAT),
        node("y", "Exit", "s1", T=FLOAT),
    ],
    "versions": {"producer": 1000},
}
"""A loop of TensorFlow 1 and constants of several encodings."""

CALLS = {
    "node": [
        node("x", "Placeholder", dtype=FLOAT, shape=SHAPE),
        constant("on", 10, tensor_shape={}, bool_val=[True]),
        node("call", "PartitionedCall", "x", Tin={"list": {"type": [1]}}, Tout={"list": {"type": [1]}}, f={"func": {"name": "f"}}),
        node(
            "y",
            "StatelessIf",
            "on",
            "call",
            Tcond={"type": 10},
            Tin={"list": {"type": [1]}},
            Tout={"list": {"type": [1]}},
            then_branch={"func": {"name": "f"}},
            else_branch={"func": {"name": "g"}},
        ),
    ],
    "library": {
        "function": [
            {
                "signature": {"name": name, "input_arg": [{"name": "a", "type": 1}], "output_arg": [{"name": "b", "type": 1}]},
                "node_def": [node("inner", op, "a", T=FLOAT)],
                "ret": {"b": f"inner:{out}:0"},
            }
            for name, op, out in (("f", "Relu", "activations"), ("g", "Neg", "y"))
        ]
    },
    "versions": {"producer": 1000},
}
"""Functions: one called, one chosen."""

TEXT = b"""# a graph as text
node {
  name: "x"
  op: "Placeholder"
  attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "shape" value { shape { dim { size: -1 } dim { size: 2 } } } }
}
node {
  name: "w"
  op: "Const"
  attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "value" value { tensor {
    dtype: DT_FLOAT tensor_shape { dim { size: 2 } }
    tensor_content: "\\000\\000\\200\\077\\000\\000\\000@" } } }
}
node { name: "y" op: "Mul" input: "x" input: "w" attr { key: "T" value { type: DT_FLOAT } } }
versions { producer: 1000 }
"""

OLD = {
    "node": [
        node("x", "Placeholder", dtype=FLOAT, shape=SHAPE),
        node("w", "Const", dtype=FLOAT, value={"tensor": {"dtype": 1, "tensor_shape": {"dim": [{"size": 2}, {"size": 2}]}}}),
        node("y", "MatMul", "x", "w", T=FLOAT, transpose_a={"b": False}, transpose_b={"b": False}),
    ]
}
OLD_WEIGHTS = json.dumps([{"paths": ["w"], "weights": [{"name": "w", "shape": [2, 2], "dtype": "float32"}]}]).encode()

LAYERS = json.dumps(
    {
        "format": "layers-model",
        "modelTopology": {
            "keras_version": "2.15.0",
            "backend": "tensorflow",
            "model_config": {
                "class_name": "Sequential",
                "config": {
                    "name": "net",
                    "layers": [
                        {
                            "class_name": "Dense",
                            "config": {
                                "name": "dense",
                                "trainable": True,
                                "batch_input_shape": [None, 3],
                                "dtype": "float32",
                                "units": 4,
                                "activation": "relu",
                                "use_bias": True,
                            },
                        }
                    ],
                },
            },
        },
        "weightsManifest": [
            {
                "paths": ["w.bin"],
                "weights": [
                    {"name": "dense/kernel", "shape": [3, 4], "dtype": "float32"},
                    {"name": "dense/bias", "shape": [4], "dtype": "float32"},
                ],
            }
        ],
    }
).encode()


def meta_graph() -> dict[str, object]:
    def info(name: str) -> dict[str, object]:
        return {"name": name, "dtype": 1, "tensor_shape": {"dim": [{"size": 2}, {"size": 2}]}}

    signature = {"inputs": {"a": info("x:0")}, "outputs": {"b": info("y:0")}, "method_name": "tensorflow/serving/predict"}
    return {"meta_info_def": {"tags": ["serve"]}, "graph_def": CALLS, "signature_def": {"serving_default": signature}}


REAL = {
    "tflite": ("tfm_hello_world", "coral_keras_lstm_mnist_ptq"),
    "layers": ("basic_tfjs_golden_layers", "abalone_layers", "kp_standing_or_sitting"),
    "tfjs": ("basic_tfjs_golden_graph", "tfjs_inference_td"),
    "savedmodel": ("counter_sm", "model_string", "model_types", "half_plus_two_tf1", "tfjsnode_module_with_multiple_signatures"),
    "h5": ("pose_classifier_h5",),
    "keras": ("k3_kepler",),
    "graphdef": ("mp_tf_graph_def", "edge_ai_crespum"),
}
"""Small ones of others' models, by the names of their folders."""


def real_seeds(models: Path) -> Iterator[Seed]:
    """Real models, where they are at hand."""
    for kind, names in REAL.items():
        for name in names:
            files = files_in(models / name) if (models / name).is_dir() else {}
            if kind in ("savedmodel", "layers", "tfjs"):
                inner = next((path.rpartition("/")[0] for path in files if path.endswith(("saved_model.pb", "model.json"))), None)
                if inner is not None:
                    yield Seed(kind, files, inner)
            else:
                for path, data in files.items():
                    if path.endswith((".tflite", ".h5", ".keras", ".pb")):
                        yield Seed(kind, {path: data}, path)


def tensorflow_seeds(work: Path) -> Iterator[Seed]:
    """What TensorFlow and Keras write; imports them."""
    from fuzzing.keras_seeds import keras_seeds  # noqa: PLC0415
    from fuzzing.tensorflow_seeds import saved_seeds  # noqa: PLC0415

    yield from saved_seeds(work)
    yield from keras_seeds(work)
