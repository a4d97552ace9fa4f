"""Samples to calibrate with: what is read is what was stored, and what cannot be used is said before any work."""

from __future__ import annotations

import itertools
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tensorferry import ops
from tensorferry.calibration import pictures
from tensorferry.calibration.inputs import Input, Scaling, inputs_of
from tensorferry.calibration.pixels import Preparation
from tensorferry.calibration.samples import choose_places, open_samples
from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.ir import Graph, Port
from tensorferry.tensor import DType

MODELS = Path(os.environ.get("TENSORFERRY_MODELS") or "../shared/models")

IMAGE = Input("image", DType.FLOAT32, (1, 8, 12, 3))
PLAIN = Preparation()


def noise(*shape, seed=0, dtype=np.float32):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, shape).astype(dtype) if dtype == np.uint8 else generator.uniform(-1, 1, shape).astype(dtype)


def picture(folder, name="one.png", size=(30, 20), seed=0, mode="RGB"):
    folder.mkdir(exist_ok=True)
    pixels = noise(size[1], size[0], 3, seed=seed, dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(folder / name)
    return pixels


def only(samples):
    (sample,) = samples
    return sample


# Pictures


def test_pictures_are_resized_as_tensorflow_does(tmp_path):
    tf = pytest.importorskip("tensorflow")
    pixels = picture(tmp_path / "set")
    samples = open_samples(tmp_path / "set", [IMAGE], Preparation(mean=(127.5,), std=(127.5,)))
    expected = tf.image.resize(pixels, (8, 12), "bilinear", antialias=False).numpy()[None] / 127.5 - 1
    np.testing.assert_allclose(only(samples)["image"], expected, atol=2e-6)
    larger = open_samples(tmp_path / "set", [Input("image", DType.FLOAT32, (None, 77, 91, 3))], Preparation(std=(1.0,)))
    np.testing.assert_allclose(only(larger)["image"][0], tf.image.resize(pixels, (77, 91)).numpy(), atol=1e-3)


REFERENCE = MODELS / "posenet_ref_outputs"


@pytest.mark.skipif(not REFERENCE.is_dir(), reason=f"there are no reference outputs at {REFERENCE}")
def test_photographs_become_the_inputs_of_the_reference():
    given = Input("image", DType.FLOAT32, (1, 337, 337, 3))
    for folder in ("posenet_img_set", "posenet_img_couple", "posenet_img_coral_testimage"):
        found = open_samples(MODELS / folder, [given], PLAIN)
        assert found.about["values"].startswith("(pixel - 127.5) / 127.5: neither --mean")
        assert any("x / 127.5 - 1" in notice for notice in found.notices)
        paths = pictures.find_pictures(MODELS / folder)
        assert found.count == found.total == len(paths)
        for path, sample in zip(paths, found, strict=True):
            with np.load(REFERENCE / f"{path.stem}.npz") as expected:
                apart = np.abs(sample["image"] - expected["image"])
            lossy = path.suffix == ".jpg"  # decoders of JPEG differ by about a level
            assert apart.max() < (0.1 if lossy else 1e-4) and apart.mean() < 0.01, (path.name, apart.max(), apart.mean())


@pytest.mark.parametrize(
    ("order", "channels", "wanted"),
    [
        ("rgb", 3, (10, 20, 30)),
        ("bgr", 3, (30, 20, 10)),
        ("rgb", 4, (10, 20, 30, 255)),
        ("bgr", 4, (30, 20, 10, 255)),
        ("rgb", 1, (18,)),
    ],
)
def test_colours_stand_in_the_order_that_was_asked_for(tmp_path, order, channels, wanted):
    Image.new("RGB", (9, 9), (10, 20, 30)).save(tmp_path / "one.png")
    for shape, axes in (((1, 8, 12, channels), (0, 1, 2, 3)), ((None, channels, 8, 12), (0, 2, 3, 1))):
        given = Input("image", DType.FLOAT32, shape)
        sample = only(open_samples(tmp_path, [given], Preparation(std=(1.0,), order=order)))["image"]
        assert sample.shape == (1, *shape[1:]) and sample.flags.c_contiguous
        np.testing.assert_allclose(sample.transpose(axes)[0, 3, 3], wanted)


def test_grey_pictures_without_an_axis_for_channels_and_integer_inputs(tmp_path):
    Image.new("L", (5, 5), 200).save(tmp_path / "one.png")
    flat = only(open_samples(tmp_path, [Input("x", DType.FLOAT32, (None, 28, 28))], Preparation(mean=(100.0,), std=(50.0,))))["x"]
    assert flat.shape == (1, 28, 28) and np.all(flat == 2)
    bare = only(open_samples(tmp_path, [Input("x", DType.UINT8, (6, 7, 3))], PLAIN))["x"]
    assert bare.shape == (6, 7, 3) and bare.dtype == np.uint8 and np.all(bare == 200)
    assert np.all(only(open_samples(tmp_path, [Input("x", DType.INT8, (1, 6, 7, 3))], PLAIN))["x"] == 72)
    assert only(open_samples(tmp_path, [Input("x", DType.UINT8, (4, 6, 7, 1))], PLAIN))["x"].shape == (4, 6, 7, 1)


def test_means_and_deviations_belong_to_channels(tmp_path):
    Image.new("RGB", (9, 9), (10, 20, 30)).save(tmp_path / "one.png")
    asked = Preparation(mean=(10.0, 10.0, 10.0), std=(1.0, 2.0, 4.0))
    for shape, axes in (((1, 4, 4, 3), (0, 1, 2, 3)), ((1, 3, 4, 5), (0, 2, 3, 1))):
        found = open_samples(tmp_path, [Input("image", DType.FLOAT32, shape)], asked)
        np.testing.assert_allclose(only(found)["image"].transpose(axes)[0, 0, 0], (0, 5, 5))
        assert found.about["values"] == "(pixel - 10) / 1,2,4: as --mean and --std say"


def test_a_picture_keeps_its_proportions_on_demand(tmp_path):
    pixels = np.zeros((40, 20, 3), np.uint8)
    pixels[15:25] = 255  # a white bar in the middle of a tall picture
    Image.fromarray(pixels).save(tmp_path / "one.png")
    given = Input("image", DType.FLOAT32, (1, 20, 20, 3))
    asked = {way: Preparation(std=(255.0,), fit=way) for way in ("stretch", "letterbox", "crop")}
    rows = {way: only(open_samples(tmp_path, [given], each))["image"][0, :, :, 0] for way, each in asked.items()}
    np.testing.assert_allclose(rows["stretch"][8:12], 1)
    assert rows["stretch"][:7].max() == 0
    assert rows["letterbox"][:, :5].max() == rows["letterbox"][:, 15:].max() == 0  # bars at both sides
    np.testing.assert_allclose(rows["letterbox"][8:12, 5:15], 1)
    np.testing.assert_allclose(rows["crop"][5:15], 1)  # the middle 20 rows, in their own size
    assert rows["crop"][:5].max() == rows["crop"][15:].max() == 0


def test_a_picture_is_turned_as_its_exif_says(tmp_path):
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255  # white at the left
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: left becomes top
    Image.fromarray(pixels).save(tmp_path / "one.png", exif=exif)
    sample = only(open_samples(tmp_path, [Input("image", DType.FLOAT32, (1, 40, 20, 3))], Preparation(std=(255.0,))))["image"][0]
    assert sample[:19].min() > 0.9 and sample[21:].max() < 0.1


def test_pictures_are_taken_evenly_from_folders_within(tmp_path):
    for number, name in enumerate("abcdefgh"):
        picture(tmp_path / f"class{number // 4}", f"{name}.jpg", seed=number)
    picture(tmp_path / ".hidden")
    (tmp_path / "class0" / "notes.txt").write_text("no picture")
    told = []
    found = open_samples(tmp_path, [IMAGE], Preparation(limit=2), lambda *args: told.append(args))
    assert (found.count, found.total, told) == (2, 8, [(1, 2), (2, 2)])
    whole = list(open_samples(tmp_path, [IMAGE], PLAIN))
    assert len(whole) == 8
    for sample, place in zip(found, (0, 4), strict=True):
        np.testing.assert_array_equal(sample["image"], whole[place]["image"])
    np.testing.assert_array_equal(list(found)[1]["image"], whole[4]["image"])  # again
    single = open_samples(tmp_path / "class0" / "a.jpg", [IMAGE], PLAIN)
    np.testing.assert_array_equal(only(single)["image"], whole[0]["image"])


def test_of_a_moving_picture_the_first_frame_is_taken_and_that_is_said(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    found = open_samples(tmp_path, [IMAGE], Preparation(std=(1.0,)))
    assert found.notices == ("of moving pictures the first frame is taken: moving.gif",)
    np.testing.assert_allclose(only(found)["image"][0, 0, 0], (250, 0, 0), atol=8)


def png(width, height, depth, colour):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def truncated(folder):
    picture(folder, "bad.jpg", size=(300, 200))
    (folder / "bad.jpg").write_bytes((folder / "bad.jpg").read_bytes()[:4000])


BAD_PICTURES = {
    "truncated": (truncated, "bad.jpg' cannot be read"),
    "text": (lambda folder: (folder / "bad.png").write_text("no picture at all"), "bad.png' cannot be read"),
    "empty": (lambda folder: (folder / "bad.png").write_bytes(b""), "bad.png' cannot be read"),
    "postscript": (
        lambda folder: (folder / "bad.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "cannot be read",
    ),
    "cmyk": (lambda folder: picture(folder, "bad.jpg", mode="CMYK"), "bad.jpg' is CMYK"),
    "sixteen grey": (lambda folder: (folder / "bad.png").write_bytes(png(4, 4, 16, 0)), "more than 8 bits"),
    "sixteen colour": (lambda folder: (folder / "bad.png").write_bytes(png(4, 4, 16, 2)), "more than 8 bits"),
    "floats": (lambda folder: Image.new("F", (4, 4)).save(folder / "bad.tiff"), "more than 8 bits"),
    "bomb": (lambda folder: (folder / "bad.png").write_bytes(png(50_000, 50_000, 8, 2)), "bad.png' is too large"),
    "large": (lambda folder: (folder / "bad.png").write_bytes(png(9_000, 9_000, 8, 2)), "bad.png' is too large"),
    "folder": (lambda folder: (folder / "bad.png").mkdir(), None),
    "dangling": (lambda folder: (folder / "bad.png").symlink_to(folder / "nowhere.png"), "cannot be read"),
}


@pytest.mark.parametrize("kind", BAD_PICTURES)
def test_a_picture_that_cannot_be_used_is_named_before_any_work(tmp_path, kind):
    picture(tmp_path, "a.png")
    make, message = BAD_PICTURES[kind]
    make(tmp_path)
    if message is None:
        assert open_samples(tmp_path, [IMAGE], PLAIN).count == 1
        return
    with pytest.raises(SourceError, match=message) as caught:
        open_samples(tmp_path, [IMAGE], PLAIN)
    assert caught.value.remedy and "bad." in caught.value.what


def test_folders_without_pictures(tmp_path):
    with pytest.raises(SourceError, match="no pictures"):
        open_samples(tmp_path, [IMAGE], PLAIN)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(SourceError, match="none of its 1 files"):
        open_samples(tmp_path, [IMAGE], PLAIN)
    with pytest.raises(SourceError, match="does not exist"):
        open_samples(tmp_path / "nowhere", [IMAGE], PLAIN)


def test_without_pillow_the_way_to_it_is_said(tmp_path, monkeypatch):
    picture(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "PIL.Image", None)
    with pytest.raises(OptionError, match="pictures cannot be read") as caught:
        open_samples(tmp_path, [IMAGE], PLAIN)
    assert caught.value.remedy == "pip install 'tensorferry[images]'"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([Input("x", DType.FLOAT32, (1, 10))], "2 axes"),
        ([Input("x", DType.FLOAT32, None)], "rank is open"),
        ([Input("x", DType.FLOAT32, (1, None, None, 3))], "height or width is open"),
        ([Input("x", DType.FLOAT32, (1, 8, 8, 7))], "7 channels"),
        ([Input("x", DType.BOOL, (1, 8, 8, 3))], "bool"),
        ([IMAGE, Input("y", DType.FLOAT32, (1,))], "'image', 'y'"),
        ([], "no inputs"),
    ],
)
def test_inputs_that_take_no_pictures(tmp_path, given, why):
    picture(tmp_path)
    with pytest.raises(OptionError) as caught:
        open_samples(tmp_path, given, PLAIN)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"std": (0.0,)},
        {"std": (1.0, -1.0, 1.0)},
        {"mean": (float("nan"),)},
        {"mean": ()},
        {"fit": "squeeze"},
        {"order": "grb"},
        {"limit": 0},
    ],
)
def test_preparations_that_make_no_sense(wrong):
    with pytest.raises(OptionError):
        Preparation(**wrong)


