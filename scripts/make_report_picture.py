"""Writes docs/report.svg: the report of the demo's conversion, as a terminal shows it. Run after `make demo`."""

from __future__ import annotations

import io
import re
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console

import tensorferry
from tensorferry.rendering import render_report

OUTPUTS = ["heatmap", "offset_2", "displacement_fwd_2", "displacement_bwd_2"]


def main() -> None:
    source = Path("build/demo/posenet.pb")
    with tempfile.TemporaryDirectory() as folder:
        targets = [Path(folder) / "posenet.tflite", Path(folder) / "web_posenet_model"]
        report = tensorferry.convert(source, targets, inputs=["image"], outputs=OUTPUTS)
    console = Console(record=True, width=104, file=io.StringIO(), force_terminal=True)
    console.print(render_report(_with_short_names(report, folder)))
    svg = console.export_svg(title="tensorferry convert posenet.pb -o posenet.tflite -o web_posenet_model/")
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # a picture that fetches nothing from anywhere
    Path("docs/report.svg").write_text(svg, encoding="utf-8")


def _with_short_names(report: tensorferry.Report, folder: str) -> tensorferry.Report:
    """The same report without the folders of this machine."""
    targets = tuple(replace(target, path=target.path.removeprefix(f"{folder}/")) for target in report.targets)
    return replace(report, source=replace(report.source, path="posenet.pb"), targets=targets)


if __name__ == "__main__":
    main()
