"""LiteRT latency and operator counts of several .tflite files, as JSON: ROUNDS FILE...

One thread, XNNPACK as LiteRT applies it by default. The files take turns, in an order that turns around with each round, so that a
slow moment of the machine hits them all; a file's figure is the median over the rounds of each round's median.
"""

from __future__ import annotations

import json
import statistics
import sys
import time

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

SECONDS_A_ROUND = 0.25


def prepare(path: str) -> Interpreter:
    interpreter = Interpreter(model_path=path, num_threads=1)
    interpreter.allocate_tensors()
    random = np.random.default_rng(0)
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], random.random(detail["shape"]).astype(detail["dtype"]))
    interpreter.invoke()
    return interpreter


def time_round(interpreter: Interpreter) -> float:
    """Median seconds of as many runs as fit in a round, at least one."""
    samples: list[float] = []
    while sum(samples) < SECONDS_A_ROUND:
        start = time.perf_counter()
        interpreter.invoke()
        samples.append(time.perf_counter() - start)
    return statistics.median(samples)


def count_operators(path: str) -> int:
    plain = Interpreter(model_path=path, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    return len(plain._get_ops_details())


def main(rounds: int, paths: list[str]) -> None:
    interpreters = {path: prepare(path) for path in paths}
    samples: dict[str, list[float]] = {path: [] for path in paths}
    for number in range(rounds):
        for path in paths if number % 2 else reversed(paths):
            samples[path].append(time_round(interpreters[path]))
    figures = {path: {"latency": statistics.median(samples[path]), "operators": count_operators(path)} for path in paths}
    print(json.dumps(figures))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