def test_numbers_for_another_number_of_channels(tmp_path):
    picture(tmp_path)
    with pytest.raises(OptionError, match="--mean has 2 numbers"):
        open_samples(tmp_path, [IMAGE], Preparation(mean=(1.0, 2.0)))
    np.save(tmp_path / "x.npy", noise(4, 8, 12, 3))
    with pytest.raises(OptionError, match="--std has 2 numbers"):
        open_samples(tmp_path / "x.npy", [IMAGE], Preparation(std=(1.0, 2.0)))


def test_units_of_zero_to_one_are_noticed(tmp_path):
    picture(tmp_path)
    (notice,) = open_samples(tmp_path, [IMAGE], Preparation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))).notices
    assert "multiply them by 255" in notice


# What the model does to pixels itself


def scaled_graph(*steps):
    graph = Graph()
    value = ops.add(graph, "Placeholder", attrs={"dtype": DType.FLOAT32, "shape": (1, 8, 12, 3)}, name="image").output
    graph.inputs = [Port("picture", value)]
    for number, (op, constant) in enumerate(steps):
        value = ops.add(
            graph, op, [value, graph.constant(np.asarray(constant, np.float32), f"c{number}")], name=f"s{number}"
        ).output
    graph.outputs = [Port("out", ops.add(graph, "Relu", [value], name="end").output)]
    return graph


