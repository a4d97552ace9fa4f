"""TensorFlow.js in Chromium, to be timed: a page of ours, served to a browser without a window, asks for what to do.

The server listens on this machine alone, under an address that nobody else knows, and ends with the page.
"""

from __future__ import annotations

import json
import os
import queue
import re
import secrets
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tensorferry.errors import FerryError, OptionError
from tensorferry.runtimes.tfjs import ASSETS, Feed, TfjsTiming, TimingPlan, model_file
from tensorferry.tensor import Array

NAME = "Chromium"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PATIENCE = 600.0
START = 60.0
"""Seconds until the page must have asked for its first task."""

_PAGE = "tfjs_bench.js"
_WASM = "tfjs-backend-wasm-simd.wasm"
_HTML = f'<!doctype html><meta charset="utf-8"><script src="{_PAGE}"></script>'.encode()
_FLAGS = (
    *("--headless", "--disable-gpu", "--no-first-run", "--disable-background-timer-throttling", "--disable-renderer-backgrounding"),
    *("--disable-extensions", "--disable-sync", "--disable-component-update", "--disable-background-networking"),
)
_HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",  # lets the page's clock count in microseconds
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cache-Control": "no-store",
}


def available() -> str | None:
    """None when a page can be run here, else the reason and the remedy."""
    if not (ASSETS / _PAGE).is_file():
        return "its page is missing from this installation (in a checkout: python scripts/build_js.py)"
    if _find_browser() is None:
        return f"there is no browser (install Chromium; looked for are {', '.join(BROWSERS)})"
    return None


def _find_browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Page:
    """A browser with one model, which is loaded with the first timing and stays."""

    def __init__(self, path: str | os.PathLike[str], inputs: Mapping[str, Array], backend: str) -> None:
        missing = available()
        if missing:
            raise OptionError(f"{NAME} cannot be run", why=missing)
        self._model = model_file(path)
        self._feeds = [Feed.of(name, array) for name, array in inputs.items()]
        self._backend = backend
        self._server: _Server | None = None
        self._browser: subprocess.Popen[bytes] | None = None
        self._profile = tempfile.TemporaryDirectory(prefix="tensorferry-", ignore_cleanup_errors=True)

    def time(self, plan: TimingPlan) -> TfjsTiming:
        """Run the model several times and measure. Raises FerryError with what TensorFlow.js says."""
        server = self._start()
        server.tasks.put(
            {
                "backend": self._backend,
                "inputs": [feed.header for feed in self._feeds],
                "runs": plan.runs,
                "seconds": plan.seconds,
                "profiled": plan.profiled,
            }
        )
        answer = self._wait(server)
        if "error" in answer:
            raise FerryError(f"{NAME} cannot run '{self._model}'", why=str(answer["error"])[:500])
        if answer["backend"] != self._backend:
            raise FerryError(f"{NAME} cannot run '{self._model}'", why=f"it ran the backend {answer['backend']}")
        found = re.search(r"Chrom\w*/([\d.]+)", str(answer["browser"]))
        return TfjsTiming(
            runtime=f"TensorFlow.js {answer['version']} ({NAME} {found[1] if found else 'of an unknown version'})",
            load=answer["load"],
            first=answer["first"],
            times=tuple(answer["times"]),
            kernels=tuple((each["name"], each["count"], tuple(each["times"])) for each in answer["kernels"]),
            memory=None,
        )

    def _wait(self, server: _Server) -> dict[str, Any]:
        if not server.asked.wait(START):
            raise FerryError(f"{NAME} did not load the page in {START:g} seconds", remedy="see whether it starts at all")
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(queue.Empty):
                return server.answers.get(timeout=1.0)
            if self._browser is None or self._browser.poll() is not None:
                raise FerryError(f"{NAME} did not finish running '{self._model}'", why="the browser has ended")
        raise FerryError(f"{NAME} did not finish running '{self._model}'", why=f"it took over {PATIENCE:g} seconds")

    def _start(self) -> _Server:
        if self._server is None:
            self._server = _Server(self._model.parent, b"".join(feed.data for feed in self._feeds))
            threading.Thread(target=self._server.serve_forever, daemon=True).start()
            browser = _find_browser()
            assert browser is not None
            root = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # it refuses to have one then
            self._browser = subprocess.Popen(
                [browser, *_FLAGS, *root, f"--user-data-dir={self._profile.name}", self._server.address],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        return self._server

    def close(self) -> None:
        if self._server is not None:
            self._server.tasks.put(None)
            self._server.shutdown()
            self._server.server_close()
        if self._browser is not None:
            self._browser.kill()
            self._browser.wait()
        self._profile.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    """Hands out the page, the model's files, and a task whenever there is one."""

    daemon_threads = True

    def __init__(self, folder: Path, inputs: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder, self.inputs = folder, inputs
        self.secret = secrets.token_urlsafe(16)
        self.tasks: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self.asked = threading.Event()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{self.secret}/"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        name = self._name()
        if name == "":
            self._send(_HTML, "text/html")
        elif name == _PAGE:
            self._send((ASSETS / _PAGE).read_bytes(), "text/javascript")
        elif name == _WASM:
            self._send((ASSETS / _WASM).read_bytes(), "application/wasm")
        elif name == "inputs":
            self._send(self.server.inputs, "application/octet-stream")
        elif name == "task":
            self.server.asked.set()
            self._send(json.dumps(self.server.tasks.get()).encode(), "application/json")
        elif name is not None and name.startswith("model/"):
            self._send_file(name.removeprefix("model/"))
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        if self._name() != "answer":
            self.send_error(404)
            return
        self.server.answers.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._send(b"", "text/plain")

    def _name(self) -> str | None:
        """The path behind the secret; None for a request that does not know it."""
        _, secret, *rest = self.path.split("/", 2)
        return rest[0] if secret == self.server.secret and rest else None

    def _send_file(self, name: str) -> None:
        """A file of the model's own folder, and of no other."""
        names = {each.name: each for each in self.server.folder.iterdir() if each.is_file()}
        if name not in names:
            self.send_error(404)
            return
        with names[name].open("rb") as file:
            self._begin(names[name].stat().st_size, "application/json" if name.endswith(".json") else "application/octet-stream")
            shutil.copyfileobj(file, self.wfile)

    def _send(self, content: bytes, kind: str) -> None:
        with suppress(BrokenPipeError, ConnectionError):
            self._begin(len(content), kind)
            self.wfile.write(content)

    def _begin(self, length: int, kind: str) -> None:
        self.send_response(200)
        for key, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(length)}.items():
            self.send_header(key, value)
        self.end_headers()

    def log_message(self, *_words: Any) -> None:
        pass
