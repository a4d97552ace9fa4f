"""The command line: arguments in, one call of the library, a rendering out. No logic."""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from tensorferry import __version__
from tensorferry.errors import FerryError, OptionError

if TYPE_CHECKING:
    from tensorferry.console import Screen

app = typer.Typer(
    name="tensorferry",
    help="TensorFlow models to TensorFlow Lite and TensorFlow.js, without TensorFlow, and proved.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
zoo_app = typer.Typer(help="Models the tool can build by itself.", no_args_is_help=True)
app.add_typer(zoo_app, name="zoo")

LOG_LEVELS = ("debug", "info", "warning", "error")

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]
LogLevel = Annotated[str, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")]
Inputs = Annotated[
    str | None, typer.Option("--inputs", metavar="A,B", help="Input nodes, in the order wanted. Found when not given.")
]
Outputs = Annotated[
    str | None, typer.Option("--outputs", metavar="A,B", help="Output nodes, in the order wanted. Found when not given.")
]
InputShapes = Annotated[
    list[str] | None,
    typer.Option("--input-shape", metavar="NAME=1,224,224,3", help="Shape of an input; -1 leaves a size open. May be repeated."),
]
Tolerance = Annotated[float, typer.Option("--tolerance", help="Accepted error, relative to an output's largest value.")]
VerifyInputs = Annotated[
    Path | None, typer.Option("--verify-inputs", metavar="FILE.npz", help="Verify on these values, not on random ones.")
]
Reference = Annotated[str, typer.Option("--reference", help="Who computes the reference: numpy, or tensorflow if installed.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of the random values to verify on.")]
Source = Annotated[Path, typer.Argument(metavar="SOURCE", help="A frozen graph (.pb); found by content.", show_default=False)]
Targets = Annotated[
    list[str],
    typer.Option("--output", "-o", metavar="TARGET", help="*.tflite, or a folder (TensorFlow.js). May be repeated."),
]
To = Annotated[str | None, typer.Option("--to", metavar="tflite|tfjs", help="Kind of the targets if their names do not tell.")]
ShardSize = Annotated[int, typer.Option("--shard-size", min=0, help="Bytes a TensorFlow.js shard; 0 writes one.")]
Verify = Annotated[bool, typer.Option("--verify/--no-verify", help="Run the result and compare it with the source.")]
VerifyMemory = Annotated[int, typer.Option("--verify-memory", min=0, help="Bytes a verification may take.")]
Nodes = Annotated[bool, typer.Option("--nodes", help="List every node: index, name, tensor, shape, type.")]
Layers = Annotated[bool, typer.Option("--layers", help="List parameters and multiply-accumulates of each layer.")]
Converted = Annotated[list[str], typer.Argument(metavar="TARGET...", help="Converted files or folders.", show_default=False)]


def main() -> NoReturn:
    """Entry point. Exit codes: 0 done, 1 the result is wrong, 2 an error, 130 interrupted."""
    # One BLAS thread: faster than several on the layer sizes of image nets, and 100 MB lighter on a machine with many cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    signal.signal(signal.SIGTERM, _on_terminate)
    app()
    raise SystemExit(0)


def _on_terminate(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(143)  # unwinds, so that half-written targets are removed


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"tensorferry {__version__}")
        raise typer.Exit


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Turn errors into one readable block and an exit code."""

    @functools.wraps(function)
    def run(**arguments: Any) -> None:
        as_json = bool(arguments.get("as_json"))
        try:
            _start_logging(arguments.get("log_level", "warning"))
            function(**arguments)
            sys.stdout.flush()
        except FerryError as error:
            _fail(error, as_json)
        except KeyboardInterrupt:
            print("interrupted; nothing was written", file=sys.stderr)
            raise typer.Exit(130) from None
        except MemoryError as error:
            _fail(
                FerryError("not enough memory", why=str(error), remedy="close other programs, or convert with --no-verify"), as_json
            )
        except BrokenPipeError:  # `| head`: whoever read has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            logging.getLogger(__name__).debug("internal error", exc_info=True)
            what = f"internal error: {type(error).__name__}: {error}"
            remedy = "please report it with the model; --log-level debug shows where it happened"
            _fail(FerryError(what, remedy=remedy), as_json)

    return run


def _fail(error: FerryError, as_json: bool) -> NoReturn:
    from tensorferry.console import Screen  # noqa: PLC0415 - rich, and through it a tenth of a second, only when something is shown

    Screen(as_json=as_json).show_error(error)
    raise typer.Exit(error.exit_code)


def _start_logging(level: str) -> None:
    if level not in LOG_LEVELS:
        raise OptionError(f"unknown log level '{level}'", remedy=f"choose one of {', '.join(LOG_LEVELS)}")
    logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True)


def _screen(quiet: bool, as_json: bool) -> Screen:
    from tensorferry.console import Screen  # noqa: PLC0415

    return Screen(quiet=quiet, as_json=as_json)


def _shapes(given: list[str] | None) -> dict[str, tuple[int, ...]]:
    """`NAME=1,224,224,3` -> {name: shape}."""
    shapes = {}
    for text in given or []:
        name, separator, sizes = text.rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.split(",")) if sizes else ()
        except ValueError:
            separator = ""
        if not separator or not name:
            raise OptionError(f"'{text}' is not a shape", remedy="write it as NAME=1,224,224,3")
        shapes[name] = shape
    return shapes


@app.command()
@_command
def inspect(
    source: Source,
    nodes: Nodes = False,
    layers: Layers = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log_level: LogLevel = "warning",
) -> None:
    """Show what a model holds: inputs, outputs, nodes, parameters, work, and what each target can take.

    [dim]Example:  tensorferry inspect posenet.pb --nodes[/dim]
    """
    from tensorferry.conversion import inspect as inspect_model  # noqa: PLC0415

    screen = _screen(quiet, as_json)
    with screen.progress() as progress:
        progress("read")
        inspection = inspect_model(source)
    screen.show_inspection(inspection, nodes=nodes, layers=layers)


@app.command()
@_command
def convert(
    source: Source,
    target: Targets,
    inputs: Inputs = None,
    outputs: Outputs = None,
    input_shape: InputShapes = None,
    to: To = None,
    shard_size: ShardSize = 4 << 20,
    verify: Verify = True,
    verify_inputs: VerifyInputs = None,
    verify_memory: VerifyMemory = 4 << 30,
    reference: Reference = "numpy",
    tolerance: Tolerance = 1e-4,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log_level: LogLevel = "warning",
) -> None:
    """Convert a model to TensorFlow Lite, TensorFlow.js or both, and prove the result.

    [dim]Example:  tensorferry convert posenet.pb -o posenet.tflite -o web_model/ --inputs image --outputs heatmap,offset_2[/dim]
    """
    from tensorferry.conversion import convert as convert_model  # noqa: PLC0415

    screen = _screen(quiet, as_json)
    with screen.progress() as progress:
        report = convert_model(
            source,
            target,
            progress=progress,
            inputs=inputs,
            outputs=outputs,
            input_shapes=_shapes(input_shape),
            to=to,
            shard_size=shard_size,
            verify=verify,
            verify_inputs=verify_inputs,
            verify_memory=verify_memory,
            reference=reference,
            tolerance=tolerance,
            seed=seed,
        )
    screen.show_report(report)


@app.command()
@_command
def verify(
    source: Source,
    targets: Converted,
    inputs: Inputs = None,
    outputs: Outputs = None,
    input_shape: InputShapes = None,
    verify_inputs: VerifyInputs = None,
    reference: Reference = "numpy",
    tolerance: Tolerance = 1e-4,
    seed: Seed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log_level: LogLevel = "warning",
) -> None:
    """Compare converted models with their source, in the runtimes that will run them. Exit code 1 when one differs.

    [dim]Example:  tensorferry verify posenet.pb posenet.tflite web_model/[/dim]
    """
    from tensorferry.conversion import verify as verify_models  # noqa: PLC0415

    screen = _screen(quiet, as_json)
    with screen.progress() as progress:
        verification = verify_models(
            source,
            *targets,
            progress=progress,
            inputs=inputs,
            outputs=outputs,
            input_shapes=_shapes(input_shape),
            verify_inputs=verify_inputs,
            reference=reference,
            tolerance=tolerance,
            seed=seed,
        )
    screen.show_verification(verification)
    if not verification.passed:
        raise typer.Exit(1)


Model = Annotated[str, typer.Argument(metavar="MODEL", help="A name from `zoo list`.", show_default=False)]
GraphTarget = Annotated[Path, typer.Option("--output", "-o", metavar="GRAPH.pb", help="The frozen graph to write.")]
Multiplier = Annotated[float | None, typer.Option("--multiplier", help="Width multiplier, such as 0.75.")]
Resolution = Annotated[int | None, typer.Option("--resolution", min=1, help="Height and width of the input in pixels.")]
OutputStride = Annotated[int | None, typer.Option("--output-stride", help="8, 16 or 32.")]
Weights = Annotated[
    str | None,
    typer.Option("--weights", metavar="FOLDER|random", help="manifest.json with raw files. Looked for when not given."),
]
WeightSeed = Annotated[int, typer.Option("--seed", min=0, help="Seed of random weights.")]


@zoo_app.command("list")
@_command
def zoo_list(as_json: AsJson = False, quiet: Quiet = False, log_level: LogLevel = "warning") -> None:
    """List the models that can be built.

    [dim]Example:  tensorferry zoo list[/dim]
    """
    from tensorferry.zoo.catalog import CATALOG  # noqa: PLC0415

    _screen(quiet, as_json).show_catalog({name: entry.description for name, entry in CATALOG.items()})


@zoo_app.command("build")
@_command
def zoo_build(
    model: Model,
    output: GraphTarget,
    multiplier: Multiplier = None,
    resolution: Resolution = None,
    output_stride: OutputStride = None,
    weights: Weights = None,
    seed: WeightSeed = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
    log_level: LogLevel = "warning",
) -> None:
    """Build a model and write it as a frozen graph.

    [dim]Example:  tensorferry zoo build posenet -o posenet.pb --multiplier 0.75 --resolution 337[/dim]
    """
    from tensorferry.zoo.catalog import Wanted, build  # noqa: PLC0415

    screen = _screen(quiet, as_json)
    wanted = Wanted(multiplier=multiplier, resolution=resolution, output_stride=output_stride, weights=weights, seed=seed)
    with screen.progress() as progress:
        progress(f"build {model}")
        built = build(model, output, wanted)
    screen.show_built(built)
