"""The results as docs/quantisation-bench.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from measuring import describe_machine

INTRODUCTION = """# Quantised files side by side

Written by `make bench-quant`; do not edit. Each model goes as the same frozen graph through TensorFlow's converter (2.21) and
Tensorferry, and as Tensorferry's float file through ai-edge-quantizer (0.10), each a process of its own with its default settings
and the same calibration samples. The files run in LiteRT on samples that were not calibrated with (PoseNet: on the same six
photographs, as its reference figures are; see below for those left out), and are compared with TensorFlow's float file.

- error: distance of all outputs from the float file's, relative to their length, over all samples.
- agreement: share of samples with the same highest output. PoseNet: drift of key points with a score above 0.5, in pixels of its
  337 x 337 input (median / 95 of 100 / largest), and how many jumped to another cell though the float file was sure.
- Samples are pieces of photographs in the model's size and range; speech models get noise, whose agreement says less.
"""


def make_page(results: Mapping[str, Any]) -> str:
    machine = describe_machine()
    about = f"Machine: {machine['cores']} cores, {machine['processor']}, {machine['system']}, Python {machine['python']}."
    return "\n".join([INTRODUCTION, about, *_tables(results)]) + "\n"


def _tables(results: Mapping[str, Any]) -> Iterator[str]:
    for model, modes in results.items():
        yield f"\n## {model}\n\nFloat file: {modes['float']['bytes']:,} bytes.\n"
        yield "| mode | tool | bytes | error | agreement | seconds | peak MB |"
        yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
        for mode, tools in modes.items():
            for tool, facts in tools.items() if mode != "float" else ():
                yield _row(mode, tool, facts)


def _row(mode: str, tool: str, facts: Mapping[str, Any]) -> str:
    cost = f"{facts.get('seconds', '')} | {facts.get('peak_mb', '')}"
    if "failed" in facts:
        return f"| {mode} | {tool} | fails: {facts['failed'].replace('|', '/')[:80]} | | | {cost} |"
    drift = facts.get("drift")
    same = (
        f"{facts['agreement']:.1%}"
        if drift is None
        else f"{drift['median']:.2f} / {drift['p95']:.2f} / {drift['max']:.1f} px, {drift['jumps']} jumps"
    )
    return f"| {mode} | {tool} | {facts['bytes']:,} | {facts['error']:.4f} | {same} | {cost} |"
