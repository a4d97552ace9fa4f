"""`tensorferry pose`: pictures of any size in, poses in their own pixels and drawings out; models of any format; bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tensorferry
from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.pose import Keypoint, Pose, decode_single, find_heads
from tensorferry.pose.drawing import COLOURS, draw_poses, side_by_side, stroke
from tensorferry.pose.estimating import Seeking
from tensorferry.pose.parts import PARTS
from tensorferry.pose.placing import place
from tensorferry.posing import Drift, find_poses, open_estimator
from tensorferry.writers.graphdef import write_graphdef
from tensorferry.zoo import Architecture, FolderWeights, build_mobilenet_v1, build_posenet

MODELS = Path(__file__).parents[2] / "shared" / "models"
REFERENCE = MODELS / "posenet_ref_outputs" / "keypoints.json"
WEIGHTS = MODELS / "posenet075_tfjs_manifest"
needs_models = pytest.mark.skipif(not REFERENCE.is_file(), reason="../shared/models is not there")


def pose_at(*places: tuple[float, float], score: float = 0.9) -> Pose:
    points = [*places, *[(0.0, 0.0)] * (len(PARTS) - len(places))]
    return Pose(score, tuple(Keypoint(part, score, x, y) for part, (x, y) in zip(PARTS, points, strict=True)))


@pytest.mark.parametrize("way", ["letterbox", "crop", "stretch"])
@pytest.mark.parametrize("shape", [(100, 50), (60, 200), (337, 337)])
def test_a_spot_is_found_again_where_it_was_in_the_picture(way: str, shape: tuple[int, int]) -> None:
    spot = (shape[1] * 0.55, shape[0] * 0.45)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    glow = 255 * np.exp(-((columns - spot[0]) ** 2 + (rows - spot[1]) ** 2) / (2 * (min(shape) / 12) ** 2))
    pixels = np.repeat(glow[..., None], 3, axis=-1).astype(np.uint8)
    fitted, placement = place(pixels, (129, 161), way)
    row, column = np.unravel_index(fitted[..., 0].argmax(), fitted.shape[:2])
    found = placement.to_picture(pose_at((float(column), float(row)))).keypoints[0]
    assert (found.x, found.y) == pytest.approx(spot, abs=1 + max(1 / placement.across, 1 / placement.down))


def test_strokes_are_smooth_and_stay_inside() -> None:
    canvas = np.zeros((40, 60, 3), np.uint8)
    stroke(canvas, ((10, 20), (50, 20)), 3, (200, 100, 50))
    assert canvas[20, 30].tolist() == [200, 100, 50]
    assert canvas[:16].max() == canvas[25:].max() == 0
    slant = np.zeros((40, 60, 3), np.uint8)
    stroke(slant, ((5, 5), (50, 30)), 2, (255, 255, 255))
    shades = np.unique(slant)
    assert len(shades) > 10  # smooth edges
    for ends in (((-500.0, -500.0), (-400.0, -300.0)), ((1e9, 5.0), (1e9, 6.0)), ((-1e6, 20.0), (1e6, 20.0))):
        stroke(slant, ends, 2, (255, 255, 255))


def test_a_drawing_shows_what_was_found_and_leaves_the_rest() -> None:
    pixels = np.full((240, 320, 3), 90, np.uint8)
    drawn = draw_poses(pixels, [pose_at((100, 120), (110, 110), (90, 110))])
    assert drawn.shape == pixels.shape
    assert np.abs(drawn[120, 100].astype(int) - COLOURS[0]).max() < 30
    assert (drawn[200:, 250:] == 90).all()
    assert (pixels == 90).all()
    hidden = draw_poses(pixels, [pose_at((100, 120), score=0.1)])
    assert (hidden == 90).all()
    assert side_by_side([drawn, drawn, drawn]).shape == (488, 648, 3)


def test_drift_pairs_the_same_people() -> None:
    one, other = pose_at(*[(10.0 * n, 5.0) for n in range(17)]), pose_at(*[(10.0 * n, 300.0) for n in range(17)])
    moved = Pose(0.9, tuple(Keypoint(each.part, each.score, each.x + 3, each.y + 4) for each in one.keypoints))
    drift = Drift.between([one, other], [other, moved])
    assert drift is not None
    assert drift.largest == pytest.approx(5)
    assert drift.median == pytest.approx(2.5)
    assert Drift.between([one], []) is None
    assert Drift.between([pose_at((1, 1), score=0.2)], [one]) is None


@pytest.fixture(scope="module")
def posenet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The real one in four formats."""
    folder = tmp_path_factory.mktemp("posenet")
    graph = build_posenet(weights=FolderWeights(WEIGHTS))
    made = {
        "graph": folder / "posenet.pb",
        "lite": folder / "posenet.tflite",
        "web": folder / "web",
        "half": folder / "half.tflite",
    }
    write_graphdef(graph, made["graph"])
    tensorferry.convert(made["graph"], [made["lite"], made["web"]], verify=False)
    tensorferry.convert(made["graph"], made["half"], quantize="float16", verify=False)
    return made


