"""TensorFlow as the reference, for users who have it. The only module that imports it, and only when asked."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence

from tensorferry.errors import FerryError, OptionError
from tensorferry.tensor import Array

NAME = "TensorFlow"


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
