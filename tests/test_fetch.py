"""Public models: fetched once, each file checked, cut downloads gone on with; nothing but a local server is asked."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from answering import Server, cut, serving
from fuzzing.seeds import build_net, files_in
from tensorferry.conversion import inspect
from tensorferry.download import cache_folder
from tensorferry.errors import OptionError, SourceError
from tensorferry.writers.tfjs import write_tfjs
from tensorferry.zoo import fetching
from tensorferry.zoo.fetching import Entry, fetch, known_models

MODELS = Path(__file__).parents[2] / "shared" / "models"
PINNED_HERE = {
    "posenet-coral-075-353x481": "posenet075_coral_353x481_quant/posenet_mobilenet_v1_075_353_481_quant.tflite",
    "mlperf-tiny-resnet8": "mlperf_resnet8_h5/pretrainedResnet.h5",
    "mlperf-tiny-person": "mlperf_vww_h5/vww_96.h5",
    "basic-pitch": "basic_pitch_tflite/nmp.tflite",
    "mini-xception-emotion": "fer2013_mini_xception_h5/fer2013_mini_XCEPTION.102-0.66.hdf5",
}
"""Single files of the shared models that the table pins."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving() as made:
        yield made


@pytest.fixture(autouse=True)
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TENSORFERRY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("web")
    write_tfjs(build_net(), folder, shard_size=400)
    return files_in(folder)


def offer(server: Server, files: dict[str, bytes]) -> None:
    server.answers |= {f"/m/{name}": data for name, data in files.items()}


def know(monkeypatch: pytest.MonkeyPatch, server: Server, pins: dict[str, str]) -> None:
    entry = Entry("net", f"{server.address}/m/model.json", pins, "MIT", "https://example.org/LICENSE", "a net")
    monkeypatch.setattr(fetching, "known_models", lambda: {"net": entry})