IMAGENET_MEAN = [123.68, 116.78, 103.94]

MODELS_OWN = {
    "to -1..1": ([("Mul", 1 / 127.5), ("Sub", 1.0)], 0, 255),
    "to 0..1": ([("RealDiv", 255.0)], 0, 255),
    "means": ([("Sub", IMAGENET_MEAN)], 0, 255),
    "means and deviations": ([("Sub", IMAGENET_MEAN), ("RealDiv", [58.4, 57.1, 57.4])], 0, 255),
    "of 0..1 to -1..1": ([("Mul", 2.0), ("Sub", 1.0)], 0, 1),
    "of 0..1 by ImageNet": ([("Sub", [0.485, 0.456, 0.406]), ("RealDiv", [0.229, 0.224, 0.225])], 0, 1),
    "none": ([], -1, 1),
    "an offset that says nothing": ([("AddV2", 0.1)], -1, 1),
    "a factor that says nothing": ([("Mul", 0.5)], -1, 1),
}


@pytest.mark.parametrize("kind", MODELS_OWN)
def test_what_goes_in_follows_from_what_the_model_does_first(tmp_path, kind):
    steps, low, high = MODELS_OWN[kind]
    image = Image.new("RGB", (12, 8), (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 6, 8))
    image.save(tmp_path / "one.png")
    (given,) = inputs_of(scaled_graph(*steps))
    found = open_samples(tmp_path, [given], PLAIN)
    sample = only(found)["picture"]
    assert (sample.min(), sample.max()) == (low, high)
    assert ("the model scales" in found.about["values"]) == (high != 1 or low == 0)
    assert bool(found.notices) == (low == -1)


