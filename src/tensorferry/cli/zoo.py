"""Models that the tool builds by itself: zoo list, zoo build."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tensorferry.cli.program import Group
from tensorferry.cli.shared import FACE, command

if TYPE_CHECKING:
    from tensorferry.console import Screen


@click.group(cls=Group)
def zoo() -> None:
    """Models that the tool builds by itself."""


@zoo.command("list")
@FACE
@command
def zoo_list(screen: Screen) -> None:
    """List the models that can be built.

    \b
    Example:
      tensorferry zoo list
    """
    from tensorferry.zoo.catalog import CATALOG  # noqa: PLC0415

    screen.show_catalog({name: entry.description for name, entry in CATALOG.items()})


@zoo.command("build")
@click.argument("model")
@click.option(
    "--output", "-o", metavar="GRAPH.pb", required=True, type=click.Path(path_type=Path), help="The frozen graph to write."
)
@click.option("--multiplier", type=float, help="Width multiplier, such as 0.75.")
@click.option("--resolution", type=click.IntRange(1), help="Height and width of the input in pixels.")
@click.option("--output-stride", type=int, help="8, 16 or 32.")
@click.option("--weights", metavar="FOLDER|random", help="manifest.json with raw files. Looked for when not given.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of random weights.")
@FACE
@command
def zoo_build(screen: Screen, model: str, output: Path, **wanted: Any) -> None:
    """Build a model and write it as a frozen graph.

    \b
    Example:
      tensorferry zoo build posenet -o posenet.pb --multiplier 0.75 --resolution 337
    """
    from tensorferry.zoo.catalog import Wanted, build  # noqa: PLC0415

    with screen.progress() as progress:
        progress(f"build {model}")
        built = build(model, output, Wanted(**wanted))
    screen.show_built(built)
