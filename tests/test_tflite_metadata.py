"""Model Metadata of TensorFlow Lite files, read by a walk through the bytes that knows nothing of ours, and by official tools."""

from __future__ import annotations

import importlib.util
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tensorferry
from tensorferry import ops
from tensorferry.errors import OptionError, SourceError
from tensorferry.ir import Graph, Port
from tensorferry.readers.tflite.metadata import appended_files, read_metadata
from tensorferry.runtimes import litert
from tensorferry.storage import SourceFile
from tensorferry.tensor import DType
from tensorferry.writers.graphdef import write_graphdef
from tensorferry.writers.tflite_metadata import read_labels

needs_litert = pytest.mark.skipif(litert.available() is not None, reason=f"LiteRT cannot be run: {litert.available()}")


class Table:
    """A table of a flatbuffer, its fields by slot: as the format's own description has it."""

    def __init__(self, data: bytes, place: int) -> None:
        self.data, self.place = data, place
        self.fields = place - struct.unpack_from("<i", data, place)[0]

    def at(self, slot: int) -> int | None:
        length = struct.unpack_from("<H", self.data, self.fields)[0]
        offset = struct.unpack_from("<H", self.data, self.fields + 4 + 2 * slot)[0] if 4 + 2 * slot < length else 0
        return self.place + offset if offset else None

    def goto(self, place: int) -> int:
        return place + struct.unpack_from("<I", self.data, place)[0]

    def text(self, slot: int) -> str | None:
        raw = self.bytes(slot)
        return None if raw is None else raw.decode()

    def bytes(self, slot: int) -> bytes | None:
        place = self.at(slot)
        if place is None:
            return None
        start = self.goto(place)
        return self.data[start + 4 : start + 4 + struct.unpack_from("<I", self.data, start)[0]]

    def byte(self, slot: int) -> int:
        place = self.at(slot)
        return 0 if place is None else self.data[place]

    def floats(self, slot: int) -> list[float]:
        start = self.goto(self.at(slot))
        return list(struct.unpack_from(f"<{struct.unpack_from('<I', self.data, start)[0]}f", self.data, start + 4))

    def table(self, slot: int) -> Table:
        return Table(self.data, self.goto(self.at(slot)))

    def tables(self, slot: int) -> list[Table]:
        place = self.at(slot)
        if place is None:
            return []
        start = self.goto(place)
        count = struct.unpack_from("<I", self.data, start)[0]
        return [Table(self.data, self.goto(start + 4 + 4 * each)) for each in range(count)]


def root(data: bytes) -> Table:
    return Table(data, struct.unpack_from("<I", data, 0)[0])


def metadata_of(path: Path) -> bytes:
    """Model: slot 4 is buffers, 6 metadata (name, buffer); a Buffer's slot 0 its bytes."""
    model = root(path.read_bytes())
    numbers = {each.text(0): struct.unpack_from("<I", each.data, each.at(1))[0] for each in model.tables(6)}
    return model.tables(4)[numbers["TFLITE_METADATA"]].bytes(0)


def source(folder: Path, *, size: int | str = 8, channels: int = 3, classes: int = 5, heads: int = 1) -> Path:
    """An image net with one or several heads of scores."""
    graph = Graph("net")
    generator = np.random.default_rng(0)
    image = ops.add(graph, "Placeholder", (), {"dtype": DType.FLOAT32, "shape": (1, size, size, channels)}, name="image").output
    graph.inputs.append(Port("image", image))
    axes = graph.constant(np.array([1, 2], np.int32), "axes")
    features = ops.add(graph, "Mean", [image, axes]).output
    for head in range(heads):
        matrix = graph.constant(generator.normal(size=(channels, classes)).astype(np.float32), f"matrix{head}")
        scores = ops.add(graph, "Softmax", [ops.add(graph, "MatMul", [features, matrix]).output], name=f"scores{head}").output
        graph.outputs.append(Port(f"scores{head}", scores))
    write_graphdef(graph, folder / "net.pb")
    return folder / "net.pb"


