"""The command that times models: bench."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tensorferry.cli.shared import FACE, ORIGIN, PORTS, command, parse_shapes

if TYPE_CHECKING:
    from tensorferry.console import Screen


def _parse_threads(context: click.Context, parameter: click.Parameter, given: str) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in given.split(","))
    except ValueError:
        raise click.BadParameter(f"'{given}' is no list of whole numbers such as 1,4", context, parameter) from None


@click.command()
@click.argument("models", nargs=-1, required=True)
@click.option("--threads", default="1", show_default=True, metavar="N[,N]", callback=_parse_threads, help="Threads of LiteRT.")
@click.option(
    "--xnnpack",
    type=click.Choice(("on", "off", "both")),
    default="on",
    show_default=True,
    help="LiteRT with XNNPACK, as phones have it, or on its own kernels.",
)
@click.option("--backend", "backends", default="wasm", show_default=True, metavar="A[,B]", help="Of TensorFlow.js: wasm, cpu.")
@click.option("--in", "places", default="node", show_default=True, metavar="A[,B]", help="TensorFlow.js in node, chromium or both.")
@click.option(
    "--to",
    metavar="KINDS",
    help="tflite, tfjs: what to convert models to first, in a private folder. What no runtime takes becomes tflite when not given.",
)
@click.option("--runs", type=click.IntRange(1), default=50, show_default=True, help="Runs of each model in each setting.")
@click.option("--warmup", type=click.IntRange(0), default=5, show_default=True, help="Runs before these.")
@click.option(
    "--seconds", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, help="Most time for these runs."
)
@click.option("--profile", is_flag=True, help="Time kernels too, where the runtime tells (TensorFlow.js).")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random inputs.")
@ORIGIN
@PORTS
@FACE
@command
def bench(screen: Screen, models: tuple[str, ...], xnnpack: str, input_shape: tuple[str, ...], **options: Any) -> None:
    """Time models side by side, on random inputs: latency, memory and kernels, in LiteRT and in TensorFlow.js.

    MODELS are .tflite files and TensorFlow.js models; any other source is converted first. They run in turn, each in a process of
    its own. Exit code 2 when one could not be run.

    \b
    Example:
      tensorferry bench float.tflite int8.tflite --threads 1,4
    """
    from tensorferry.timing import bench as bench_models  # noqa: PLC0415

    kernels = {"on": (True,), "off": (False,), "both": (True, False)}[xnnpack]
    with screen.progress() as progress:
        result = bench_models(models, progress=progress, xnnpack=kernels, input_shapes=parse_shapes(input_shape), **options)
    screen.show_bench(result)
    if not result.complete:
        raise click.exceptions.Exit(2)
