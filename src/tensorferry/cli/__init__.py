"""The command line: arguments in, one call of the library, a rendering out. No logic.

Built on click alone: what is imported here is paid at every start, and more above it would cost more than converting PoseNet.
A command stands in the file of its group, made of the options in `shared`, and is named below.
"""

from __future__ import annotations

from tensorferry.cli.converting import convert, freeze, verify
from tensorferry.cli.fetching import fetch
from tensorferry.cli.looking import check, diff, inspect, quality
from tensorferry.cli.posing import pose
from tensorferry.cli.program import app, main
from tensorferry.cli.timing import bench
from tensorferry.cli.zoo import zoo

__all__ = ["app", "main"]

for each in (inspect, check, diff, quality, convert, freeze, verify, bench, zoo, fetch, pose):
    app.add_command(each)
