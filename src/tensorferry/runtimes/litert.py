"""LiteRT: the runtime that runs TensorFlow Lite files on phones, here through its Python package."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from tensorferry.errors import FerryError, OptionError
from tensorferry.runtimes import Run
from tensorferry.tensor import Array

NAME = "LiteRT"

_LOG_LINE = re.compile(rb"(INFO|WARNING|ERROR|VERBOSE): ")
_stderr_lock = threading.RLock()


def available() -> str | None:
    """None when a model can be run here, else the reason and the remedy."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        return "the package ai-edge-litert is not installed (pip install ai-edge-litert; there is none for some systems)"
    return None


def run(
    path: str | os.PathLike[str],
    inputs: Mapping[str, Array],
    *,
    keep_intermediates: bool = False,
    threads: int = 1,
    signature: str | None = None,
) -> Run:
    """Run a file once, by the names of its (first) signature. Raises FerryError with LiteRT's message."""
    with LiteRtModel(path, threads=threads, keep_intermediates=keep_intermediates, signature=signature) as model:
        outputs = model.run(inputs)
        found = model.intermediates() if keep_intermediates else {}
        return Run(outputs, f"{NAME} {model.version} ({model.backend})", found, model.grids)


def run_in_turn(path: str | os.PathLike[str], calls: Sequence[Mapping[str, Array]], *, signature: str | None = None) -> list[Run]:
    """Run a file several times; its variables live on from one call to the next."""
    with LiteRtModel(path, signature=signature) as model:
        return [Run(model.run(inputs), f"{NAME} {model.version} ({model.backend})", {}, model.grids) for inputs in calls]


def run_plain(path: str | os.PathLike[str], inputs: Mapping[str, Array], *, signature: str | None = None) -> Run:
    """Run on the runtime's own kernels, without XNNPACK."""
    with LiteRtModel(path, xnnpack=False, signature=signature) as model:
        return Run(model.run(inputs), f"{NAME} {model.version} ({model.backend})", {}, model.grids)


