"""Commands that look at models and write nothing: inspect, check."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tensorferry.cli.shared import FACE, ORIGIN, PORTS, SOURCE, command, parse_shapes

if TYPE_CHECKING:
    from tensorferry.console import Screen


@click.command()
@SOURCE
@ORIGIN
@click.option("--nodes", is_flag=True, help="List every node: index, name, tensor, shape, type.")
@click.option("--layers", is_flag=True, help="List layers with parameters and multiply-accumulates, all functions and variables.")
@FACE
@command
def inspect(screen: Screen, source: str, nodes: bool, layers: bool, **options: Any) -> None:
    """Show what a model holds: signatures, tags, functions, variables, layers, metadata, assets, and the graph a conversion uses.

    Weights alone (checkpoints, manifests) are listed.

    \b
    Example:
      tensorferry inspect posenet.pb --nodes
    """
    from tensorferry.conversion import inspect as inspect_model  # noqa: PLC0415

    with screen.progress() as progress:
        progress("read")
        inspection = inspect_model(source, progress=progress, **options)
    screen.show_inspection(inspection, nodes=nodes, layers=layers)


@click.command()
@SOURCE
@ORIGIN
@PORTS
@click.option("--to", default="tflite,tfjs", show_default=True, metavar="KINDS", help="Targets to look at.")
@FACE
@command
def check(screen: Screen, source: str, to: str, input_shape: tuple[str, ...], **options: Any) -> None:
    """Say what a conversion will meet: ops that are direct, rewritten or impossible, and where the result can run.

    Nothing is converted. Exit code 2 when a target cannot do it.

    \b
    Example:
      tensorferry check posenet.pb --to tflite,tfjs
    """
    from tensorferry.conversion import assess  # noqa: PLC0415

    with screen.progress() as progress:
        progress("check")
        kinds: Any = [kind.strip() for kind in to.split(",")]
        assessments = assess(source, kinds, progress=progress, input_shapes=parse_shapes(input_shape), **options)
    screen.show_assessments(assessments, source)
    if not all(each.possible for each in assessments.values()):
        raise click.exceptions.Exit(2)


@click.command()
@click.argument("before")
@click.argument("after")
@ORIGIN
@click.option("--run", is_flag=True, help="Compare what both compute on the same random inputs, too.")
@click.option(
    "--tolerance", default=1e-4, show_default=True, help="With --run: accepted error, relative to an output's largest value."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="With --run: seed of the random values.")
@click.option("--all", "everything", is_flag=True, help="List all that differs, not the first of each.")
@FACE
@command
def diff(screen: Screen, before: str, after: str, everything: bool, **options: Any) -> None:
    """Show what sets one model apart from another, of any formats: inputs, outputs, ops, weights.

    Exit code 0 when they are the same, 1 when they differ, 2 when one cannot be read.

    \b
    Example:
      tensorferry diff old.pb new.tflite --run
    """
    from tensorferry.conversion import diff as compare  # noqa: PLC0415

    with screen.progress() as progress:
        progress("compare")
        difference = compare(before, after, progress=progress, **options)
    screen.show_difference(difference, everything=everything)
    if not difference.same:
        raise click.exceptions.Exit(1)


@click.command()
@click.argument("before")
@click.argument("after")
@click.option(
    "--samples",
    metavar="FOLDER|FILE",
    help="What to judge by: a folder of pictures, an .npy, .npz or .csv file, as for calibration; without it, random inputs.",
)
@click.option("-o", "--output", metavar="PAGE.html", help="Write a page with tables, histograms and code, too.")
@click.option("--all", "everything", is_flag=True, help="List all layers, not the worst.")
@click.option(
    "--mean", metavar="M[,M,M]", help="Pictures go in as (pixel - mean) / std; 127.5 if neither the model nor you say otherwise."
)
@click.option("--std", metavar="S[,S,S]", help="Likewise.")
@FACE
@command
def quality(
    screen: Screen,
    before: str,
    after: str,
    samples: str | None,
    output: str | None,
    everything: bool,
    mean: str | None,
    std: str | None,
) -> None:
    """Show what quantising cost: BEFORE and AFTER are a TensorFlow Lite file in float and its quantised form.

    Outputs and layers are compared tensor by tensor, the worst first.

    \b
    Example:
      tensorferry quality float.tflite int8.tflite --samples photographs/ -o report.html
    """
    from tensorferry.calibration.pixels import Preparation  # noqa: PLC0415
    from tensorferry.errors import OptionError  # noqa: PLC0415
    from tensorferry.options import split_numbers  # noqa: PLC0415
    from tensorferry.quality import examine, write_report  # noqa: PLC0415

    if samples is None and (mean or std):
        raise OptionError("--mean and --std say how samples go in, and none are given", remedy="add --samples FOLDER")
    asked = Preparation(split_numbers("mean", mean) or None, split_numbers("std", std) or None)
    with screen.progress() as progress:
        found = examine(before, after, samples, asked, progress=lambda number: progress(f"sample {number}"))
        if output is not None:
            write_report(found, output)
    screen.show_quality(found, everything=everything)
