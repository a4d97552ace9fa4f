"""Poses from PoseNet's heads: drawn heads whose poses are known, and the reference outputs of real photographs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tensorferry.errors import FerryError, OptionError, SourceError
from tensorferry.pose import PARTS, Search, decode_poses, decode_single, find_heads
from tensorferry.pose.parts import TREE
from tensorferry.tensor import Array

STRIDE = 16
MODELS = Path(__file__).parents[2] / "shared" / "models"
REFERENCE = MODELS / "posenet_ref_outputs"


def drawn_body(left: float, top: float) -> Array:
    """Places [17 2], y before x, no two closer than a cell."""
    grid = np.stack(np.divmod(np.arange(len(PARTS)), 4), -1) * [37.3, 29.1]
    return grid + np.array([top, left])


def draw_heads(*bodies: Array, size: int = 25) -> dict[str, Array]:
    """Heads as an ideal PoseNet gives them: offsets lead from each cell to the nearest body's part, displacements along it."""
    cells = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1) * float(STRIDE)
    heat = np.full((size, size, len(PARTS)), 0.01)
    offset = np.zeros((size, size, 2, len(PARTS)))
    forward, backward = (np.zeros((size, size, 2, len(TREE))) for _ in range(2))
    stacked = np.stack(bodies)
    for part in range(len(PARTS)):
        away = stacked[:, part, None, None] - cells  # [bodies, h, w, 2]
        nearest = np.square(away).sum(-1).argmin(0)
        offset[..., part] = np.take_along_axis(away, nearest[None, ..., None], 0)[0]
        for body in bodies:
            row, column = np.rint(body[part] / STRIDE).astype(int)
            heat[row, column, part] = 0.9
    for edge, (parent, child) in enumerate(TREE):
        for displacement, source, target in ((forward, parent, child), (backward, child, parent)):
            nearest = np.square(stacked[:, source, None, None] - cells).sum(-1).argmin(0)
            displacement[..., edge] = (stacked[:, target] - stacked[:, source])[nearest]
    flat = (1, size, size, -1)
    return {
        "displacement_bwd_2": backward.reshape(flat),
        "heatmap": heat.reshape(flat),
        "displacement_fwd_2": forward.reshape(flat),
        "offset_2": offset.reshape(flat),
    }


def places(pose: object) -> Array:
    return np.array([[each.y, each.x] for each in pose.keypoints])  # type: ignore[attr-defined]


def test_one_body_is_found_where_it_was_drawn() -> None:
    body = drawn_body(40, 30)
    heads = find_heads(draw_heads(body), 400, 400)
    assert heads.stride == STRIDE
    for pose in (decode_single(heads), *decode_poses(heads)):
        np.testing.assert_allclose(places(pose), body, atol=1e-3)
        assert pose.score == pytest.approx(0.9)


def test_two_bodies_are_told_apart() -> None:
    bodies = drawn_body(20, 20), drawn_body(200, 120)
    found = decode_poses(find_heads(draw_heads(*bodies), 400, 400))
    assert len(found) == 2
    found.sort(key=lambda pose: pose.keypoints[0].x)
    for pose, body in zip(found, bodies, strict=True):
        np.testing.assert_allclose(places(pose), body, atol=1e-3)


def test_a_part_that_another_pose_has_does_not_count() -> None:
    body = drawn_body(40, 30)
    other = body.copy()
    other[:11] += [0, 150]  # legs are the same
    found = decode_poses(find_heads(draw_heads(body, other), 400, 400), Search(least=0.0))
    scores = sorted(pose.score for pose in found)
    assert scores[-1] == pytest.approx(0.9)
    assert any(score == pytest.approx(0.9 * 11 / 17, abs=0.08) for score in scores[:-1])