def labels(folder: Path, count: int = 5, name: str = "classes.txt") -> Path:
    (folder / name).write_text("".join(f"class {each}\n" for each in range(count)), encoding="utf-8")
    return folder / name


CARD = {
    "mean": (123.7, 116.8, 103.9),
    "std": 58.4,
    "model_name": "Net für alles",
    "description": "tells one from another",
    "version_name": "v2",
    "author": "somebody",
    "license": "Apache-2.0",
}


def write(folder: Path, **options) -> Path:
    tensorferry.convert(source(folder), folder / "net.tflite", verify=False, **{"labels": labels(folder), **CARD, **options})
    return folder / "net.tflite"


# -- what is written -----------------------------------------------------------------------------------------------


def test_the_fields_lie_where_the_schema_has_them(tmp_path):
    data = metadata_of(write(tmp_path))
    assert data[4:8] == b"M001"
    model = root(data)
    assert [model.text(slot) for slot in (0, 1, 2, 4, 5, 7)] == [
        *("Net für alles", "tells one from another", "v2", "somebody", "Apache-2.0", "1.0.0"),
    ]
    (subgraph,) = model.tables(3)
    (given,), (made,) = subgraph.tables(2), subgraph.tables(3)
    assert (given.text(0), made.text(0)) == ("image", "scores0")
    content = given.table(3)
    assert content.byte(0) == 2  # ImageProperties
    assert content.table(1).byte(0) == 1  # RGB
    (unit,) = given.tables(4)
    assert unit.byte(0) == 1  # NormalizationOptions
    assert unit.table(1).floats(0) == pytest.approx(CARD["mean"])
    assert unit.table(1).floats(1) == pytest.approx([58.4])
    largest, smallest = given.table(5).floats(0), given.table(5).floats(1)
    assert largest == pytest.approx([(255 - mean) / 58.4 for mean in CARD["mean"]])
    assert smallest == pytest.approx([-mean / 58.4 for mean in CARD["mean"]])
    (file,) = made.tables(6)
    assert (file.text(0), file.byte(2)) == ("classes.txt", 2)  # TENSOR_AXIS_LABELS


def test_the_labels_follow_as_an_archive_that_is_not_compressed(tmp_path):
    path = write(tmp_path)
    with zipfile.ZipFile(path) as archive:
        (entry,) = archive.infolist()
        assert (entry.filename, entry.compress_type) == ("classes.txt", zipfile.ZIP_STORED)
        assert archive.read(entry).decode().splitlines() == [f"class {each}" for each in range(5)]
    assert appended_files(SourceFile(path)) == {"classes.txt": entry.file_size}


@needs_litert
def test_the_file_loads_and_computes_as_without(tmp_path):
    path = write(tmp_path)
    tensorferry.convert(source(tmp_path), tmp_path / "plain.tflite", verify=False)
    image = np.random.default_rng(1).normal(size=(1, 8, 8, 3)).astype(np.float32)
    plain = litert.run(tmp_path / "plain.tflite", {"image": image}).outputs
    assert np.array_equal(litert.run(path, {"image": image}).outputs["scores0"], plain["scores0"])
    assert tensorferry.verify(tmp_path / "net.pb", path).verified
    report = tensorferry.convert(path, tmp_path / "again.tflite")  # what lies behind the model does not keep it from being read
    assert report.verified


def test_the_same_is_written_twice(tmp_path):
    first = write(tmp_path).read_bytes()
    assert write(tmp_path).read_bytes() == first
    report = tensorferry.convert(source(tmp_path), tmp_path / "net.tflite", labels=labels(tmp_path), verify=False, **CARD)
    assert report.targets[0].bytes == len(first)


def test_nothing_is_added_where_nothing_is_said(tmp_path):
    tensorferry.convert(source(tmp_path), tmp_path / "net.tflite", verify=False)
    assert b"TFLITE_METADATA" not in (tmp_path / "net.tflite").read_bytes()
    assert not zipfile.is_zipfile(tmp_path / "net.tflite")


