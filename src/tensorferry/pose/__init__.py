"""Poses of people: what PoseNet's outputs say, as plain records."""

from tensorferry.pose.decoding import Search, decode_poses, decode_single
from tensorferry.pose.heads import Heads, find_heads
from tensorferry.pose.parts import PARTS, SKELETON
from tensorferry.pose.records import Keypoint, Pose

__all__ = ["PARTS", "SKELETON", "Heads", "Keypoint", "Pose", "Search", "decode_poses", "decode_single", "find_heads"]
