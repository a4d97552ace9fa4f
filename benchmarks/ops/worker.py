"""A child process of the bench: python -m ops.worker KIND WORK IDS RESULTS."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ops.case import Case
from ops.comparing import difference
from ops.freezing import Frozen, freeze, load_frozen
from ops.workers import Outcome, brief, serve
from tensorferry import ops as specifications
from tensorferry.conversion import load
from tensorferry.errors import FerryError, UnsupportedError
from tensorferry.passes import pipelines
from tensorferry.runtimes import litert, tfjs
from tensorferry.writers.tfjs import write_tfjs
from tensorferry.writers.tflite import write_tflite

JS_PATIENCE = 30.0


def freezer(work: Path) -> Callable[[str], Outcome]:
    """Make the case. `refused` here means that TensorFlow cannot build or run it: no case at all."""
    from ops.families import all_cases  # noqa: PLC0415 - imports TensorFlow

    cases: dict[str, Case] = {}

    def judge(identity: str) -> Outcome:
        if identity not in cases:
            cases.update({case.id: case for case in all_cases([identity.partition(".")[0]])})
        freeze(cases[identity], work)
        return {"status": "ok"}

    return judge


def official_tflite(work: Path) -> Callable[[str], Outcome]:
    """TFLiteConverter with builtins only, then LiteRT."""
    import tensorflow as tf  # noqa: PLC0415

    def convert(case: Frozen) -> bytes:
        definition = tf.compat.v1.GraphDef.FromString(case.graph.read_bytes())
        names = [f"{name}:0" for name in case.inputs]
        if case.form != "function":
            with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
                tf.import_graph_def(definition, name="")
                inputs = [graph.get_tensor_by_name(name) for name in names]
                outputs = [graph.get_tensor_by_name(name) for name in case.outputs]
                return bytes(tf.compat.v1.lite.TFLiteConverter.from_session(session, inputs, outputs).convert())
        wrapped = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
        function = wrapped.prune(names, list(case.outputs))
        return bytes(tf.lite.TFLiteConverter.from_concrete_functions([function], function).convert())

    def judge(identity: str) -> Outcome:
        case = load_frozen(work, identity)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.tflite")
            path.write_bytes(convert(case))
            return _run_tflite(case, path)

    return judge


def official_tfjs(work: Path) -> Callable[[str], Outcome]:
    """What the other environment's converter wrote, in TensorFlow.js."""
    session = tfjs.Session(timeout=JS_PATIENCE)

    def judge(identity: str) -> Outcome:
        folder = work / "web" / identity
        try:
            return _run_tfjs(load_frozen(work, identity), folder, session)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    return judge


def ours(work: Path, session: tfjs.Session | None = None) -> Callable[[str], Outcome]:
    """Tensorferry, to both targets from one reading."""
    running = session or tfjs.Session(timeout=JS_PATIENCE)

    def judge(identity: str) -> Outcome:
        case = load_frozen(work, identity)
        outcome: Outcome = {"status": "ok", "tflite": {}, "tfjs": {}}
        try:
            graph = load(case.graph, inputs=list(case.inputs), outputs=[name.removesuffix(":0") for name in case.outputs])
            pipelines.prepare(graph)
        except Exception as error:
            failed = {"status": "refused", "why": _reason(error)}
            return {"status": "ok", "tflite": failed, "tfjs": failed}
        for target, take in (("tflite", _ours_tflite), ("tfjs", _ours_tfjs)):
            try:
                finished = graph.copy()
                pipelines.finish(finished, target)
                with tempfile.TemporaryDirectory() as folder:
                    outcome[target] = take(case, finished, Path(folder), running)
            except Exception as error:
                outcome[target] = {"status": "refused", "why": _reason(error)}
        return outcome

    return judge


def _ours_tflite(case: Frozen, graph: Any, folder: Path, _session: tfjs.Session) -> Outcome:
    facts = write_tflite(graph, folder / "model.tflite")
    return {**_run_tflite(case, folder / "model.tflite"), "operators": sorted(facts.operators)}