def test_grey_images_and_other_inputs(tmp_path):
    tensorferry.convert(source(tmp_path, channels=1), tmp_path / "grey.tflite", verify=False, mean=0, std=255)
    (given,) = root(metadata_of(tmp_path / "grey.tflite")).tables(3)[0].tables(2)
    assert given.table(3).table(1).byte(0) == 2  # GRAYSCALE
    tensorferry.convert(source(tmp_path, channels=7), tmp_path / "seven.tflite", verify=False, mean=1)
    (given,) = root(metadata_of(tmp_path / "seven.tflite")).tables(3)[0].tables(2)
    assert given.table(3).byte(0) == 1  # FeatureProperties
    assert given.tables(4)[0].table(1).floats(1) == [1.0]  # no std was given


def test_each_head_gets_its_own_labels(tmp_path):
    (tmp_path / "more").mkdir()
    named = {"scores0": labels(tmp_path), "scores1": labels(tmp_path / "more")}
    tensorferry.convert(source(tmp_path, heads=2), tmp_path / "net.tflite", verify=False, labels=named)
    made = root(metadata_of(tmp_path / "net.tflite")).tables(3)[0].tables(3)
    names = [each.tables(6)[0].text(0) for each in made]
    assert names == ["scores0_classes.txt", "scores1_classes.txt"]
    assert sorted(zipfile.ZipFile(tmp_path / "net.tflite").namelist()) == names


def test_metadata_of_a_source_is_not_lost_in_silence(tmp_path):
    path = write(tmp_path)
    told = "the source's metadata is not carried over"
    report = tensorferry.convert(path, [tmp_path / "again.tflite", tmp_path / "again.pb"], verify=False)
    assert [any(notice.startswith(told) for notice in target.notices) for target in report.targets] == [True, False]
    report = tensorferry.convert(path, tmp_path / "again.tflite", verify=False, author="somebody else")
    assert not any(notice.startswith(told) for notice in report.targets[0].notices)
    report = tensorferry.convert(source(tmp_path), tmp_path / "plain.tflite", verify=False)
    assert not any(notice.startswith(told) for notice in report.targets[0].notices)


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"mean": (1, 2)}, "mean has 2 values, input 'image' has 3 channels"),
        ({"mean": (1, 2), "std": (1, 2, 3)}, "mean has 2 values and std 3"),
        ({"std": (1, 0, 1)}, "std cannot be 0"),
        ({"std": "1,a"}, "std is no list of numbers"),
        ({"mean": float("nan")}, "mean is no list of numbers"),
        ({"author": "x" * 100_000}, "author is longer"),
    ],
)
def test_normalisations_that_do_not_fit(tmp_path, options, what):
    with pytest.raises(OptionError, match=what):
        tensorferry.convert(source(tmp_path), tmp_path / "net.tflite", **options)
    assert not (tmp_path / "net.tflite").exists()


def test_labels_that_do_not_fit(tmp_path):
    def refused(what: str, given, **shape) -> None:
        with pytest.raises(OptionError, match=what):
            tensorferry.convert(source(tmp_path, **shape), tmp_path / "net.tflite", labels=given)
        assert not (tmp_path / "net.tflite").exists()

    refused("holds 4 labels, and no output gives as many numbers", labels(tmp_path, 4))
    refused("2 outputs give 5 numbers", labels(tmp_path), heads=2)
    refused("there is no output 'class'", {"class": labels(tmp_path)})
    refused("holds 6 labels, output 'scores0' gives 5 numbers", {"scores0": labels(tmp_path, 6)})
    refused("gets two files", {"": labels(tmp_path), "scores0": labels(tmp_path, name="other.txt")})
    refused("does not exist", tmp_path / "none.txt")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"a\n\nb\n", "line 2 .* is empty"),
        (b"", "line 1 .* is empty"),
        (b"\xff\xfe", "byte 0 is no UTF-8"),
        (b"a\x1b[2J\nb", "printed"),
    ],
)
def test_files_that_are_no_labels(tmp_path, content, what):
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(OptionError, match=what):
        try:
            read_labels(tmp_path / "labels.txt")
        except OptionError as error:
            raise OptionError(f"{error.what} {error.why}") from None


