"""TensorFlow as the reference, for users who have it. The only module that imports it, and only when asked."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorferry.errors import FerryError, OptionError
from tensorferry.runtimes import Run
from tensorferry.tensor import Array

NAME = "TensorFlow"


Ports = tuple[dict[str, str], dict[str, str]]
"""Public name -> tensor, of inputs and of outputs."""


class NoKernel(FerryError):
    """TensorFlow takes the graph but has no code on this machine for one of its ops."""


def available() -> str | None:
    """None when TensorFlow is installed, else the reason with the remedy."""
    if importlib.util.find_spec("tensorflow") is None:
        return "TensorFlow is not installed (pip install tensorflow)"
    return None


def run_graphdef(serialized: bytes, feeds: Mapping[str, Array], fetches: Sequence[str]) -> tuple[list[Array], str]:
    """Run a frozen GraphDef on the CPU. Feeds and fetches are tensor names (`image:0`). Returns arrays and TensorFlow's version."""
    missing = available()
    if missing:
        raise OptionError("the reference 'tensorflow' was asked for", why=missing)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow  # noqa: PLC0415 - heavy, and only here when asked for

    definition = tensorflow.compat.v1.GraphDef()
    definition.ParseFromString(serialized)
    try:
        with tensorflow.Graph().as_default() as graph:
            tensorflow.import_graph_def(definition, name="")
            with tensorflow.compat.v1.Session(graph=graph) as session:
                results = session.run(list(fetches), dict(feeds))
    except (ValueError, tensorflow.errors.OpError) as error:
        raise FerryError("TensorFlow cannot run the source graph", why=str(error).splitlines()[0]) from error
    return results, f"{NAME} {tensorflow.__version__}"


def run_model(path: Path, kind: str, calls: Sequence[Mapping[str, Array]], find_ports: Callable[[], Ports]) -> list[Run]:
    """Load a SavedModel, a GraphDef or a MetaGraph with its checkpoint, and run it by public names, several times in one session.

    `kind` is what our readers call it. Of a GraphDef `find_ports` says which tensors are meant. FerryError with TensorFlow's
    message; NoKernel where only this machine's TensorFlow is at fault.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow  # noqa: PLC0415 - heavy, and only here when asked for

    tensorflow.get_logger().setLevel("ERROR")  # what it calls out of date is what every version has
    v1, version = tensorflow.compat.v1, f"{NAME} {tensorflow.__version__}"
    try:
        with tensorflow.Graph().as_default() as graph, v1.Session(graph=graph) as session:
            inputs, outputs = _load(v1, session, path, kind) or find_ports()
            return [
                Run(session.run(outputs, {inputs[name]: array for name, array in feeds.items() if name in inputs}), version)
                for feeds in calls
            ]
    except (tensorflow.errors.UnimplementedError, tensorflow.errors.NotFoundError) as error:
        raise NoKernel("TensorFlow cannot run the model here", why=str(error).splitlines()[0]) from error
    except (ValueError, KeyError, TypeError, tensorflow.errors.OpError) as error:
        if "No OpKernel" in str(error):
            raise NoKernel("TensorFlow cannot run the model here", why=str(error).splitlines()[0]) from error
        raise FerryError("TensorFlow cannot run the model", why=str(error).splitlines()[0]) from error


def _load(v1: Any, session: Any, path: Path, kind: str) -> Ports | None:
    """Bring the model into the session; the tensors of its signature, if it has one."""
    if kind == "graphdef":
        definition, content = v1.GraphDef(), path.read_bytes()
        if content[:1].isalpha():  # no field of a GraphDef begins so in binary form
            importlib.import_module("google.protobuf.text_format").Parse(content, definition)  # comes with TensorFlow
        else:
            definition.ParseFromString(content)
        v1.import_graph_def(definition, name="")
        return None
    if kind == "savedmodel":
        meta = v1.saved_model.load(session, ["serve"], os.fspath(path))
    else:
        saver = v1.train.import_meta_graph(os.fspath(path))
        meta = v1.MetaGraphDef()
        meta.ParseFromString(path.read_bytes())
        if saver is not None:
            saver.restore(session, os.fspath(path.with_suffix("")))
    signature = next(iter(meta.signature_def.values()))
    inputs, outputs = ({name: info.name for name, info in side.items()} for side in (signature.inputs, signature.outputs))
    return inputs, outputs