# Arrays


def test_an_array_gives_its_rows(tmp_path):
    values = noise(7, 8, 12, 3)
    np.save(tmp_path / "x.npy", values)
    for given in (IMAGE, Input("image", DType.FLOAT32, (None, 8, 12, 3)), Input("image", DType.FLOAT32, (None, None, None, 3))):
        found = open_samples(tmp_path / "x.npy", [given], PLAIN)
        assert (found.count, found.total, found.notices) == (7, 7, ())
        for _ in range(2):
            np.testing.assert_array_equal(np.concatenate([each["image"] for each in found]), values)
    few = open_samples(tmp_path / "x.npy", [IMAGE], Preparation(limit=3))
    np.testing.assert_array_equal(np.concatenate([each["image"] for each in few]), values[[0, 2, 4]])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_several_inputs_by_name_from_an_archive(tmp_path, compressed, order):
    first, second, once = np.asarray(noise(5, 8, 12, 3), order=order), np.arange(10).reshape(5, 2), np.float32(3)
    (np.savez_compressed if compressed else np.savez)(tmp_path / "x.npz", image=first, ids=second, scale=once, unused=[1])
    inputs = [IMAGE, Input("ids", DType.INT32, (None, 2)), Input("scale", DType.FLOAT32, ())]
    found = open_samples(tmp_path / "x.npz", inputs, PLAIN)
    assert found.notices == ("the one value for scale goes with every sample",)
    samples = list(found)
    np.testing.assert_array_equal(np.concatenate([each["image"] for each in samples]), first)
    np.testing.assert_array_equal(np.concatenate([each["ids"] for each in samples]), second)
    assert {each["ids"].dtype for each in samples} == {np.dtype(np.int32)} and all(each["scale"] == 3 for each in samples)
    limited = list(open_samples(tmp_path / "x.npz", inputs, Preparation(limit=2)))
    np.testing.assert_array_equal(limited[1]["image"][0], first[2])


