"""ai-edge-quantizer, in an environment of its own: FLOAT.tflite TARGET MODE SAMPLES.npy"""

from __future__ import annotations

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe

RECIPES = {"dynamic": recipe.dynamic_wi8_afp32, "int8": recipe.static_wi8_ai8, "int16x8": recipe.static_wi8_ai16}


def main(source: str, target: str, mode: str, samples: str) -> None:
    worker = quantizer.Quantizer(source, RECIPES[mode]())
    result = None
    if worker.need_calibration:
        signatures = Interpreter(source).get_signature_list()
        (key,) = signatures
        (name,) = signatures[key]["inputs"]
        result = worker.calibrate({key: [{name: each[None]} for each in np.load(samples)]}, num_threads=2)
    worker.quantize(result, serialize_to_path=target, enable_progress_report=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
