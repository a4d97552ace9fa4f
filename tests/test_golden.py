"""The graphs of small models as text, before and after the passes: a refactoring shows no difference here.

`UPDATE_GOLDEN=1 pytest tests/test_golden.py` writes them anew; read the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import tensorferry
from small_graphs import channels_first_net, freeze, small_net
from tensorferry.passes import pipelines
from tensorferry.text import format_graph
from tensorferry.zoo.mobilenet_v1 import Architecture
from tensorferry.zoo.posenet import build_posenet

GOLDEN = Path(__file__).parent / "golden"


def read_small(tmp_path):
    return tensorferry.load(freeze(tmp_path / "net.pb", small_net), outputs=["scores", "features"])


def read_free(tmp_path):
    return tensorferry.load(freeze(tmp_path / "net.pb", lambda: small_net(None, None)))


def read_channels_first(tmp_path):
    return tensorferry.load(freeze(tmp_path / "net.pb", channels_first_net))


def build_small_posenet(_tmp_path):
    return build_posenet(Architecture(multiplier=0.25, resolution=(65, 65), output_stride=16))


MODELS = {"small": read_small, "free_sizes": read_free, "channels_first": read_channels_first, "posenet": build_small_posenet}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("stage", ["source", "tflite", "tfjs"])
def test_the_graph_reads_as_before(model, stage, tmp_path):
    graph = MODELS[model](tmp_path)
    if stage != "source":
        pipelines.prepare(graph)
        pipelines.finish(graph, stage)
    text = format_graph(graph, digests=False) + "\n"
    golden = GOLDEN / f"{model}.{stage}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()
