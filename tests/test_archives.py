"""Archives: opened safely, each hostile one a clear error, and nothing left behind."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from pathlib import Path

import pytest

import tensorferry
from tensorferry import ops
from tensorferry.archives import Budget, kind_of_archive, limits, unpack
from tensorferry.archives.limits import Names
from tensorferry.conversion import inspect
from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.ir import Graph, Port
from tensorferry.tensor import DType
from tensorferry.writers.graphdef import write_graphdef

MODELS = Path(__file__).parents[2] / "shared" / "models"
with_models = pytest.mark.skipif(not MODELS.is_dir(), reason="the shared models are not there")


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    made = Graph("small")
    x = ops.add(made, "Placeholder", attrs={"dtype": DType.FLOAT32, "shape": (1, 4)}, name="x").output
    y = ops.add(made, "Relu", [x], name="y").output
    made.inputs, made.outputs = [Port("x", x)], [Port("y", y)]
    path = tmp_path_factory.mktemp("graph") / "graph.pb"
    write_graphdef(made, path)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def private(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """A temporary folder of the test's own, empty again at its end."""
    folder = tmp_path_factory.mktemp("private")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def tarred(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def names(path: Path | str, **keywords: object) -> list[str]:
    return [row.node for row in inspect(path, **keywords).nodes]


@pytest.mark.parametrize("kind", ["stored", "deflated", "w", "w:gz", "w:bz2", "w:xz", "gzip", "bzip2", "xz"])
def test_a_model_in_each_kind_of_archive(tmp_path: Path, graph: bytes, kind: str) -> None:
    path = tmp_path / "modell größe.dat"
    files = {"a folder/net.pb": graph, "README.md": b"# Net\n", "__MACOSX/._net.pb": b"\0\5\x16\7", "labels.txt": b"cat\ndog\n" * 9}
    if kind in ("stored", "deflated"):
        zipped(path, files, zipfile.ZIP_STORED if kind == "stored" else zipfile.ZIP_DEFLATED)
    elif kind.startswith("w"):
        tarred(path, files, kind)
    else:
        path.write_bytes({"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}[kind](graph))
    assert names(path) == ["x", "y"]
    inspection = inspect(path)
    assert inspection.source.size == path.stat().st_size
    assert inspection.source.format.startswith("TensorFlow GraphDef, in a")
    assert inspection.source.path.startswith(f"{path}!")
    assert [node.name for node in tensorferry.load(path).nodes] == ["x", "y"]


def test_the_graph_outlives_its_archive(tmp_path: Path, graph: bytes, private: Path) -> None:
    loaded = tensorferry.load(zipped(tmp_path / "a.zip", {"net.pb": graph}))
    assert len(list(private.iterdir())) == 1
    assert (private.stat().st_mode & 0o777, [each.stat().st_mode & 0o777 for each in private.iterdir()])[1] == [0o700]
    del loaded
    assert list(private.iterdir()) == []


def test_which_of_several(tmp_path: Path, graph: bytes) -> None:
    path = zipped(tmp_path / "two.zip", {"one/net.pb": graph, "two/net.pb": graph})
    with pytest.raises(SourceError, match="holds 2 models") as caught:
        inspect(path)
    assert caught.value.remedy == f"name one of them: '{path}!one/net.pb', '{path}!two/net.pb'"
    assert inspect(f"{path}!two/net.pb").source.path == f"{path}!two/net.pb"
    assert names(path, inside="one/net.pb") == ["x", "y"]
    with pytest.raises(OptionError, match="two models are named"):
        inspect(f"{path}!two/net.pb", inside="one/net.pb")
    for missing in ("three", "../../two.zip", "/etc/passwd"):
        with pytest.raises(SourceError, match="has nothing called") as caught:
            inspect(f"{path}!{missing}")
        assert "tensorferry-" not in str(caught.value)
    plain = tmp_path / "net.pb"
    plain.write_bytes(graph)
    with pytest.raises(OptionError, match="is no archive"):
        inspect(plain, inside="x")
    odd = tmp_path / "net!odd.pb"
    odd.write_bytes(graph)
    assert names(odd) == ["x", "y"]


def test_archives_in_archives_one_level_deep(tmp_path: Path, graph: bytes) -> None:
    inner = zipped(tmp_path / "inner.zip", {"net.pb": graph}).read_bytes()
    outer = zipped(tmp_path / "outer.zip", {"inner.zip": inner, "net.pb": graph})
    assert inspect(f"{outer}!inner.zip!net.pb").source.path == f"{outer}!inner.zip!net.pb"
    assert names(f"{outer}!inner.zip") == ["x", "y"]
    assert inspect(outer).source.path == f"{outer}!net.pb"
    alone = tarred(tmp_path / "alone.tgz", {"inner.zip": inner}, "w:gz")
    assert names(alone) == ["x", "y"]
    deep = zipped(tmp_path / "deep.zip", {"alone.tgz": alone.read_bytes()})
    with pytest.raises(SourceError, match=r"deep\.zip!alone\.tgz!inner\.zip' is a zip archive") as caught:
        inspect(deep)
    assert "within an archive" in caught.value.remedy


def test_what_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no model") as caught:
        inspect(zipped(tmp_path / "a.zip", {"a.txt": b"words enough for text", "b/c.txt": b"words"}))
    assert caught.value.why == "it holds 2 files: a.txt, b/c.txt"
    with pytest.raises(SourceError, match="holds no model"):
        inspect(zipped(tmp_path / "b.zip", {}))
    with pytest.raises(SourceError, match="an HTML page"):
        inspect(zipped(tmp_path / "c.zip", {"model.pb": b"<!DOCTYPE html><html>"}))


def test_a_target_in_place_of_its_archive_is_refused(tmp_path: Path, graph: bytes) -> None:
    path = zipped(tmp_path / "net.tflite", {"net.pb": graph})
    before = path.read_bytes()
    with pytest.raises(FerryError, match="is the source itself"):
        tensorferry.convert(path, path)
    assert path.read_bytes() == before
    report = tensorferry.convert(path, tmp_path / "out.tflite")
    assert report.source.path == f"{path}!net.pb"


# -- hostile ones --------------------------------------------------------------------------------------------------


def entry(name: str, **changed: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in changed.items():
        setattr(info, key, value)
    return info


HOSTILE_NAMES = {
    "../out.pb": "leads out",
    "a/../../out.pb": "leads out",
    "/etc/out.pb": "root of the file system",
    "\\\\server\\share\\out.pb": "root of the file system",
    "C:\\out.pb": "colon",
    "c:out.pb": "colon",
    "a\\..\\..\\out.pb": "leads out",
    "net.pb:stream": "colon",
    "a\x1b[31mred.pb": "control characters",
    "a\nb.pb": "control characters",
    "x" * 300: "longer or deeper",
    "a/" * 40 + "b": "longer or deeper",
}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_elsewhere(tmp_path: Path, graph: bytes, name: str, kind: str) -> None:
    folder = tmp_path / "deep" / "deeper"
    folder.mkdir(parents=True)
    path = (zipped if kind == "zip" else tarred)(folder / "bad.dat", {"net.pb": graph, name: graph})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(SourceError, match="is not opened") as caught:
        inspect(path)
    assert HOSTILE_NAMES[name] in caught.value.why
    assert "\x1b" not in str(caught.value) and "tensorferry-" not in str(caught.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        (("net.pb", "net.pb"), "two files have this name"),
        (("net.pb", "./net.pb"), "two files have this name"),
        (("net.pb", "NET.pb"), "upper and lower case"),
        (("ﬁle.pb", "file.pb"), None),
        (("straße.pb", "STRASSE.pb"), "upper and lower case"),
        (("u\u0308.pb", "\u00fc.pb"), "upper and lower case"),
        (("a", "a/b"), "which is a file"),
        (("a/b", "a"), "a file and a folder"),
        (("a/b", "A/c"), "upper and lower case"),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_collide(tmp_path: Path, graph: bytes, pair: tuple[str, str], why: str | None) -> None:
    for number, make in enumerate((zipped, tarred)):
        path = tmp_path / f"{number}.dat"
        if make is zipped:
            with zipfile.ZipFile(path, "w") as archive:
                for name in pair:
                    archive.writestr(name, graph)
        else:
            with tarfile.open(path, "w") as tar:
                for name in pair:
                    tar.addfile(entry(name, size=len(graph)), io.BytesIO(graph))
        with pytest.raises(SourceError) as caught:
            inspect(path)
        assert (why in caught.value.why) if why else ("2 models" in caught.value.what or "upper and lower" in caught.value.why)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "a symbolic link to '/etc/passwd'"),
        ({"type": tarfile.LNKTYPE, "linkname": "../../x"}, "a hard link to '../../x'"),
        ({"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 5}, "a device"),
        ({"type": tarfile.BLKTYPE}, "a device"),
        ({"type": tarfile.FIFOTYPE}, "a pipe"),
    ],
)
def test_tar_entries_that_are_no_files(tmp_path: Path, graph: bytes, changed: dict[str, object], why: str) -> None:
    path = tmp_path / "bad.tar"
    with tarfile.open(path, "w") as archive:
        archive.addfile(entry("net.pb", size=len(graph)), io.BytesIO(graph))
        archive.addfile(entry("link", **changed))
    with pytest.raises(SourceError, match="is not opened") as caught:
        inspect(path)
    assert why in caught.value.why
    with pytest.raises(SourceError, match="is not opened"):  # a folder that is a link, and a file inside of it
        inspect(tarred_through_link(tmp_path / "through.tar", graph))
    assert not (tmp_path / "elsewhere").exists()


def tarred_through_link(path: Path, graph: bytes) -> Path:
    with tarfile.open(path, "w") as archive:
        archive.addfile(entry("sub", type=tarfile.SYMTYPE, linkname=str(path.parent)))
        archive.addfile(entry("sub/elsewhere", size=len(graph)), io.BytesIO(graph))
    return path


def test_zip_entries_that_are_links_or_encrypted_or_odd(tmp_path: Path, graph: bytes) -> None:
    path = tmp_path / "bad.zip"
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(SourceError) as caught:
        inspect(path)
    assert "a symbolic link" in caught.value.why

    data = bytearray(zipped(path, {"net.pb": graph}).read_bytes())
    data[data.rfind(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(SourceError, match="is encrypted") as caught:
        inspect(path)
    assert "password" in caught.value.remedy

    with pytest.raises(SourceError) as caught:
        inspect(zipped(path, {"net.pb": graph}, zipfile.ZIP_LZMA))
    assert "another method" in caught.value.why


def test_bombs(tmp_path: Path, graph: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Budget.__init__
    zeros = bytes(100 << 20)
    for path in (
        zipped(tmp_path / "a.zip", {"net.pb": graph, "zeros": zeros}),
        tarred(tmp_path / "a.tgz", {"net.pb": graph, "zeros": zeros}, "w:gz"),
        Path(tmp_path / "a.gz"),
        Path(tmp_path / "a.bz2"),
        Path(tmp_path / "a.xz"),
    ):
        if not path.exists():
            path.write_bytes({".gz": gzip, ".bz2": bz2, ".xz": lzma}[path.suffix].compress(zeros))
        started = time.perf_counter()
        with pytest.raises(SourceError, match="is not opened") as caught:
            inspect(path)
        assert "times as many" in caught.value.why
        assert time.perf_counter() - started < 3
    many = zipped(tmp_path / "many.zip", {f"{number}": b"" for number in range(200)})
    monkeypatch.setattr(Budget, "__init__", limited(made, entries=100))
    for path in (many, tarred(tmp_path / "many.tar", {f"{number}": b"" for number in range(200)})):
        with pytest.raises(SourceError) as caught:
            inspect(path)
        assert "more than" in caught.value.why and "files" in caught.value.why
    monkeypatch.setattr(Budget, "__init__", limited(made, bytes=1000))
    with pytest.raises(SourceError) as caught:
        inspect(zipped(tmp_path / "long.zip", {"net.pb": os.urandom(2000)}))
    assert "GiB together" in caught.value.why


def limited(original, **changed: int):
    return lambda self, where, folder: original(self, where, folder, **changed)


def test_a_claim_is_no_fact(tmp_path: Path, graph: bytes) -> None:
    """A zip whose directory says less, or more, than the entry holds; entries that lie over each other."""
    path = zipped(tmp_path / "a.zip", {"net.pb": graph}, zipfile.ZIP_STORED)
    good = path.read_bytes()
    place = good.rfind(b"PK\1\2")
    for size in (len(graph) - 5, len(graph) + 5, 0, 0xFFFFFFF0):
        path.write_bytes(good[: place + 24] + struct.pack("<I", size) + good[place + 28 :])
        with pytest.raises(SourceError):
            inspect(path)
    directory = good[place : good.rfind(b"PK\5\6")]
    end = bytearray(good[good.rfind(b"PK\5\6") :])
    copies = [directory.replace(b"net.pb", f"ne{number:02}pb".encode()) for number in range(50)]
    end[8:12], end[12:16] = struct.pack("<HH", 50, 50), struct.pack("<I", sum(map(len, copies)))
    path.write_bytes(good[:place] + b"".join(copies) + bytes(end))
    with pytest.raises(SourceError) as caught:
        inspect(path)
    assert "over each other" in caught.value.why


def test_a_directory_is_not_taken_on_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", {f"{number:050}": b"" for number in range(500)})
    monkeypatch.setattr(limits, "MOST_AT_ONCE", 1 << 10)
    with pytest.raises(SourceError, match="has a directory of"):
        unpack(path, "zip", tmp_path, Budget("a.zip", tmp_path))
    header = entry("x", type=tarfile.XHDTYPE, size=1 << 32).tobuf(tarfile.USTAR_FORMAT)
    huge = tmp_path / "huge.tar"
    huge.write_bytes(header + bytes(4096))
    with pytest.raises(SourceError, match=r"is not opened|damaged"):
        inspect(huge)


@pytest.mark.parametrize("kind", ["zip", "w", "w:gz", "w:bz2", "w:xz", "gzip"])
def test_truncated_and_damaged(tmp_path: Path, graph: bytes, kind: str) -> None:
    path = tmp_path / "net.dat"
    files = {"net.pb": graph, "noise": os.urandom(3000)}
    if kind == "zip":
        zipped(path, files)
    elif kind == "gzip":
        path.write_bytes(gzip.compress(graph * 20 + os.urandom(3000)))
    else:
        tarred(path, files, kind)
    good = path.read_bytes()
    for length in (30, 600, 2000, 4000) if kind == "w" else (30, 600, len(good) // 2, len(good) - 9):
        path.write_bytes(good[:length])
        with pytest.raises(SourceError) as caught:
            inspect(path)
        assert "tensorferry-" not in str(caught.value)
    if kind != "w":  # a plain tar archive has no checksum of its content
        path.write_bytes(good[: len(good) // 2] + bytes([good[len(good) // 2] ^ 0xFF]) + good[len(good) // 2 + 1 :])
        with pytest.raises(SourceError):
            inspect(path)


def test_a_keras_file_is_no_archive(tmp_path: Path, graph: bytes) -> None:
    keras = zipped(tmp_path / "a.keras", {"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": b""})
    assert kind_of_archive(keras) is None
    assert kind_of_archive(zipped(tmp_path / "b.zip", {"sub/config.json": b"{}", "net.pb": graph})) == "zip"


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    path = tarred(tmp_path / "big.tar.gz", {f"{number}.bin": os.urandom(4 << 20) for number in range(20)}, "w:gz")
    environment = {**os.environ, "TMPDIR": str(temporary)}
    for signal in (2, 15):
        process = subprocess.Popen(
            [sys.executable, "-m", "tensorferry", "inspect", str(path)], env=environment, stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + 20
        while not any(temporary.rglob("*.bin")) and time.monotonic() < until:
            time.sleep(0.005)
        process.send_signal(signal)
        _, said = process.communicate(timeout=20)
        assert process.returncode in (130, 143), said
        assert list(temporary.iterdir()) == []


@with_models
@pytest.mark.parametrize(
    ("model", "ways"),
    [("half_plus_two_tf1", "SavedModel"), ("stylize_transformer_sep_tfjs", "TensorFlow.js"), ("objdetect_tfjs0x", "0.x")],
)
def test_real_models_in_archives_are_the_same(tmp_path: Path, model: str, ways: str) -> None:
    files = {
        f"{model}/{path.relative_to(MODELS / model).as_posix()}": path.read_bytes()
        for path in sorted((MODELS / model).rglob("*"))
        if path.is_file()
    }
    expected = names(MODELS / model)
    for path in (zipped(tmp_path / "a.zip", files), tarred(tmp_path / "a.tar.gz", files, "w:gz")):
        assert names(path) == expected
        assert ways in inspect(path).source.format


def test_names_on_their_own(tmp_path: Path) -> None:
    judge = Names(Budget("a", tmp_path))
    assert judge.place("a\\b\\c.pb", folder=False) == ("a", "b", "c.pb")
    assert judge.place("a/b/", folder=True) == ("a", "b")
    assert judge.place("./", folder=True) is None
    assert judge.place("a/.DS_Store", folder=False) is None
