"""Make a case ready: CASE FOLDER; writes its frozen graph, calibration samples and our float file, and prints its ends as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

import tensorferry
from quantising.cases import CALIBRATING, CASES, MODELS, samples_of
from tensorferry.writers.graphdef import write_graphdef
from tensorferry.zoo import FolderWeights, build_posenet


def main(name: str, target: str) -> None:
    folder = Path(target)
    (case,) = (each for each in CASES if each.name == name)
    (source,) = MODELS.glob(case.source)
    graph = folder / "frozen.pb"
    if case.poses:
        write_graphdef(build_posenet(weights=FolderWeights(source)), graph)
    else:
        tensorferry.convert(source, graph, to=("graphdef",), fixed=True, verify=False)
    loaded = tensorferry.load(graph)
    (given,), outputs = loaded.inputs, [port.name for port in loaded.outputs]
    np.save(folder / "calibrating.npy", samples_of(case, CALIBRATING, judging=False))
    tensorferry.convert(graph, folder / "ours_float.tflite", inputs=(given.name,), outputs=outputs, verify=False)
    print(json.dumps({"input": given.name, "outputs": outputs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