def _ours_tfjs(case: Frozen, graph: Any, folder: Path, session: tfjs.Session) -> Outcome:
    facts = write_tfjs(graph, folder)
    return {**_run_tfjs(case, folder, session), "operators": sorted(facts.operators)}


def _run_tflite(case: Frozen, path: Path) -> Outcome:
    try:
        with litert.LiteRtModel(path) as model:
            types = {slot.name: slot.dtype for slot in model.inputs}
            names = [slot.name for slot in model.outputs]

            def run(arrays: Sequence[Any]) -> list[Any]:
                feeds = _feeds(case, arrays, types)
                outputs = model.run({name: _narrowed(array, types[name]) for name, array in feeds.items()})
                return _ordered(outputs, names, case.outputs)

            return _verdict(case, run)
    except (FerryError, ValueError, RuntimeError) as error:
        return {"status": "fails", "why": _reason(error)}


def _run_tfjs(case: Frozen, folder: Path, session: tfjs.Session) -> Outcome:
    try:
        inputs, names = _web_ports(folder)
        return _verdict(
            case, lambda arrays: _ordered(session.run(folder, _feeds(case, arrays, inputs)).outputs, list(names), case.outputs)
        )
    except FerryError as error:
        return {"status": "fails", "why": _reason(error)}


def _web_ports(folder: Path) -> tuple[list[str], list[str]]:
    """Inputs and outputs of a graph model; tensorflowjs writes no signature of inputs for a frozen graph, so they are looked up."""
    model = json.loads((folder / "model.json").read_bytes())
    placeholders = [node["name"] for node in model["modelTopology"]["node"] if node["op"].startswith("Placeholder")]
    return list(model["signature"].get("inputs", placeholders)), list(model["signature"]["outputs"])


def _feeds(case: Frozen, arrays: Sequence[Any], names: Iterable[str]) -> dict[str, Any]:
    """The arrays under the names that the file gives its inputs; converters may drop inputs, and add `:0`."""
    known = case.feeds(arrays)
    return {name: known[name.removesuffix(":0")] for name in names}


def _ordered(outputs: Any, names: list[str], wanted: tuple[str, ...]) -> list[Any]:
    """Outputs in the order of the case: by name where the file keeps names, else by its own order."""
    bare = {name.removesuffix(":0"): array for name, array in outputs.items()}
    keys = [name.removesuffix(":0") for name in wanted]
    return [bare[key] for key in keys] if set(keys) == set(bare) else [outputs[name] for name in names]


def _narrowed(array: Any, dtype: Any) -> Any:
    """Wider or narrower numbers of the same kind, as a file asks for them."""
    return array.astype(dtype) if array.dtype.kind in "iufc" and array.dtype.kind == dtype.kind else array


def _verdict(case: Frozen, run: Callable[[Sequence[Any]], list[Any]]) -> Outcome:
    """Right at every size that the case has. A run that fails raises."""
    for number, (arrays, expected) in enumerate(case.runs):
        why = difference(run(arrays), expected, values=case.comparison == "values")
        if why:
            return {"status": "wrong", "why": why + (", with twice the batch" if number else "")}
    return {"status": "ok"}


def _reason(error: BaseException) -> str:
    if isinstance(error, UnsupportedError):
        return " | ".join(f"{each.op}: {each.why}" for each in error.problems)[:600]
    if isinstance(error, FerryError):
        return " ".join(f"{error.what}: {error.where} {error.why}".split())[:600]
    return brief(error)


@cache
def _kinds() -> dict[str, Callable[[Path], Callable[[str], Outcome]]]:
    return {"freeze": freezer, "official_tflite": official_tflite, "official_tfjs": official_tfjs, "ours": ours}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    specifications.all_specs()
    serve(_kinds()[sys.argv[1]](Path(sys.argv[2])))