@needs_models
@pytest.mark.parametrize("form", ["graph", "lite", "web"])
def test_keypoints_of_photographs_are_the_reference_s(posenet: dict[str, Path], form: str) -> None:
    told = json.loads(REFERENCE.read_text())["pictures"]
    pictures = list(told.items())[:: 2 if form == "web" else 1]
    for picture, facts in pictures:
        result = find_poses([posenet[form]], MODELS / picture, seeking=Seeking(single=True, fit="stretch"))
        (pose,) = result.findings[0].poses
        # The reference took JPEGs apart by TensorFlow's fast and coarser method: pixels differ by up to 7 of 255.
        near = 0.1 if picture.endswith("bmp") else 1.2
        for point, expected in zip(pose.keypoints, facts["keypoints"], strict=True):
            if expected["score"] > 0.5:
                away = [
                    (point.x - expected["x"]) * 337 / facts["size_wh"][0],
                    (point.y - expected["y"]) * 337 / facts["size_wh"][1],
                ]
                assert np.hypot(*away) < near, (picture, point)
                assert point.score == pytest.approx(expected["score"], abs=0.03)


@needs_models
@pytest.mark.parametrize("form", ["lite", "web"])
def test_keypoints_of_the_very_same_pixels(posenet: dict[str, Path], form: str) -> None:
    with open_estimator(posenet[form], Seeking()) as estimator:
        for path in sorted(REFERENCE.parent.glob("*.npz")):
            with np.load(path) as file:
                expected = decode_single(find_heads({name: file[name] for name in file.files if name != "image"}, 337, 337))
                found = decode_single(find_heads(estimator.run({"image": file["image"]}), 337, 337))
            for one, other in zip(expected.keypoints, found.keypoints, strict=True):
                assert (one.x, one.y, one.score) == pytest.approx((other.x, other.y, other.score), abs=0.05), path.stem


@needs_models
def test_both_people_of_the_couple_in_a_drawing(posenet: dict[str, Path], tmp_path: Path) -> None:
    picture = MODELS / "posenet_img_couple" / "test_couple.jpg"
    result = find_poses([posenet["lite"], posenet["half"]], picture, tmp_path / "drawn.jpg")
    first, second = result.findings
    assert len(first.poses) == len(second.poses) == 2
    assert all(sum(point.score > 0.5 for point in pose.keypoints) >= 15 for pose in first.poses)
    assert first.drift is None
    assert second.drift is not None
    assert second.drift.p95 < 2
    with Image.open(tmp_path / "drawn.jpg") as drawn:
        assert drawn.size == (2 * 1920 + 8, 1278)
    told = json.loads((tmp_path / "drawn.json").read_text())
    assert [each["model"] for each in told] == ["posenet.tflite", "half.tflite"]
    assert len(told[0]["poses"][0]["keypoints"]) == 17