def test_limits_of_a_search() -> None:
    heads = find_heads(draw_heads(drawn_body(20, 20), drawn_body(200, 120)), 400, 400)
    assert len(decode_poses(heads, Search(most=1))) == 1
    assert decode_poses(heads, Search(threshold=0.95)) == []
    assert decode_poses(heads, Search(least=0.95)) == []
    with pytest.raises(OptionError, match="no poses"):
        Search(most=0)


def test_logits_and_scores_give_the_same() -> None:
    outputs = draw_heads(drawn_body(40, 30))
    heat = outputs["heatmap"]
    logits = {**outputs, "heatmap": np.log(heat / (1 - heat))}
    one, other = (decode_single(find_heads(each, 400, 400)) for each in (outputs, logits))
    np.testing.assert_allclose(places(one), places(other))
    assert one.score == pytest.approx(other.score, abs=1e-5)


def test_heads_are_told_by_channels_when_names_say_nothing() -> None:
    outputs = draw_heads(drawn_body(40, 30))
    order = ("heatmap", "offset_2", "displacement_fwd_2", "displacement_bwd_2")
    plain = {f"StatefulPartitionedCall:{number}": outputs[name] for number, name in enumerate(order)}
    np.testing.assert_array_equal(
        places(decode_poses(find_heads(plain, 400, 400))[0]), places(decode_poses(find_heads(outputs, 400, 400))[0])
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda outputs: outputs.pop("heatmap"), "heatmap of 17 channels"),
        (lambda outputs: outputs.pop("offset_2"), "offset of 34 channels"),
        (lambda outputs: outputs.update(heatmap=np.full((1, 25, 25, 17), np.nan)), "not finite"),
        (lambda outputs: outputs.update(heatmap=np.zeros((2, 25, 25, 17))), "2 pictures"),
        (lambda outputs: outputs.update(heatmap=np.zeros((1, 9, 9, 17))), "differ in size"),
    ],
)
def test_what_is_no_posenet_is_refused(change: object, message: str) -> None:
    outputs = draw_heads(drawn_body(40, 30))
    change(outputs)  # type: ignore[operator]
    with pytest.raises(FerryError, match=message):
        find_heads(outputs, 400, 400)


def test_people_are_not_told_apart_without_displacements() -> None:
    outputs = draw_heads(drawn_body(40, 30))
    heads = find_heads({name: outputs[name] for name in ("heatmap", "offset_2")}, 400, 400)
    assert len(decode_single(heads).keypoints) == len(PARTS)
    with pytest.raises(SourceError, match="no displacements"):
        decode_poses(heads)


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="../shared/models is not there")
def test_reference_outputs_of_photographs() -> None:
    told = json.loads((REFERENCE / "keypoints.json").read_text())["pictures"]
    for picture, facts in told.items():
        with np.load(REFERENCE / f"{Path(picture).stem}.npz") as file:
            pose = decode_single(find_heads(dict(file), 337, 337))
        width, height = facts["size_wh"]
        for point, expected in zip(pose.scaled(width / 337, height / 337).keypoints, facts["keypoints"], strict=True):
            assert point.part == expected["part"]
            assert (point.score, point.x, point.y) == pytest.approx((expected["score"], expected["x"], expected["y"]), abs=0.02)


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="../shared/models is not there")
def test_both_people_of_the_couple_are_found() -> None:
    with np.load(REFERENCE / "test_couple.npz") as file:
        found = decode_poses(find_heads(dict(file), 337, 337), Search(least=0.3))
    assert len(found) == 2
    assert all(sum(point.score > 0.5 for point in pose.keypoints) >= 12 for pose in found)


def test_displacements_may_share_one_head() -> None:
    outputs = draw_heads(drawn_body(40, 30))
    both = np.concatenate([outputs.pop("displacement_fwd_2"), outputs.pop("displacement_bwd_2")], axis=-1)
    (pose,) = decode_poses(find_heads({**outputs, "mid_offsets": both}, 400, 400))
    np.testing.assert_allclose(places(pose), drawn_body(40, 30), atol=1e-3)