def test_labels_from_other_systems_are_the_same(tmp_path):
    (tmp_path / "labels.txt").write_bytes("\ufeffKäse\r\nMilch \r\n\r\n".encode())
    assert read_labels(tmp_path / "labels.txt").lines == ("Käse", "Milch")


def test_metadata_is_not_given_twice(tmp_path):
    (tmp_path / "own").write_bytes(b"x")
    with pytest.raises(OptionError, match="is given as a file and in options"):
        write(tmp_path, metadata={"TFLITE_METADATA": tmp_path / "own"})


def test_what_mediapipe_would_not_take_is_told(tmp_path):
    def told(**options) -> str:
        report = tensorferry.convert(
            source(tmp_path, size="n"), tmp_path / "net.tflite", labels=labels(tmp_path), verify=False, **options
        )
        return " ".join(report.targets[0].notices)

    assert "has open sizes" in told(mean=0, std=255)
    assert "must be told --mean and --std" in told(input_shapes={"image": (1, 8, 8, 3)})
    assert "MediaPipe" not in told(mean=0, std=255, input_shapes={"image": (1, 8, 8, 3)})


def test_other_targets_say_that_they_have_no_place_for_it(tmp_path):
    report = tensorferry.convert(source(tmp_path), tmp_path / "out.pb", verify=False, author="somebody")
    assert any("are metadata of TensorFlow Lite files" in notice for notice in report.targets[0].notices)


# -- what is read --------------------------------------------------------------------------------------------------


def test_inspect_shows_it(tmp_path):
    facts = tensorferry.inspect(write(tmp_path)).facts
    assert facts.metadata["TFLITE_METADATA author"] == "somebody"
    given = facts.metadata["TFLITE_METADATA input 0"]
    assert given["content"] == {"content_properties": {"type": "ImageProperties", "color_space": "RGB"}}
    assert given["process_units"][0]["options"]["std"] == pytest.approx([58.4])
    assert facts.metadata["TFLITE_METADATA output 0"]["associated_files"][0]["type"] == "TENSOR_AXIS_LABELS"
    assert facts.assets == {"classes.txt": 40}
    json.dumps(facts.metadata)


def test_spoilt_metadata_is_told_and_harms_nothing(tmp_path):
    path = write(tmp_path)
    sound, whole = metadata_of(path), path.read_bytes()
    place = whole.index(sound)
    generator = np.random.default_rng(0)
    told = 0
    for _ in range(150):
        spoilt = bytearray(sound)
        for each in generator.integers(0, len(sound), 3):
            spoilt[each] = generator.integers(0, 256)
        try:
            read_metadata(bytes(spoilt))
        except SourceError:
            told += 1
    assert told > 10
    (tmp_path / "spoilt.tflite").write_bytes(whole[:place] + b"\xff" * len(sound) + whole[place + len(sound) :])
    assert "cannot be read" in tensorferry.inspect(tmp_path / "spoilt.tflite").facts.metadata["TFLITE_METADATA"]


def test_an_archive_cut_short_is_no_archive(tmp_path):
    path = write(tmp_path)
    (tmp_path / "cut.tflite").write_bytes(path.read_bytes()[:-30])
    assert appended_files(SourceFile(tmp_path / "cut.tflite")) == {}


@pytest.mark.skipif(
    importlib.util.find_spec("tflite_support") is None, reason="the official tools (tflite-support) are not installed"
)
def test_the_official_tools_read_it(tmp_path):
    from tflite_support import metadata  # noqa: PLC0415

    displayer = metadata.MetadataDisplayer.with_model_file(str(write(tmp_path)))
    assert displayer.get_packed_associated_file_list() == ["classes.txt"]
    told = json.loads(displayer.get_metadata_json())
    assert told["name"] == "Net für alles"
    assert told["subgraph_metadata"][0]["input_tensor_metadata"][0]["content"]["content_properties"]["color_space"] == "RGB"