@needs_models
def test_a_folder_from_the_command_line(posenet: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    source = MODELS / "posenet_img_set" / "backpackman.jpg"
    with Image.open(source) as picture:
        picture.save(folder / "upright.png")
        turned = picture.transpose(Image.Transpose.ROTATE_90)
        exif = turned.getexif()
        exif[0x0112] = 6  # to be turned a quarter clockwise
        turned.save(folder / "deeper" / "turned.jpg", exif=exif, quality=95)
    words = ["pose", posenet["lite"], folder, "-o", tmp_path / "out", "--json"]
    done = subprocess.run([sys.executable, "-m", "tensorferry", *map(str, words)], capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    found = {Path(each["picture"]).name: each["poses"] for each in told["findings"]}
    upright, other = found["upright.png"], found["turned.jpg"]
    assert upright
    assert other
    for one, two in zip(upright[0]["keypoints"], other[0]["keypoints"], strict=True):
        if one["score"] > 0.8:
            assert (one["x"], one["y"]) == pytest.approx((two["x"], two["y"]), abs=4)
    assert (tmp_path / "out" / "deeper" / "turned.png").is_file()
    assert (tmp_path / "out" / "upright.json").is_file()


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PoseNet of random weights, for what fails before it matters."""
    path = tmp_path_factory.mktemp("small") / "small.tflite"
    graph = build_posenet(Architecture(multiplier=0.25, resolution=(65, 65), output_stride=16))
    write_graphdef(graph, path.with_suffix(".pb"))
    tensorferry.convert(path.with_suffix(".pb"), path, verify=False)
    return path


def grey(path: Path, **keywords: Any) -> Path:
    Image.new(keywords.pop("mode", "RGB"), (30, 20)).save(path, **keywords)
    return path


def test_pictures_that_are_none(small: Path, tmp_path: Path) -> None:
    for name, content in (("text.jpg", b"not a picture"), ("empty.png", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SourceError, match=name.split(".", maxsplit=1)[0]):
            find_poses([small], tmp_path / name)
    cut = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)
    Image.fromarray(noise).save(cut)
    cut.write_bytes(cut.read_bytes()[:9000])
    with pytest.raises(SourceError, match="cut"):
        find_poses([small], cut)


def test_colours_that_hang_on_a_profile(small: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="CMYK"):
        find_poses([small], grey(tmp_path / "print.jpg", mode="CMYK"))
    with pytest.raises(SourceError, match="8 bits"):
        find_poses([small], grey(tmp_path / "deep.png", mode="I;16"))


def test_a_picture_of_50_000_pixels_across(small: Path, tmp_path: Path) -> None:
    Image.new("1", (50_000, 2_000)).save(tmp_path / "wide.png")
    with pytest.raises(SourceError, match="too large"):
        find_poses([small], tmp_path / "wide.png")


def test_a_model_that_is_no_posenet_names_what_is_missing(tmp_path: Path) -> None:
    graph = build_mobilenet_v1(Architecture(multiplier=0.25, resolution=(65, 65)), classes=5)
    write_graphdef(graph, tmp_path / "net.pb")
    with pytest.raises(SourceError, match=r"no PoseNet.*heatmap"):
        find_poses([tmp_path / "net.pb"], grey(tmp_path / "picture.png"))


def test_targets_that_would_overwrite_pictures(small: Path, tmp_path: Path) -> None:
    picture = grey(tmp_path / "picture.png")
    before = picture.read_bytes()
    with pytest.raises(FerryError):
        find_poses([small], picture, picture)
    with pytest.raises(FerryError):
        find_poses([small], tmp_path, tmp_path)
    with pytest.raises(OptionError, match=r"\.gif"):
        find_poses([small], picture, tmp_path / "drawn.gif")
    grey(tmp_path / "other.png")
    with pytest.raises(OptionError, match="one file"):
        find_poses([small], tmp_path, tmp_path / "drawn.png")
    assert picture.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other.png", "picture.png"]


def test_a_fit_that_nobody_knows() -> None:
    with pytest.raises(OptionError, match="unknown fit"):
        Seeking(fit="squash")
