"""How close a quantised file comes to the float one: CASE FLOAT.tflite QUANTISED.tflite; prints error and agreement as JSON.

A process of its own: the peak of memory of those that are measured must not begin at what this takes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from posenet_drift import compare
from quantising.cases import CASES, JUDGING, Case, samples_of
from tensorferry.pose import find_heads
from tensorferry.runtimes.litert import LiteRtModel
from tensorferry.tensor import Array


def outputs_of(path: Path, samples: Array) -> list[dict[str, Array]]:
    """The outputs as real numbers for each sample, in the file's order."""
    with LiteRtModel(path, threads=2) as model:
        (slot,) = model.inputs
        return [model.run_real({slot.name: sample[None]}) for sample in samples]


def judge(case: Case, reference: list[dict[str, Array]], path: Path, samples: Array) -> Mapping[str, Any]:
    """`error`: distance of all outputs relative to their length, over all samples; `agreement`: share of samples with the same
    highest output, or drift of key points in pixels of the input."""
    found = outputs_of(path, samples)
    pairs = [(_flat(one), _flat(other)) for one, other in zip(reference, found, strict=True)]
    away = sum(float(np.square(one - other).sum()) for one, other in pairs)
    length = sum(float(np.square(one).sum()) for one, _ in pairs)
    told: dict[str, Any] = {"bytes": path.stat().st_size, "error": round(float(np.sqrt(away / length)), 5)}
    if case.poses:
        heads = [[find_heads(each, *case.shape[:2]) for each in side] for side in (reference, found)]
        return told | {"drift": compare(heads[0], heads[1]).as_dict()}
    same = [int(one.argmax() == other.argmax()) for one, other in pairs]
    return told | {"agreement": round(float(np.mean(same)), 4)}


def _flat(outputs: Mapping[str, Array]) -> Array:
    """All outputs as one vector; those of four heads are told apart by names, of one output the name does not matter."""
    ordered = [outputs[name] for name in sorted(outputs)]
    return np.concatenate([each.reshape(-1) for each in ordered]).astype(np.float64)


def main(name: str, float_file: str, quantised: str) -> None:
    (case,) = (each for each in CASES if each.name == name)
    samples = samples_of(case, JUDGING, judging=True)
    print(json.dumps(judge(case, outputs_of(Path(float_file), samples), Path(quantised), samples)))


if __name__ == "__main__":
    main(*sys.argv[1:])