@pytest.mark.parametrize(
    ("shape", "wanted", "count", "each"),
    [
        ((6, 4), (3, 4), 2, (3, 4)),  # a fixed batch of three
        ((5, 3, 4), (3, 4), 5, (3, 4)),
        ((3, 4), (3, 4), 1, (3, 4)),
        ((4,), (1, 4), 1, (1, 4)),
        ((9, 1, 4), (1, 4), 9, (1, 4)),
        ((7,), (), 7, ()),
        ((7, 16), (16,), 7, (16,)),
        ((16,), (16,), 1, (16,)),
        ((5, 9), None, 5, (1, 9)),
    ],
)
def test_the_number_of_axes_tells_what_a_sample_is(tmp_path, shape, wanted, count, each):
    values = noise(*shape)
    np.save(tmp_path / "x.npy", values)
    samples = list(open_samples(tmp_path / "x.npy", [Input("x", DType.FLOAT32, wanted)], PLAIN))
    assert [sample["x"].shape for sample in samples] == [each] * count
    np.testing.assert_array_equal(np.concatenate([sample["x"].reshape(-1) for sample in samples]), values.reshape(-1))


def test_numbers_are_brought_to_the_type_of_the_input(tmp_path):
    np.save(tmp_path / "x.npy", noise(3, 8, 12, 3, dtype=np.uint8))
    sample = next(iter(open_samples(tmp_path / "x.npy", [IMAGE], PLAIN)))["image"]
    assert sample.dtype == np.float32 and sample.max() > 200
    asked = Preparation(mean=(127.5,), std=(127.5,))
    assert open_samples(tmp_path / "x.npy", [IMAGE], asked).notices == ()
    scaled = next(iter(open_samples(tmp_path / "x.npy", [IMAGE], asked)))["image"]
    np.testing.assert_allclose(scaled, sample / 127.5 - 1, atol=1e-6)
    np.save(tmp_path / "x.npy", noise(3, 3, 8, 12, dtype=np.uint8))
    first = Input("image", DType.FLOAT32, (1, 3, 8, 12))
    plain, by_channel = (
        next(iter(open_samples(tmp_path / "x.npy", [first], each)))["image"]
        for each in (PLAIN, Preparation(mean=(1.0, 2.0, 3.0), std=(1.0, 2.0, 4.0)))
    )
    np.testing.assert_allclose(by_channel[0, 2], (plain[0, 2] - 3) / 4)
    np.save(tmp_path / "words.npy", np.asarray([["a", "b"], ["c", "dé"]]))
    words = list(open_samples(tmp_path / "words.npy", [Input("x", DType.STRING, (None, 2))], PLAIN))
    assert words[1]["x"].tolist() == [[b"c", "dé".encode()]]


def spoil(values, place, value):
    values = values.copy()
    values.reshape(-1)[place] = value
    return values