def digests(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


def test_fetched_once_and_checked(server: Server, web: dict[str, bytes], stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(server, web)
    know(monkeypatch, server, digests(web))
    fetched = fetch("net")
    assert fetched.checksums == "as stated"
    assert fetched.files == digests(web)
    assert fetched.bytes == sum(map(len, web.values()))
    assert Path(fetched.path) == stored / "net" / "model.json"
    assert [port.name for port in inspect(fetched.path).outputs] == ["scores"]
    assert names(stored) == {"net"}
    asked = len(server.asked)
    assert fetch("net").path == fetched.path
    assert len(server.asked) == asked
    (stored / "net" / "group1-shard1of2.bin").write_bytes(b"spoilt")
    fetch("net")
    assert (stored / "net" / "group1-shard1of2.bin").read_bytes() == web["group1-shard1of2.bin"]
    assert len(server.asked) > asked


def test_what_is_not_pinned_is_recorded_and_held_to(
    server: Server, web: dict[str, bytes], stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(server, web)
    know(monkeypatch, server, {})
    assert fetch("net").checksums == "not pinned: recorded now, compared from now on"
    assert fetch("net").checksums == "as at the first time"
    assert fetch("net", again=True).checksums == "as at the first time"
    server.answers["/m/group1-shard2of2.bin"] = bytes(len(web["group1-shard2of2.bin"]))
    with pytest.raises(SourceError, match=r"group1-shard2of2\.bin' is not the file expected"):
        fetch("net", again=True)
    assert files_in(stored / "net")["group1-shard2of2.bin"] == web["group1-shard2of2.bin"]


def test_a_wrong_file_is_refused(server: Server, web: dict[str, bytes], stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(server, web)
    for name in web:
        know(monkeypatch, server, {**digests(web), name: "0" * 64})
        with pytest.raises(SourceError, match="is not the file expected") as caught:
            fetch("net")
        assert name in caught.value.what
        assert not (stored / "net").exists()
    know(monkeypatch, server, {**digests(web), "more.bin": "0" * 64})
    with pytest.raises(SourceError, match="does not name the files expected"):
        fetch("net")
    assert names(stored) == set()


def test_a_cut_fetch_goes_on_where_it_was(
    server: Server, web: dict[str, bytes], stored: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {**web, "group1-shard1of2.bin": web["group1-shard1of2.bin"]}
    offer(server, files)
    server.answers["/m/group1-shard2of2.bin"] = cut(web["group1-shard2of2.bin"], 100)
    know(monkeypatch, server, digests(web))
    with pytest.raises(SourceError, match="cannot be downloaded"):
        fetch("net")
    assert names(stored) == {".net.part"}
    offer(server, web)
    server.asked.clear()
    fetch("net")
    assert [(path, headers.get("Range")) for path, headers in server.asked] == [("/m/group1-shard2of2.bin", "bytes=100-")]
    assert names(stored) == {"net"}


def test_an_address(server: Server, web: dict[str, bytes], tmp_path: Path) -> None:
    offer(server, web)
    address = f"{server.address}/m/model.json"
    fetched = fetch(address, tmp_path / "copy")
    assert (fetched.entry.licence, fetched.checksums) == ("not known", "not pinned: recorded now, compared from now on")
    assert files_in(tmp_path / "copy") == web
    assert fetched.path == str(tmp_path / "copy" / "model.json")
    server.answers["/one.bin"] = b"words"
    assert fetch(f"{server.address}/one.bin", tmp_path / "one").path == str(tmp_path / "one")
    assert fetch(f"{server.address}/one.bin", tmp_path).path == str(tmp_path / "one.bin")
    with pytest.raises(SourceError, match="is not the file expected"):
        fetch(f"{server.address}/m/model.json?other", sha256="0" * 64)
    with pytest.raises(SourceError, match="larger than"):
        fetch(f"{server.address}/m/model.json?third", most=100)


def test_names(server: Server) -> None:
    with pytest.raises(OptionError, match="no public model") as caught:
        fetch("posenet-mobilenet-075-stride16-flot")
    assert "posenet-mobilenet-075-stride16-float" in caught.value.remedy
    with pytest.raises(OptionError, match="for addresses"):
        fetch("basic-pitch", sha256="0" * 64)
    with pytest.raises(SourceError, match="cannot be downloaded") as caught:
        fetch("http://127.0.0.1:9/net.tflite")
    assert "http://127.0.0.1:9/net.tflite elsewhere" in caught.value.remedy


def test_the_table() -> None:
    models = known_models()
    assert sum(name.startswith("posenet-mobilenet-") for name in models) == 18
    assert sum(name.startswith("posenet-resnet50-") for name in models) == 6
    for entry in models.values():
        assert entry.address.startswith("https://")
        assert entry.licence and entry.licence_source.startswith("https://") and entry.description
        assert all(len(digest) == 64 and set(digest) <= set("0123456789abcdef") for digest in entry.pins.values())


@pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")
@pytest.mark.parametrize("name", PINNED_HERE)
def test_pins_are_those_of_the_files_at_hand(name: str) -> None:
    assert list(known_models()[name].pins.values()) == [hashlib.sha256((MODELS / PINNED_HERE[name]).read_bytes()).hexdigest()]
    assert known_models()[name].address.endswith(PINNED_HERE[name].partition("/")[2])


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder() == Path(os.environ["TENSORFERRY_CACHE"])
    monkeypatch.delenv("TENSORFERRY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    if os.name == "posix":
        assert cache_folder() == Path("/somewhere/tensorferry")


def test_the_command_line(server: Server, web: dict[str, bytes], tmp_path: Path) -> None:
    offer(server, web)
    command = [sys.executable, "-m", "tensorferry", "fetch"]

    def said(*words: str) -> str:
        return subprocess.run([*command, *words], capture_output=True, text=True, check=True, timeout=60).stdout

    assert "posenet-mobilenet-075-stride16-float" in said("--list")
    listed = json.loads(said("--list", "--json"))
    assert listed["basic-pitch"]["pinned"] and not listed["posenet-resnet50-stride32-quant2"]["pinned"]
    text = said(f"{server.address}/m/model.json", "-o", str(tmp_path / "copy"))
    assert "not pinned" in text and "not known" in text
    assert files_in(tmp_path / "copy") == web
    wrong = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert wrong.returncode == 2 and "no model was named" in wrong.stderr