def read_ports(path: str | os.PathLike[str], *, signature: str | None = None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The public names of the file's inputs and outputs, in its order."""
    with LiteRtModel(path, signature=signature) as model:
        return tuple(slot.name for slot in model.inputs), tuple(slot.name for slot in model.outputs)


@dataclass(frozen=True, slots=True)
class Slot:
    """An input or output: its public name, its tensor's number and name, and its shape (-1: unknown).

    `grid`: scale and zero point where its whole numbers stand for real ones.
    """

    name: str
    number: int
    tensor: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    grid: tuple[float, int] | None = None


class LiteRtModel:
    """A loaded file. `inputs` and `outputs` stand in the file's order, under the names of its first signature, or of `signature`.

    With `keep_intermediates` the default kernels run, one operator after the other, and every tensor can be read afterwards;
    else XNNPACK takes what it can unless `xnnpack` is off. Not to be used by several threads at once.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        threads: int = 1,
        keep_intermediates: bool = False,
        xnnpack: bool = True,
        signature: str | None = None,
    ) -> None:
        missing = available()
        if missing:
            raise OptionError(f"{NAME} cannot be run", why=missing)
        self.path = os.fspath(path)
        if self.path != self.path.encode("utf-8", "replace").decode():
            raise FerryError(f"{NAME} cannot load '{self.path}'", why="its name is no text", remedy="give the file another name")
        self.version = importlib.metadata.version("ai-edge-litert")
        with self._failing("cannot load"):
            from ai_edge_litert import interpreter  # noqa: PLC0415 - a fifth of a second

            kinds = interpreter.OpResolverType
            plain = keep_intermediates or not xnnpack
            self._interpreter: Any = interpreter.Interpreter(
                self.path,
                num_threads=threads,
                experimental_op_resolver_type=kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if plain else kinds.AUTO,
                experimental_preserve_all_tensors=keep_intermediates,
            )
        self._keeps = keep_intermediates
        self._allocated = False
        with self._failing("cannot load"):  # names and numbers in a damaged file can be anything
            signatures = self._interpreter.get_signature_list()
            first = next(iter(signatures), None)
            if signature is not None and signature not in signatures:
                raise ValueError(f"it has no signature '{signature}'; there are {', '.join(signatures) or 'none'}")
            signature = signature or first
            runner = self._interpreter.get_signature_runner(signature) if signature is not None else None
            self.signature: str | None = signature
            self._runner = runner if signature != first else None  # the first one's graph is what the interpreter itself runs
            if runner is not None and self._runner is not None:
                self.inputs = _slots(list(runner.get_input_details().values()), runner.get_input_details())
                self.outputs = _slots(list(runner.get_output_details().values()), runner.get_output_details())
                return
            details = self._interpreter.get_input_details()
            self._shapes = {int(each["index"]): tuple(map(int, each["shape"])) for each in details}
            self.inputs = _slots(details, runner and runner.get_input_details())
            self.outputs = _slots(self._interpreter.get_output_details(), runner and runner.get_output_details())

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by public name, in order. Inputs of unknown size take the size of the arrays."""
        self._check_names(inputs)
        arrays = {slot: self._fit(slot, inputs[slot.name]) for slot in self.inputs}
        if self._runner is not None:
            with self._failing("cannot run"):
                results = self._runner(**{slot.name: array for slot, array in arrays.items()})
                return {slot.name: np.asarray(results[slot.name]) for slot in self.outputs}
        with self._failing("cannot run"):
            for slot, array in arrays.items():
                if array.shape != self._shapes[slot.number]:
                    self._interpreter.resize_tensor_input(slot.number, array.shape)
                    self._shapes[slot.number] = array.shape
                    self._allocated = False
            if not self._allocated:
                self._interpreter.allocate_tensors()
                self._allocated = True
            for slot, array in arrays.items():
                self._interpreter.set_tensor(slot.number, array)
            self._interpreter.invoke()
            return {slot.name: self._read(slot.number, slot.dtype) for slot in self.outputs}

    def time(self, inputs: Mapping[str, Array], runs: int, seconds: float) -> list[float]:
        """Milliseconds of at most `runs` further runs, in about so many seconds, at least one. Of a file's first signature, after
        a first `run`: what is measured is the run alone, without handing over inputs and outputs."""
        if self._runner is not None or not self._allocated:
            raise FerryError(f"{NAME} times a file's first signature, after a first run")
        arrays = {slot.number: self._fit(slot, inputs[slot.name]) for slot in self.inputs}
        times: list[float] = []
        with self._failing("cannot run"):
            end = time.perf_counter() + seconds
            while len(times) < runs and (not times or time.perf_counter() < end):
                for number, array in arrays.items():
                    self._interpreter.set_tensor(number, array)
                start = time.perf_counter()
                self._interpreter.invoke()
                times.append((time.perf_counter() - start) * 1000)
        return times

    def run_real(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """As `run`; outputs whose whole numbers stand for real ones are given as float32."""
        results = self.run(inputs)
        return {
            slot.name: results[slot.name] if slot.grid is None else _real(results[slot.name], *slot.grid) for slot in self.outputs
        }

    def intermediates(self) -> dict[str, Array]:
        """After a run with `keep_intermediates`: every tensor that has a name and a value, constants included."""
        return dict(self.tensors().all())

    def tensors(self) -> Tensors:
        """The same, each copied only when it is asked for."""
        if self._runner is not None:
            raise FerryError(f"{NAME} keeps the intermediate values of a file's first signature only")
        if not self._keeps:
            raise OptionError("intermediate values were not kept", remedy="load the model with keep_intermediates=True")
        with self._failing("cannot describe"):
            return Tensors(self._interpreter)

    @property
    def grids(self) -> dict[str, tuple[float, int]]:
        """Scale and zero point of the outputs that are whole numbers and stand for real ones."""
        return {slot.name: slot.grid for slot in self.outputs if slot.grid is not None}

    @property
    def backend(self) -> str:
        """Who computes, known after the first run: XNNPACK, LiteRT's own kernels, or both with the counts of operators."""
        own, taken = self._delegated()
        if not taken:
            return "builtin kernels"
        return "XNNPACK" if len(taken) == own else f"XNNPACK {len(taken)} of {own} operators, builtin kernels the others"

    def delegated_operators(self) -> set[str]:
        """Kinds of operators that XNNPACK has taken over, known after the first run."""
        return set(self._delegated()[1])

    def _delegated(self) -> tuple[int, list[str]]:
        """How many operators there are, and the names of those that XNNPACK has taken over."""
        with self._failing("cannot describe"):
            operators = self._interpreter._get_ops_details()  # no public way
        delegates = [each for each in operators if each["op_name"] == "DELEGATE"]
        own = [each for each in operators if each["op_name"] != "DELEGATE"]
        return len(own), [own[index]["op_name"] for index in _between(own, delegates)]

    def _read(self, number: int, dtype: np.dtype[Any]) -> Array:
        try:
            return np.asarray(self._interpreter.get_tensor(number))
        except ValueError:  # LiteRT has no memory for a tensor without elements, and does not hand it out
            shape = tuple(map(int, self._interpreter._get_tensor_details(number, 0)["shape"]))
            if 0 in shape:
                return np.empty(shape, dtype)
            raise

    def _check_names(self, inputs: Mapping[str, Array]) -> None:
        known = [slot.name for slot in self.inputs]
        if set(inputs) != set(known):
            raise OptionError(
                f"{NAME} cannot run '{self.path}'",
                why=f"its inputs are {', '.join(known) or 'none'}; given are {', '.join(inputs) or 'none'}",
            )

    def _single_text(self, slot: Slot, array: Array) -> Array:
        """Of an object its Python interface writes the pointer; numpy's bytes are one at least."""
        text = array.item()
        text = text if isinstance(text, bytes) else str(text).encode()
        if not text:
            raise FerryError(f"{NAME} cannot run '{self.path}'", why=f"it takes no single empty string, as '{slot.name}' is")
        return np.ndarray((), f"S{len(text)}", text)

    def _fit(self, slot: Slot, array: Array) -> Array:
        array = np.asarray(array)
        if slot.dtype.kind in "OSU":
            return self._single_text(slot, array) if array.ndim == 0 else np.asarray(array, dtype=object)
        if array.dtype.kind == "f" and slot.dtype == np.float32:  # a source of another precision, narrowed when it was converted
            array = array.astype(np.float32)
        if array.dtype.kind == "f" and slot.grid is not None:
            array = _on_grid(array, slot)
        if array.dtype != slot.dtype:
            raise OptionError(
                f"{NAME} cannot run '{self.path}'", why=f"the input '{slot.name}' is {slot.dtype}; given is {array.dtype}"
            )
        # A shape without sizes is a scalar's, or an unknown rank's, which cannot be told apart here.
        fits = not slot.shape or (
            len(array.shape) == len(slot.shape) and all(a in (b, -1) for b, a in zip(array.shape, slot.shape, strict=True))
        )
        if not fits:
            raise OptionError(
                f"{NAME} cannot run '{self.path}'",
                why=f"the input '{slot.name}' has the shape {list(slot.shape)}; given is {list(array.shape)}",
            )
        return np.asarray(array, order="C")

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        """Keep LiteRT's log from the terminal, and make its exceptions ours."""
        with _captured_stderr() as log, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                yield
            except (RuntimeError, ValueError, MemoryError) as error:
                said = [line.removeprefix("ERROR: ") for line in log() if line.startswith("ERROR: ")]
                message = " ".join(str(error).split()) or " ".join(said) or type(error).__name__
                raise FerryError(f"{NAME} {what} '{self.path}'", why=message) from error

    def close(self) -> None:
        """Let go of the file and the memory."""
        self._interpreter = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Tensors(Mapping[str, Array]):
    """A loaded file's tensors by name, read when they are asked for; those without memory of their own (scratch) are left out."""

    def __init__(self, interpreter: Any) -> None:
        self._interpreter = interpreter
        self._numbers = {str(each["name"]): int(each["index"]) for each in interpreter.get_tensor_details()}

    def __getitem__(self, name: str) -> Array:
        try:
            return np.asarray(self._interpreter.get_tensor(self._numbers[name]))
        except ValueError as error:  # no memory of its own: a temporary of a kernel
            raise KeyError(name) from error

    def all(self) -> Iterator[tuple[str, Array]]:
        """Each name with its values."""
        for name in self._numbers:
            with suppress(KeyError):
                yield name, self[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self.all())

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _slots(details: list[dict[str, Any]], named: Mapping[str, dict[str, Any]] | None) -> tuple[Slot, ...]:
    """The signature's names in the order of the graph's own inputs or outputs."""
    order = {each["index"]: place for place, each in enumerate(details)}
    pairs = [(each["name"], each) for each in details] if named is None else list(named.items())
    pairs.sort(key=lambda pair: order.get(pair[1]["index"], len(order)))
    return tuple(
        Slot(
            name,
            int(each["index"]),
            each["name"],
            np.dtype(each["dtype"]),
            tuple(map(int, _signature_shape(each))),
            _grid_of(each),
        )
        for name, each in pairs
    )


def _grid_of(details: Mapping[str, Any]) -> tuple[float, int] | None:
    scale, zero_point = details.get("quantization", (0.0, 0))
    whole = np.dtype(details["dtype"]).kind in "iu"
    return (float(scale), int(zero_point)) if whole and scale else None


def _on_grid(array: Array, slot: Slot) -> Array:
    """Real numbers as the whole ones that an input takes; those beyond its range become its ends."""
    assert slot.grid is not None
    scale, zero_point = slot.grid
    ends = np.iinfo(slot.dtype)
    stored: Array = np.clip(np.rint(array.astype(np.float64) / scale) + zero_point, ends.min, ends.max).astype(slot.dtype)
    return stored


def _real(stored: Array, scale: float, zero_point: int) -> Array:
    return np.asarray((stored.astype(np.float32) - zero_point) * np.float32(scale))


def _signature_shape(details: Mapping[str, Any]) -> Any:
    signature = details["shape_signature"]
    return signature if len(signature) else details["shape"]


def _between(own: list[dict[str, Any]], delegates: list[dict[str, Any]]) -> set[int]:
    """Which operators lie between the inputs and outputs of delegate nodes, which stand in their place."""
    maker = {int(tensor): index for index, each in enumerate(own) for tensor in each["outputs"]}
    taken: set[int] = set()
    for delegate in delegates:
        edge = set(map(int, delegate["inputs"]))
        waiting = [int(tensor) for tensor in delegate["outputs"]]
        while waiting:
            index = maker.get(waiting.pop())
            if index is not None and index not in taken:
                taken.add(index)
                waiting += [int(tensor) for tensor in own[index]["inputs"] if int(tensor) not in edge]
    return taken


@contextmanager
def _captured_stderr() -> Iterator[Any]:
    """Point the process's stderr to a file for a while: LiteRT logs there from C++, and has no other way to be silenced.

    Yields a function that gives the lines so far. What others wrote meanwhile is passed on afterwards.
    """
    with _stderr_lock, tempfile.TemporaryFile() as file:
        try:
            sys.stderr.flush()
            saved = os.dup(2)
        except (OSError, ValueError, AttributeError):  # no stderr at all
            yield list
            return
        os.dup2(file.fileno(), 2)

        def lines() -> list[str]:
            file.seek(0)
            return file.read().decode("utf-8", "replace").splitlines()

        try:
            yield lines
        finally:
            sys.stderr.flush()
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            for line in file.read().splitlines(keepends=True):
                if not _LOG_LINE.match(line):
                    os.write(2, line)