BAD_ARRAYS = {
    "nan": (lambda: spoil(noise(3, 8, 12, 3), 300, np.nan), "hold NaN", "sample 2"),
    "infinite": (lambda: spoil(noise(3, 8, 12, 3), 600, np.inf), "hold infinite", "sample 3"),
    "double": (lambda: spoil(noise(3, 8, 12, 3).astype(np.float64), 0, 1e300), "do not fit into float32", "sample 1"),
    "large whole": (lambda: spoil(np.zeros((3, 8, 12, 3), np.int64), 0, 2**60), "do not fit into float32", "sample 1"),
    "channels": (lambda: noise(3, 8, 12, 4), "have the shape", "[1, 8, 12, 3]"),
    "size": (lambda: noise(3, 12, 8, 3), "have the shape", "[?, 8, 12, 3]"),
    "rank": (lambda: noise(3, 288), "have the shape", "x.npy"),
    "complex": (lambda: noise(3, 8, 12, 3) + 1j, "are complex", "float32"),
    "words": (lambda: np.full((3, 8, 12, 3), "a"), "are <U1", "float32"),
    "none": (lambda: np.zeros((0, 8, 12, 3), np.float32), "holds no samples", ""),
    "pickled": (lambda: np.asarray([{"a": 1}, None], object), "pickled Python objects", "np.save"),
    "records": (lambda: np.zeros(3, [("a", "f4")]), "holds records", ""),
}


@pytest.mark.parametrize("kind", BAD_ARRAYS)
@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_an_array_that_cannot_be_used_is_refused_before_any_work(tmp_path, kind, suffix):
    make, what, more = BAD_ARRAYS[kind]
    if suffix == "npy":
        np.save(tmp_path / "x.npy", make())
    else:
        np.savez_compressed(tmp_path / "x.npz", image=make())
    with pytest.raises(FerryError, match=what) as caught:
        open_samples(tmp_path / f"x.{suffix}", [IMAGE], PLAIN)
    assert more.replace("x.npy", "x.np") in str(caught.value)


