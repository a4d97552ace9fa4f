"""Commands that write models, and prove what was written: convert, freeze, verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tensorferry.cli.shared import CARD, FACE, NAMES, ORIGIN, PORTS, PROOF, QUANTISATION, SOURCE, command, parse_pairs, parse_shapes

if TYPE_CHECKING:
    from tensorferry.console import Screen


@click.command()
@SOURCE
@click.option(
    "--output",
    "-o",
    "targets",
    metavar="TARGET",
    multiple=True,
    required=True,
    help="*.tflite, a folder for TensorFlow.js, *.pb, *.pbtxt, *.ckpt or *.npz. May be repeated.",
)
@ORIGIN
@PORTS
@NAMES
@click.option("--keep-names", is_flag=True, help="Tell which nodes of the source keep their name in the result, and which do not.")
@click.option(
    "--metadata",
    metavar="KEY:FILE",
    multiple=True,
    callback=parse_pairs(":"),
    help="A file to carry along: JSON in TensorFlow.js (userDefinedMetadata), any bytes in TensorFlow Lite. May be repeated.",
)
@click.option(
    "--control-flow",
    type=click.Choice(("v1", "v2")),
    default="v2",
    show_default=True,
    help="Form of loops and branches in TensorFlow.js and frozen graphs: v2 functional, v1 TensorFlow 1's Switch and Merge.",
)
@click.option(
    "--to",
    metavar="KINDS",
    help="Kind of the targets if their names do not tell (a folder alone is tfjs), or one for each, in their order: "
    "tflite, tfjs, tfjs-layers, graphdef, graphdef-text, savedmodel, checkpoint, npz.",
)
@click.option("--allow-custom", is_flag=True, help="Pass ops that a target lacks on under their names, for a runtime of yours.")
@click.option("--allow-select", is_flag=True, help="Write ops that TensorFlow Lite lacks as Select (Flex) operators.")
@click.option("--state-as-io", is_flag=True, help="Variables that a run assigns become inputs and outputs, as in TensorFlow.js.")
@click.option(
    "--shard-size",
    type=click.IntRange(0),
    default=4 << 20,
    show_default=True,
    help="Bytes a TensorFlow.js shard; 0 writes one.",
)
@click.option("--verify/--no-verify", default=True, show_default=True, help="Run the result and compare it with the source.")
@click.option("--verify-memory", type=click.IntRange(0), default=4 << 30, show_default=True, help="Bytes a verification may take.")
@QUANTISATION
@CARD
@PROOF
@FACE
@command
def convert(screen: Screen, source: str, targets: tuple[str, ...], input_shape: tuple[str, ...], **options: Any) -> None:
    """Convert a model to TensorFlow Lite, TensorFlow.js or both, and prove the result.

    SOURCE is a graph (.pb, .pbtxt), a SavedModel, a checkpoint, a Keras, TensorFlow.js or TensorFlow Lite model, a zip or tar
    archive of one, or the http(s) address of any; what it is follows from its content.

    \b
    Example:
      tensorferry convert posenet.pb -o posenet.tflite -o web_model/ \\
          --inputs image --outputs heatmap,offset_2
    """
    from tensorferry.conversion import convert as convert_model  # noqa: PLC0415

    with screen.progress() as progress:
        report = convert_model(source, targets, progress=progress, input_shapes=parse_shapes(input_shape), **options)
    screen.show_report(report)


@click.command()
@SOURCE
@click.option(
    "--output", "-o", metavar="FROZEN.pb", required=True, type=click.Path(path_type=Path), help="The frozen graph to write."
)
@ORIGIN
@PORTS
@NAMES
@FACE
@command
def freeze(screen: Screen, source: str, output: Path, input_shape: tuple[str, ...], **options: Any) -> None:
    """Write a model as a frozen graph: its variables are constants, what its outputs do not need is left out.

    \b
    Example:
      tensorferry freeze graph.pb --checkpoint model.ckpt-1000 -o frozen.pb
    """
    from tensorferry.conversion import freeze as freeze_model  # noqa: PLC0415

    with screen.progress() as progress:
        progress("freeze")
        frozen = freeze_model(source, output, progress=progress, input_shapes=parse_shapes(input_shape), **options)
    screen.show_frozen(frozen)


@click.command()
@SOURCE
@click.argument("targets", nargs=-1, required=True)
@ORIGIN
@PORTS
@NAMES
@PROOF
@FACE
@command
def verify(screen: Screen, source: str, targets: tuple[str, ...], input_shape: tuple[str, ...], **options: Any) -> None:
    """Compare converted models with their source, in the runtimes that will run them.

    Exit code 0 when all were run and are right, 1 when one differs, 2 when one could not be run.

    \b
    Example:
      tensorferry verify posenet.pb posenet.tflite web_model/
    """
    from tensorferry.conversion import verify as verify_models  # noqa: PLC0415

    with screen.progress() as progress:
        verification = verify_models(source, *targets, progress=progress, input_shapes=parse_shapes(input_shape), **options)
    screen.show_verification(verification)
    if not verification.verified:
        raise click.exceptions.Exit(2 if verification.passed else 1)
