"""One mutated model in a process of its own limits: what became of it, how long it took, how much memory, what it touched."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzzing.mutation import Files

MOST_SECONDS = 5.0
MOST_MEMORY = 1 << 30
_FORBIDDEN = (
    "pickle.find_class",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
    "shutil.unpack_archive",
)
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class TooLongError(BaseException):
    """Raised by the clock."""


class TouchedError(BaseException):
    """Something was done that reading a model never does."""


@dataclass
class Outcome:
    """`fault` is empty when all is well."""

    read: bool
    seconds: float
    memory: int
    fault: str = ""


class Judge:
    """Reads models in a folder of its own; anything written elsewhere is seen by Python's audit events."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.source, self.target = self.folder / "source", self.folder / "target"
        self._watching = False
        self.temporary = self.folder / "temporary"
        self.temporary.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(self.temporary)
        self._allowed = (str(self.target), tempfile.tempdir)
        self._prepare()
        sys.addaudithook(self._see)
        held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (held + MOST_MEMORY, held + MOST_MEMORY))
        signal.signal(signal.SIGALRM, _stop)

    def _prepare(self) -> None:
        import tensorferry.conversion  # noqa: PLC0415 - all that is imported later is within the limits of one model
        import tensorferry.inspection  # noqa: PLC0415, F401

        gc.freeze()  # collecting garbage looks at what one model left, not at all modules

    def _see(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching:
            return
        if event in _FORBIDDEN:
            raise TouchedError(f"{event} {arguments!r}")
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING:
            self._check_place(arguments[0])
        elif event in ("os.mkdir", "os.rename", "os.symlink", "os.link", "os.chmod"):
            self._check_place(arguments[1] if event in ("os.rename", "os.symlink", "os.link") else arguments[0])
        elif event in ("os.remove", "os.rmdir") and arguments[1] == -1:  # else the folder is known by its handle
            self._check_place(arguments[0])

    def _check_place(self, place: object) -> None:
        if not isinstance(place, str | bytes | os.PathLike):
            return  # a handle, opened before
        path = os.path.realpath(os.fsdecode(place))
        if path != os.devnull and not path.endswith(".pyc") and not path.startswith(self._allowed):
            raise TouchedError(f"'{path}' was written")

    def judge(self, files: Files, main: str, options: dict[str, str]) -> Outcome:
        """Inspect and freeze the model; `options` name files of it."""
        shutil.rmtree(self.source, ignore_errors=True)
        shutil.rmtree(self.target, ignore_errors=True)
        self.target.mkdir(parents=True)
        for name, data in files.items():
            place = self.source / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
        given = {key: str(self.source / value) if key == "checkpoint" else value for key, value in options.items()}
        Path("/proc/self/clear_refs").write_text("5")
        before = _memory("VmRSS")
        start = time.perf_counter()
        read, fault = self._read(self.source / main if main else self.source, given)
        seconds = time.perf_counter() - start
        memory = max(0, _memory("VmHWM") - before)
        left = [path.name for path in self.temporary.iterdir()]
        if not fault and seconds > MOST_SECONDS:
            fault = f"took {seconds:.1f} s"
        if not fault and left:
            fault = f"left {left} behind"
        if left:
            shutil.rmtree(self.temporary)
            self.temporary.mkdir()
        return Outcome(read, seconds, memory, fault)

    def _read(self, path: Path, options: dict[str, str]) -> tuple[bool, str]:
        from tensorferry.conversion import freeze, inspect  # noqa: PLC0415
        from tensorferry.errors import FerryError  # noqa: PLC0415

        self._watching = True
        signal.setitimer(signal.ITIMER_REAL, 2 * MOST_SECONDS)
        try:
            inspect(path, **{key: value for key, value in options.items() if key != "checkpoint"})
            freeze(path, self.target / "frozen.pb", **options)
        except FerryError as error:
            str(error)
            return False, ""
        except (Exception, TooLongError, TouchedError, SystemExit):
            return False, traceback.format_exc(limit=-6)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._watching = False
        return True, ""


def _stop(_number: int, _frame: object) -> None:
    raise TooLongError


def _memory(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024
