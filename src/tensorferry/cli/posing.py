"""The command that shows poses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tensorferry.cli.shared import FACE, command

if TYPE_CHECKING:
    from tensorferry.console import Screen


@click.command()
@click.argument("model")
@click.argument("pictures")
@click.option("-o", "--output", metavar="FOLDER|FILE", help="Where drawings go, a .json file beside each; else poses are told.")
@click.option(
    "--compare", metavar="MODEL", multiple=True, help="Another model, drawn beside the first, with its drift. Repeatable."
)
@click.option("--single", is_flag=True, help="One person: the highest cell of each part.")
@click.option("--fit", default="letterbox", show_default=True, metavar="WAY", help="letterbox, stretch or crop.")
@click.option("--most", type=click.IntRange(1), default=20, show_default=True, help="Most people in a picture.")
@click.option("--threshold", default=0.5, show_default=True, help="Least score of a part that a person may begin with.")
@click.option("--least", default=0.15, show_default=True, help="Least score of a person.")
@click.option("--mean", metavar="M[,M,M]", help="The model takes (pixel - mean) / std; 127.5 if neither it nor you say otherwise.")
@click.option("--std", metavar="S[,S,S]", help="Likewise.")
@FACE
@command
def pose(
    screen: Screen,
    model: str,
    pictures: str,
    output: str | None,
    compare: tuple[str, ...],
    single: bool,
    fit: str,
    most: int,
    threshold: float,
    least: float,
    mean: str | None,
    std: str | None,
) -> None:
    """Find people in pictures with a PoseNet in any format, and draw them. PICTURES is a file or a folder.

    \b
    Example:
      tensorferry pose posenet.tflite photographs/ -o drawn/
      tensorferry pose float.tflite couple.jpg --compare int8.tflite --compare web_model -o side_by_side.png
    """
    from tensorferry.options import split_numbers  # noqa: PLC0415
    from tensorferry.origins import Share  # noqa: PLC0415
    from tensorferry.pose.decoding import Search  # noqa: PLC0415
    from tensorferry.pose.estimating import Seeking  # noqa: PLC0415
    from tensorferry.posing import find_poses  # noqa: PLC0415

    search = Search(most=most, threshold=threshold, least=least)
    scales = [split_numbers(role, given) or None for role, given in (("mean", mean), ("std", std))]
    seeking = Seeking(single, search, fit, *scales)
    with screen.progress() as progress:
        progress("open the models")
        result = find_poses(
            (model, *compare),
            pictures,
            output,
            seeking,
            progress=lambda done, total: progress(Share("pictures", done, total, "pictures")),
        )
    screen.show_poses(result)
