"""The parts of a body that PoseNet finds, in the order of its channels, and what joins them."""

from __future__ import annotations

PARTS = (
    "nose",
    "leftEye",
    "rightEye",
    "leftEar",
    "rightEar",
    "leftShoulder",
    "rightShoulder",
    "leftElbow",
    "rightElbow",
    "leftWrist",
    "rightWrist",
    "leftHip",
    "rightHip",
    "leftKnee",
    "rightKnee",
    "leftAnkle",
    "rightAnkle",
)

_TREE = """
nose leftEye, leftEye leftEar, nose rightEye, rightEye rightEar,
nose leftShoulder, leftShoulder leftElbow, leftElbow leftWrist, leftShoulder leftHip, leftHip leftKnee, leftKnee leftAnkle,
nose rightShoulder, rightShoulder rightElbow, rightElbow rightWrist, rightShoulder rightHip,
rightHip rightKnee, rightKnee rightAnkle
"""

_BONES = """
leftHip leftShoulder, leftElbow leftShoulder, leftElbow leftWrist, leftHip leftKnee, leftKnee leftAnkle,
rightHip rightShoulder, rightElbow rightShoulder, rightElbow rightWrist, rightHip rightKnee, rightKnee rightAnkle,
leftShoulder rightShoulder, leftHip rightHip
"""


def _pairs(text: str) -> tuple[tuple[int, int], ...]:
    pairs = (pair.split() for pair in text.split(","))
    return tuple((PARTS.index(one), PARTS.index(other)) for one, other in pairs)


TREE = _pairs(_TREE)
"""Parent and child of each edge, in the order of the displacement heads' channels; a parent stands before its children."""

SKELETON = _pairs(_BONES)
"""Pairs of parts between which a line is drawn."""