def test_nothing_pickled_is_ever_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    np.save(tmp_path / "x.npy", np.asarray([Trap()], object), allow_pickle=True)
    with pytest.raises(SourceError, match="pickled"):
        open_samples(tmp_path / "x.npy", [IMAGE], PLAIN)
    (tmp_path / "y.npy").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(SourceError, match=r"not a readable \.npy"):
        open_samples(tmp_path / "y.npy", [IMAGE], PLAIN)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_damaged_files_of_arrays_end_in_one_error(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    np.save(path, noise(3, 8, 12, 3)) if suffix == "npy" else np.savez_compressed(path, image=noise(3, 8, 12, 3))
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for length in [0, 1, 5, 9, 60, 127, 128, 200, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(FerryError):
            open_samples(path, [IMAGE], PLAIN)
    for _ in range(300):
        data = bytearray(whole)
        for place in generator.integers(0, min(len(data), 400) if suffix == "npy" else len(data), 3):
            data[place] = generator.integers(0, 256)
        path.write_bytes(data)
        try:
            open_samples(path, [IMAGE], PLAIN)
        except FerryError:
            refused += 1
    assert refused > 50


def test_arrays_that_do_not_belong_together(tmp_path):
    inputs = [IMAGE, Input("other", DType.FLOAT32, (None, 2))]
    np.save(tmp_path / "x.npy", noise(3, 8, 12, 3))
    with pytest.raises(OptionError, match="holds one array"):
        open_samples(tmp_path / "x.npy", inputs, PLAIN)
    np.savez(tmp_path / "x.npz", image=noise(3, 8, 12, 3), another=noise(3, 2))
    with pytest.raises(OptionError, match="no array named other"):
        open_samples(tmp_path / "x.npz", inputs, PLAIN)
    np.savez(tmp_path / "x.npz", image=noise(3, 8, 12, 3), other=noise(4, 2))
    with pytest.raises(OptionError, match="different numbers of samples"):
        open_samples(tmp_path / "x.npz", inputs, PLAIN)
    np.savez(tmp_path / "x.npz", anything=noise(3, 8, 12, 3))
    assert open_samples(tmp_path / "x.npz", [IMAGE], PLAIN).count == 3
    with pytest.raises(OptionError, match="for a model with one input"):
        open_samples(tmp_path / "x.npz", inputs, Preparation(std=(2.0,)))
    (tmp_path / "x.bin").write_bytes(b"")
    with pytest.raises(OptionError, match="cannot tell what samples"):
        open_samples(tmp_path / "x.bin", [IMAGE], PLAIN)


def test_a_file_larger_than_a_sample_is_never_held(tmp_path):
    import tracemalloc  # noqa: PLC0415

    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("image.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (2000, 100, 100, 3)})
        for _ in range(2000):
            file.write(np.full((100, 100, 3), 0.5, np.float32).tobytes())
    given = Input("image", DType.FLOAT32, (1, 100, 100, 3))
    tracemalloc.start()
    found = open_samples(tmp_path / "x.npz", [given], Preparation(limit=20))
    assert sum(1 for _ in found) == 20
    assert tracemalloc.get_traced_memory()[1] < 12_000_000  # of 240 MB
    tracemalloc.stop()


# What is strange is said


@pytest.mark.parametrize(
    ("values", "scaling", "notice"),
    [
        (noise(9, 8, 12, 3), None, ""),
        (noise(9, 8, 12, 3, dtype=np.uint8), None, "as pixels do"),
        (noise(9, 8, 12, 3), Scaling((1 / 127.5,), (-1.0,)), "scales pixels of 0 to 255 itself"),
        (noise(9, 8, 12, 3, dtype=np.uint8), Scaling((1 / 127.5,), (-1.0,)), ""),
        (np.concatenate([noise(8, 8, 12, 3), noise(1, 8, 12, 3, dtype=np.uint8)]), None, "sample 9 to 2"),
        (np.full((9, 8, 12, 3), 0.25, np.float32), None, "all hold one value"),
    ],
)
def test_ranges_that_look_wrong_are_noticed(tmp_path, values, scaling, notice):
    np.save(tmp_path / "x.npy", values)
    given = Input("image", DType.FLOAT32, (1, 8, 12, 3), scaling)
    notices = open_samples(tmp_path / "x.npy", [given], PLAIN).notices
    assert (notice in notices[0] and len(notices) == 1) if notice else notices == ()


# Python

PAIR = [Input("a", DType.FLOAT32, (1, 3)), Input("b", DType.INT32, (1,))]


def dataset():
    for number in range(4):
        yield {"a": np.full((1, 3), number, np.float32), "b": [number]}


@pytest.mark.parametrize("source", [dataset, list(dataset()), lambda: ([each["a"], each["b"]] for each in dataset())])
def test_samples_from_python_are_checked_and_can_be_taken_again(source):
    found = open_samples(source, PAIR, Preparation(limit=3))
    assert found.count == 3 and found.notices == ()
    for _ in range(2):
        assert [(each["a"][0, 0], each["b"].tolist()) for each in found] == [(0, [0]), (1, [1]), (2, [2])]


def test_an_iterator_that_runs_once_is_checked_as_it_comes():
    found = open_samples(dataset(), PAIR, PLAIN)
    assert found.count is None and "runs once" in found.notices[0]
    assert len(list(found)) == 4
    spoilt = itertools.chain(dataset(), [{"a": np.full((1, 3), np.nan), "b": [0]}])
    taken = iter(open_samples(spoilt, PAIR, PLAIN))
    for _ in range(4):
        next(taken)
    with pytest.raises(SourceError, match="NaN") as caught:
        next(taken)
    assert "sample 5" in str(caught.value)


def test_single_inputs_need_no_names():
    given = [Input("a", DType.FLOAT32, (1, 3))]
    for source in (np.ones((4, 3), np.float32), [np.ones((1, 3))] * 4, [np.ones(3)] * 4, [[np.ones((1, 3))]] * 4, [[1, 1, 1]] * 4):
        assert [each["a"].shape for each in open_samples(source, given, PLAIN)] == [(1, 3)] * 4


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ([{"a": np.ones((1, 3))}], "other names"),
        ([{"a": np.ones((1, 4)), "b": [1]}], "has the shape"),
        ([{"a": np.ones((1, 3)), "b": [1.5]}], "are float64"),
        ([{"a": np.ones((1, 3)), "b": [2**40]}], "do not fit into int32"),
        ([{"a": [None], "b": [1]}], "are list"),
        ([np.ones((1, 3))], "a sample is one array"),
        ([], "no samples"),
        (lambda: None, "cannot be taken from a NoneType"),
        ({"a": 1}, "cannot be taken from a dict"),
    ],
)
def test_what_python_gives_wrong_is_told(source, what):
    with pytest.raises(FerryError, match=what):
        open_samples(source, PAIR, PLAIN)


@pytest.mark.parametrize(("total", "limit", "wanted"), [(3, None, [0, 1, 2]), (10, 4, [0, 2, 5, 7]), (0, 5, []), (2, 9, [0, 1])])
def test_places_are_spread_evenly(total, limit, wanted):
    assert choose_places(total, limit) == wanted
