"""Models from addresses: what a server may answer, and what becomes of it. Nothing but a local server is asked."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import answering
import tensorferry
from answering import Server, cut, elsewhere, endless, serving, silent, slow
from fuzzing.seeds import build_net, files_in, tarred, zipped
from tensorferry.conversion import inspect
from tensorferry.download import client, download
from tensorferry.download.addresses import address_of, beside, is_address, plain_name
from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.writers.graphdef import write_graphdef
from tensorferry.writers.tfjs import write_tfjs


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def private(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("private")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("graph") / "net.pb"
    write_graphdef(build_net(), path)
    return path.read_bytes()


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("web")
    write_tfjs(build_net(), folder, shard_size=400)
    return files_in(folder)


def outputs(path: object, **keywords: object) -> list[str]:
    return [port.name for port in inspect(path, **keywords).outputs]


def test_a_graph_and_archives_at_an_address(server: Server, graph: bytes, tmp_path: Path) -> None:
    server.answers |= {
        "/a/net.pb": graph,
        "/net.zip": zipped({"x/net.pb": graph, "y/net.pb": graph}),
        "/t": tarred({"net.pb": graph}),
    }
    inspection = inspect(f"{server.address}/a/net.pb?version=3")
    assert inspection.source.path == f"{server.address}/a/net.pb?version=3"
    assert inspection.source.size == len(graph)
    assert server.asked[0][0] == "/a/net.pb?version=3"
    assert outputs(Path(f"{server.address}/a/net.pb")) == ["scores"]  # a path type has made one slash of two
    assert inspect(f"{server.address}/net.zip!y/net.pb").source.path == f"{server.address}/net.zip!y/net.pb"
    with pytest.raises(SourceError, match="holds 2 models") as caught:
        inspect(f"{server.address}/net.zip")
    assert f"'{server.address}/net.zip!x/net.pb'" in caught.value.remedy
    assert inspect(f"{server.address}/t?tf-hub-format=compressed").source.format == "TensorFlow GraphDef, in a tar archive"
    report = tensorferry.convert(f"{server.address}/a/net.pb", tmp_path / "net.tflite")
    assert report.source.path == f"{server.address}/a/net.pb"
    assert tensorferry.verify(f"{server.address}/a/net.pb", tmp_path / "net.tflite").verified


def test_files_of_weights_come_from_beside_the_model(server: Server, web: dict[str, bytes], tmp_path: Path) -> None:
    server.answers |= {f"/m/{name}": data for name, data in web.items()}
    told: list[str] = []
    report = tensorferry.convert(f"{server.address}/m/model.json?key=a%20b", tmp_path / "net.tflite", progress=told.append)
    assert report.targets[0].check.status == "verified"
    assert sorted(path for path, _ in server.asked) == sorted(f"/m/{name}?key=a%20b" for name in web)
    assert "download model.json" in told
    share = next(each for each in told if each == "download group1-shard1of2.bin")
    assert share.total == 400


ELSEWHERE = (
    "../secret", "/etc/passwd", "http://127.0.0.1:9/x", "//other.host/x", "a/../../b", "%2e%2e/x", "a\\b", "c:x", "x?y=z", "x#y",
    "", "a//b", ".", "a\nb", 3, None, "model.json",
)  # fmt: skip


@pytest.mark.parametrize("name", ELSEWHERE)
def test_no_name_leads_elsewhere(server: Server, web: dict[str, bytes], name: object) -> None:
    model = json.loads(web["model.json"])
    model["weightsManifest"][0]["paths"] = ["group1-shard1of2.bin", name]
    server.answers |= {"/m/model.json": json.dumps(model).encode(), "/m/group1-shard1of2.bin": bytes(400), "/secret": b"x"}
    with pytest.raises(SourceError):
        inspect(f"{server.address}/m/model.json")
    assert [path for path, _ in server.asked] == ["/m/model.json"]


def test_what_servers_do_wrong(server: Server, graph: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.5)
    server.answers |= {
        "/short": cut(graph, 100),
        "/long": cut(graph, len(graph), length=50),
        "/endless": endless,
        "/slow": slow(0.05),
        "/silent": silent,
        "/loop": elsewhere("/loop"),
        "/ping": elsewhere("/pong"),
        "/pong": elsewhere("/ping"),
        "/file": elsewhere("file:///etc/passwd"),
        "/ftp": elsewhere("ftp://127.0.0.1/x"),
        "/page": b"<!DOCTYPE html><html>Not here</html>",
        "/empty": b"",
    }
    for number in range(10):
        server.answers[f"/chain{number}"] = elsewhere(f"/chain{number + 1}")
    get = functools.partial(download, target=tmp_path / "x", most=1 << 20, timeout=1.0)
    for name, why in {
        "/short": "100 of",
        "/endless": "larger than 1048576 bytes",
        "/slow": "bytes came in",
        "/silent": "timed out",
        "/loop": "redirect",
        "/ping": "redirect",
        "/chain0": "redirect",
        "/file": "is not allowed",
        "/ftp": "neither http nor https",
        "/missing": "answers 404",
    }.items():
        start = time.monotonic()
        with pytest.raises(SourceError) as caught:
            get(server.address + name)
        assert why in str(caught.value), name
        assert time.monotonic() - start < 5
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(FerryError):  # cut where the server says that it ends: what came is no model
        inspect(f"{server.address}/long")
    with pytest.raises(SourceError, match="HTML page") as caught:
        inspect(f"{server.address}/page")
    assert f"'{server.address}/page'" in caught.value.what
    with pytest.raises(SourceError, match="is empty"):
        inspect(f"{server.address}/empty")


def test_limits_and_checksums(server: Server, graph: bytes, web: dict[str, bytes], tmp_path: Path) -> None:
    server.answers |= {"/net.pb": graph, **{f"/{name}": data for name, data in web.items()}}
    digest = hashlib.sha256(graph).hexdigest()
    assert outputs(f"{server.address}/net.pb", sha256=digest.upper()) == ["scores"]
    with pytest.raises(SourceError, match="is not the file expected") as caught:
        outputs(f"{server.address}/net.pb", sha256="0" * 64)
    assert digest in caught.value.why
    with pytest.raises(OptionError, match="is no sha256"):
        outputs(f"{server.address}/net.pb", sha256="abc")
    with pytest.raises(SourceError, match="larger than") as caught:
        outputs(f"{server.address}/net.pb", max_download=len(graph) - 1)
    assert "--max-download" in caught.value.remedy
    with pytest.raises(SourceError, match="larger than"):  # all files of a model together
        outputs(f"{server.address}/model.json", max_download=len(web["model.json"]) + 500)
    (tmp_path / "net.pb").write_bytes(graph)
    assert outputs(tmp_path / "net.pb", sha256=digest) == ["scores"]
    with pytest.raises(SourceError, match="is not the file expected"):
        outputs(tmp_path / "net.pb", sha256="0" * 64)
    with pytest.raises(OptionError, match="is a folder"):
        outputs(tmp_path, sha256="0" * 64)


def test_from_https_to_http_is_refused() -> None:
    import urllib.request  # noqa: PLC0415

    request = urllib.request.Request("https://127.0.0.1/net.pb")
    with pytest.raises(SourceError) as caught:
        client._Redirects().redirect_request(request, None, 302, "Found", {}, "http://127.0.0.1/net.pb")
    assert "from https to http" in caught.value.why
    followed = client._Redirects().redirect_request(request, None, 302, "Found", {}, "/other.pb")
    assert followed is not None and followed.full_url == "https://127.0.0.1/other.pb"


def test_without_a_network_the_address_is_named() -> None:
    with pytest.raises(SourceError, match="cannot be downloaded") as caught:
        inspect("http://127.0.0.1:9/net.pb")
    assert "http://127.0.0.1:9/net.pb elsewhere and name that file" in caught.value.remedy


def test_addresses() -> None:
    assert address_of("HTTPS:/example.org/a b/ü?x=1&y=a b#part") == "https://example.org/a%20b/%C3%BC?x=1&y=a%20b"
    assert address_of("http://[::1]:8080/x").startswith("http://[::1]:8080/")
    assert not any(map(is_address, ("c:/x", "c:\\x", "net.pb", "/x", "a:b")))
    for bad in ("file:///etc/passwd", "ftp://x/y", "data:/,x", "http://", "http://x:99999/", "http://user:word@x/", "gopher://x"):
        with pytest.raises(SourceError):
            address_of(bad)
    assert [plain_name(f"http://x/{name}") for name in ("a/model.json?x", "..%2f..%2fx", "", "%00", "a!b")] == [
        "model.json", ".._.._x", "model", "_", "a_b",
    ]  # fmt: skip
    assert beside("http://x/a/model.json?k=1", "b/c d.bin") == "http://x/a/b/c%20d.bin?k=1"


# -- going on after a cut ------------------------------------------------------------------------------------------


def test_a_cut_download_goes_on(server: Server, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    target = tmp_path / "x"
    server.answers["/x"] = cut(data, 200_000)
    with pytest.raises(SourceError, match="cannot be downloaded"):
        download(f"{server.address}/x", target, resume=True)
    assert not target.exists()
    assert (tmp_path / "x.part").stat().st_size == 200_000
    server.answers["/x"] = data
    assert download(f"{server.address}/x", target, resume=True) == hashlib.sha256(data).hexdigest()
    assert server.asked[-1][1]["Range"] == "bytes=200000-"
    assert target.read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("change", ["another file", "no ranges", "wrong range", "416", "longer than it was", "another address"])
def test_a_rest_that_does_not_fit_is_not_taken(server: Server, tmp_path: Path, change: str) -> None:
    data, other = os.urandom(300_000), os.urandom(150_000)
    target = tmp_path / "x"
    server.answers["/x"] = cut(data, 200_000)
    with pytest.raises(SourceError):
        download(f"{server.address}/x", target, resume=True)

    def wrong(handler: answering.Handler) -> None:
        if "Range" not in handler.headers:
            handler.give(data)
            return
        handler.send_response(416 if change == "416" else 206)
        handler.send_header("Content-Range", "bytes 5-9/10")
        handler.send_header("Content-Length", "5")
        handler.end_headers()
        handler.wfile.write(b"wrong")

    expected = other if change == "another file" else data
    server.answers["/x"] = expected if change == "another file" else wrong
    if change == "no ranges":
        server.answers["/x"] = lambda handler: handler.give(data, ranges=False)
    if change == "longer than it was":
        with (tmp_path / "x.part").open("ab") as file:
            file.write(bytes(200_000))
        server.answers["/x"] = lambda handler: handler.send_error(416) if "Range" in handler.headers else handler.give(data)
    address = f"{server.address}/x"
    if change == "another address":
        server.answers["/y"], address = data, f"{server.address}/y"
    assert download(address, target, resume=True) == hashlib.sha256(expected).hexdigest()
    assert target.read_bytes() == expected
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.answers["/x"] = b"words"
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(SourceError, match="is not the file expected"):
        download(f"{server.address}/x", tmp_path / "x", sha256="0" * 64, resume=True)
    assert (tmp_path / "x").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_the_command_line_reads_addresses(server: Server, graph: bytes, tmp_path: Path) -> None:
    server.answers["/net.pb"] = graph
    command = [sys.executable, "-m", "tensorferry"]
    done = subprocess.run(
        [*command, "inspect", f"{server.address}/net.pb", "--json", "--sha256", hashlib.sha256(graph).hexdigest()],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["source"]["path"] == f"{server.address}/net.pb"
    done = subprocess.run(
        [*command, "convert", f"{server.address}/missing.pb", "-o", str(tmp_path / "x.tflite")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "404" in done.stderr and "internal error" not in done.stderr
    assert list(tmp_path.iterdir()) == []
