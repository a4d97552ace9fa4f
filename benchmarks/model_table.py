"""Which of a folder of models open, convert and verify, as docs/models.md: python benchmarks/model_table.py [FOLDER] [--kind KIND]

Each model is converted by the command line in a process of its own, once for each target, with inputs and outputs found by the tool
unless OPTIONS says otherwise. For what is refused the missing ops are listed; where none is, the reason that the error gives.
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MODELS = ROOT.parent / "shared" / "models"
PAGE = ROOT / "docs" / "models.md"
TARGETS = {"tflite": "model.tflite", "tfjs": "web_model"}
TITLES = {"tflite": "LiteRT", "tfjs": "TensorFlow.js", "inspect": "opening it"}
PATIENCE = 300

OPTIONS = {
    "cifar_frozen_variadic/frozen_model_variadic_input_shape.pb": "--shape Input=-1,32,32,3",
    "edge_ai_crespum/frozen_model.pb": "--shape netin=1,784",
    "kws_arm_ds_cnn_S/DS_CNN_S.pb": "--inputs Mfcc --outputs labels_softmax --shape Mfcc=1,49,10",
    "counter_sm": "--signature incr_counter",
    "kws_arm_gru_S/GRU_S.pb": "--inputs Mfcc --outputs labels_softmax --shape Mfcc=1,25,10",
    "mtcnn_blaueck/mtcnn.pb": "--shape min_size= --shape factor=",
    "mtcnn_all_ckpt/mtcnn-3000000.meta": " ".join(
        f"--shape {name}=1,{size},{size},3" for name, size in (("Placeholder", 12), ("Placeholder_1", 24), ("Placeholder_2", 48))
    ),
    "rust_regression_sm": "--signature w",
    "tf2onnx_gru/frozen.pb": "--shape X=3,28,28",
    "tf2onnx_regression_ckpt/model.meta": "--shape X=4 --shape Y=4",
    "tf2onnx_regression_pb/frozen.pb": "--shape X=4",
    "tf2onnx_regression_sm": "--shape X=4",
}
"""For models that leave a needed shape open, or that begin with ops of another kind; tried after the model as it is."""


@dataclass(slots=True)
class Entry:
    path: str
    what: str
    options: str = ""
    weights_only: bool = False
    opened: str = ""
    outcomes: dict[str, str] = field(default_factory=dict)
    obstacles: dict[str, str] = field(default_factory=dict)


FILES = {
    "frozen_pb": ("*.pb",),
    "saved_model": ("saved_model.pb", "saved_model.pbtxt"),
    "checkpoint": ("*.meta",),
    "tfjs_graph": ("model.json", "tensorflowjs_model.pb"),
    "tfjs_layers": ("model.json",),
    "tfjs_manifest": ("manifest.json", "*-weights_manifest.json"),
    "keras_h5": ("*.h5", "*.hdf5"),
    "keras_v3": ("*.keras",),
    "tflite": ("*.tflite",),
}
"""Kind of the manifest -> the files that stand for its models."""
FOLDERS = frozenset({"saved_model", "tfjs_graph", "tfjs_layers"})
"""Kinds whose models are the folder of that file."""
WEIGHTS_ONLY = frozenset({"tfjs_manifest"})
WEIGHTS_ONLY_ENTRIES = frozenset({"k3_weights_only"})
"""Sources without a structure: they open and are listed, and there is nothing to convert."""


def models(folder: Path, kind: str | None) -> Iterator[Entry]:
    with open(folder / "MANIFEST.tsv", encoding="utf-8", newline="") as manifest:
        for row in csv.DictReader(manifest, delimiter="\t", quoting=csv.QUOTE_NONE):
            if kind not in (None, row["kind"]):
                continue
            weights_only = row["kind"] in WEIGHTS_ONLY or row["name"] in WEIGHTS_ONLY_ENTRIES
            found = {path for pattern in FILES.get(row["kind"], ()) for path in (folder / row["name"]).rglob(pattern)}
            for path in sorted({path.parent if row["kind"] in FOLDERS else path for path in found}):
                name = str(path.relative_to(folder))
                yield Entry(name, row["what"], weights_only=weights_only)
                if name in OPTIONS:
                    yield Entry(name, row["what"], OPTIONS[name])


def run(*words: str | Path) -> tuple[int, dict[str, Any]]:
    """One command of the tool: its exit code and its JSON."""
    command = [sys.executable, "-m", "tensorferry", *words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE)
    try:
        return done.returncode, json.loads(done.stdout)
    except json.JSONDecodeError:
        return done.returncode, {"what": (done.stderr.strip().splitlines() or ["no message"])[-1]}


def missing_ops(source: Path, kind: str) -> str:
    _, said = run("inspect", source)
    missing = next((support["missing"] for support in said.get("support", ()) if support["target"] == kind), {})
    return ", ".join(f"`{op}`" for op in missing)


def judge(code: int, said: dict[str, Any]) -> tuple[str, str]:
    """(a word and a figure for the table, what stands in the way)."""
    if code == 0:
        target = said["targets"][0]
        check = target["check"]
        if check["status"] != "verified":
            return check["status"], check["reason"]
        worst = max((output["relative"] for output in check["outputs"]), default=0.0)
        stepped = ", by mean error" if any("rounds to steps" in output.get("problem", "") for output in check["outputs"]) else ""
        return f"verified{stepped}, {worst:.1e}, {target['operator_count']} ops", ""
    if said.get("problems"):
        ops = sorted({(problem["op"], problem["why"]) for problem in said["problems"]})
        return "refused", "; ".join(f"`{op}`: {why}" for op, why in ops)
    why = said.get("why") or said.get("where") or ""
    return ("wrong" if code == 1 else "refused"), f"{said.get('what', '')} {why}".strip()


def describe(source: Path) -> tuple[str, str]:
    """(what opening it shows, what stands in the way)."""
    code, said = run("inspect", source)
    return ("opens", "") if code == 0 else ("refused", f"{said.get('what', '')} {said.get('why') or ''}".strip())


def try_all(folder: Path, wanted: str | None) -> list[Entry]:
    entries = list(models(folder, wanted))
    for entry in entries:
        entry.opened, obstacle = describe(folder / entry.path)
        if obstacle:
            entry.obstacles["inspect"] = obstacle
        if entry.weights_only:
            entry.outcomes = dict.fromkeys(TARGETS, "weights only")
            continue
        for kind, name in TARGETS.items():
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    code, said = run("convert", folder / entry.path, "-o", Path(scratch) / name, *entry.options.split())
                except subprocess.TimeoutExpired:
                    entry.outcomes[kind], entry.obstacles[kind] = "too slow", f"not done after {PATIENCE} s"
                    continue
            entry.outcomes[kind], entry.obstacles[kind] = judge(code, said)
            missing = missing_ops(folder / entry.path, kind) if code == 2 and not entry.options else ""
            if missing:
                entry.obstacles[kind] = f"it lacks {missing}"
            print(entry.path, kind, entry.outcomes[kind], entry.obstacles[kind][:200], sep="\t", file=sys.stderr)
    return entries


def clean(text: str, folder: Path, limit: int = 400) -> str:
    """One line for a page: no machine paths, no newlines."""
    text = " ".join(re.sub(rf"{re.escape(tempfile.gettempdir())}/\w+/", "", text.replace(f"{folder}/", "")).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def title(entry: Entry) -> str:
    return f"`{entry.path}`" + (f" with `{entry.options}`" if entry.options else "")


def render(entries: list[Entry], folder: Path) -> str:
    opened = len({each.path for each in entries if each.opened == "opens"})
    models_only = len({each.path for each in entries if not each.weights_only})
    verified = {kind: len({each.path for each in entries if each.outcomes[kind].startswith("verified")}) for kind in TARGETS}
    count = len({entry.path for entry in entries})
    lines = [
        "# Real models",
        "",
        "Models of every kind that others trained, converted as they are; those of weights without a structure are only opened.",
        "Made by `python benchmarks/model_table.py`; do not edit.",
        "",
        f"Of {count} sources {opened} open. Of the {models_only} that hold a model, LiteRT verifies {verified['tflite']} and "
        f"TensorFlow.js {verified['tfjs']}.",
        "The figure is the largest error of any output relative to its largest reference value; then the operators of the result.",
        "A quantised model that may round to other steps on the way is verified by mean error and direction where it differs.",
        "",
        "| model | what | LiteRT | TensorFlow.js |",
        "|---|---|---|---|",
    ]
    lines += [f"| {title(entry)} | {entry.what} | {entry.outcomes['tflite']} | {entry.outcomes['tfjs']} |" for entry in entries]
    lines += ["", "## What stands in the way", ""]
    for entry in entries:
        reasons = {kind: clean(reason, folder) for kind, reason in entry.obstacles.items() if reason}
        if len(set(reasons.values())) == 1 and len(reasons) > 1:
            lines.append(f"- {title(entry)}: {next(iter(reasons.values()))}")
        else:
            lines += [f"- {title(entry)}, {TITLES[kind]}: {reason}" for kind, reason in reasons.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=MODELS)
    parser.add_argument("--kind", help="only models of this kind of the manifest; the page is not written")
    told = parser.parse_args()
    if not (told.folder / "MANIFEST.tsv").is_file():
        raise SystemExit(f"no models at {told.folder}")
    page = render(try_all(told.folder, told.kind), told.folder)
    if told.kind:
        print(page)
    else:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
