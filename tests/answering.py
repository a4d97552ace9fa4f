"""A local HTTP server that answers as it is told: right, short, endless, slow, elsewhere."""

from __future__ import annotations

import hashlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Answer = Callable[["Handler"], None]


class Handler(http.server.BaseHTTPRequestHandler):
    """Looks up the path, without its query, among the server's answers."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, dict(self.headers)))
        self.close_connection = True
        answer = self.server.answers.get(self.path.partition("?")[0])
        try:
            if answer is None:
                self.send_error(404)
            elif callable(answer):
                answer(self)
            else:
                self.give(answer)
        except (BrokenPipeError, ConnectionResetError):
            pass  # whoever asked has had enough

    def give(self, data: bytes, *, ranges: bool = True) -> None:
        mark = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        wanted = self.headers.get("Range") if ranges and self.headers.get("If-Range") == mark else None
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("ETag", mark)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:])

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    """`answers`: path -> bytes, or a function of the handler; `asked`: (path, headers) of every request."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, bytes | Answer] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def cut(data: bytes, after: int, *, length: int | None = None) -> Answer:
    """Claims the whole, or `length`, and ends after some bytes."""

    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()[:16]}"')
        handler.send_header("Content-Length", str(len(data) if length is None else length))
        handler.end_headers()
        handler.wfile.write(data[:after])

    return answer


def endless(handler: Handler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(bytes(1 << 16))


def slow(seconds: float) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        for _ in range(1000):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(seconds)

    return answer


def silent(handler: Handler) -> None:
    time.sleep(3)


def elsewhere(target: str, code: int = 302) -> Answer:
    def answer(handler: Handler) -> None:
        handler.send_response(code)
        handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer
