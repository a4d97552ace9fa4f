"""The command line: arguments in, one call of the library, a rendering out. No logic.

Built on click alone: what is imported here is paid at every start, and more above it would cost more than converting PoseNet.
"""

from __future__ import annotations

import functools
import gc
import io
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tensorferry import __version__
from tensorferry.errors import FerryError, OptionError

if TYPE_CHECKING:
    from tensorferry.console import Screen

LOG_LEVELS = ("debug", "info", "warning", "error")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def main() -> NoReturn:
    """Entry point. Exit codes: 0 done, 1 the result is wrong, 2 an error, 130 interrupted."""
    # One BLAS thread: faster than several on the layer sizes of image nets, and lighter on a machine with many cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    _open_closed_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show ends no conversion
    signal.signal(signal.SIGTERM, _on_terminate)
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:  # else nohup wants it ignored
        signal.signal(hangup, _on_terminate)
    gc.disable()  # a command ends before cycles matter; looking for them while modules load costs a tenth of the start
    app()
    raise SystemExit(0)


def _on_terminate(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # asking again must not break off the tidying
    raise SystemExit(128 + number)  # unwinds, so that half-written targets are removed


def _open_closed_streams() -> None:
    """A standard stream that was closed leads nowhere. Else the next file opened gets its number, and what is printed there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - for as long as the process lives


class _App(click.Group):
    """A wrong command line is told as all errors are: with `--json`, as one JSON document on standard output."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        if "--json" not in words:
            return super().main(words, *rest, **extra)
        try:
            code = super().main(words, *rest, **{**extra, "standalone_mode": False})
        except click.ClickException as wrong:
            from tensorferry.console import Screen  # noqa: PLC0415

            Screen(as_json=True).show_error(OptionError(wrong.format_message(), remedy="--help lists what can be given"))
            code = OptionError.exit_code
        raise SystemExit(code if isinstance(code, int) else 0)


@click.group(cls=_App, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tensorferry", message="%(prog)s %(version)s")
def app() -> None:
    """TensorFlow models to TensorFlow Lite and TensorFlow.js, without TensorFlow, and proved."""


# -- options that several commands share ---------------------------------------------------------------------------


def _stack(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, shown in this order."""
    return lambda function: functools.reduce(lambda inner, decorate: decorate(inner), reversed(decorators), function)


SOURCE = click.argument("source", type=click.Path(path_type=Path))
ORIGIN = _stack(
    click.option("--signature", metavar="NAME", help="Signature of a SavedModel. The default one when not given."),
    click.option("--tags", metavar="A,B", help="Tags of a SavedModel's graph; that for serving when not given."),
    click.option(
        "--checkpoint",
        metavar="PREFIX",
        type=click.Path(path_type=Path),
        help="Checkpoint with the values of the graph's variables: its path without .index, or its folder.",
    ),
)
PORTS = _stack(
    click.option("--inputs", metavar="A,B", help="Input nodes, in the order wanted. Found when not given."),
    click.option("--outputs", metavar="A,B", help="Output nodes, in the order wanted. Found when not given."),
    click.option(
        "--shape",
        "--input-shape",
        "input_shape",
        metavar="NAME=1,224,224,3",
        multiple=True,
        help="Shape of an input; -1 leaves a size open. May be repeated.",
    ),
    click.option("--fixed", is_flag=True, help="Leave no size open: a batch becomes 1. LiteRT.js wants it so."),
)
PROOF = _stack(
    click.option(
        "--verify-inputs",
        metavar="FILE.npz",
        type=click.Path(path_type=Path),
        help="Verify on these values, not on random ones.",
    ),
    click.option("--reference", default="numpy", show_default=True, help="numpy, or tensorflow if installed."),
    click.option("--tolerance", default=1e-4, show_default=True, help="Accepted error, relative to an output's largest value."),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random values."),
)
FACE = _stack(
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text."),
    click.option("--quiet", "-q", is_flag=True, help="Print errors only."),
    click.option("--log-level", default="warning", metavar="LEVEL", help="debug, info, warning or error."),
)


def _command(function: Callable[..., None]) -> Callable[..., None]:
    """Give a function a Screen for its `--json` and `--quiet`; turn errors into one readable block and an exit code."""

    @functools.wraps(function)
    def run(as_json: bool, quiet: bool, log_level: str, **arguments: Any) -> None:
        from tensorferry.console import Screen  # noqa: PLC0415 - what prints is loaded by those who print

        screen = Screen(quiet=quiet, as_json=as_json)
        try:
            _start_logging(log_level)
            function(screen, **arguments)
            sys.stdout.flush()
        except FerryError as error:
            _fail(screen, error)
        except KeyboardInterrupt:
            screen.show_interrupt()
            raise click.exceptions.Exit(130) from None
        except MemoryError as error:
            remedy = "close other programs, or convert with --no-verify"
            _fail(screen, FerryError("not enough memory", why=str(error), remedy=remedy))
        except BrokenPipeError:  # `| head`: whoever read has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise click.exceptions.Exit(0) from None
        except click.exceptions.Exit:
            raise
        except OSError as error:  # of files it is told where they are written; what is left is the terminal, or a file in its place
            what = f"'{error.filename}' cannot be read or written" if error.filename else "the output cannot be written"
            _fail(screen, FerryError(what, why=error.strerror or str(error)))
        except Exception as error:
            logging.getLogger(__name__).debug("internal error", exc_info=True)
            what = f"internal error: {type(error).__name__}: {error}"
            remedy = "please report it with the model; --log-level debug shows where it happened"
            _fail(screen, FerryError(what, remedy=remedy))

    return run


def _fail(screen: Screen, error: FerryError) -> NoReturn:
    screen.show_error(error)
    raise click.exceptions.Exit(error.exit_code)


def _start_logging(level: str) -> None:
    if level not in LOG_LEVELS:
        raise OptionError(f"unknown log level '{level}'", remedy=f"choose one of {', '.join(LOG_LEVELS)}")
    logging.basicConfig(level=level.upper(), format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True)


def _shapes(given: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    """`NAME=1,224,224,3` -> {name: shape}."""
    shapes = {}
    for text in given:
        name, separator, sizes = text.rpartition("=")
        try:
            shape = tuple(int(size) for size in sizes.split(",")) if sizes else ()
        except ValueError:
            separator = ""
        if not separator or not name:
            raise OptionError(f"'{text}' is not a shape", remedy="write it as NAME=1,224,224,3")
        shapes[name] = shape
    return shapes


# -- commands ------------------------------------------------------------------------------------------------------


@app.command()
@SOURCE
@ORIGIN
@click.option("--nodes", is_flag=True, help="List every node: index, name, tensor, shape, type.")
@click.option("--layers", is_flag=True, help="List parameters and multiply-accumulates of each layer.")
@FACE
@_command
def inspect(screen: Screen, source: Path, nodes: bool, layers: bool, **options: Any) -> None:
    """Show what a model holds: inputs, outputs, nodes, parameters, work, and what each target can take.

    \b
    Example:
      tensorferry inspect posenet.pb --nodes
    """
    from tensorferry.conversion import inspect as inspect_model  # noqa: PLC0415

    with screen.progress() as progress:
        progress("read")
        inspection = inspect_model(source, **options)
    screen.show_inspection(inspection, nodes=nodes, layers=layers)


@app.command()
@SOURCE
@ORIGIN
@PORTS
@click.option("--to", default="tflite,tfjs", show_default=True, metavar="KINDS", help="Targets to look at.")
@FACE
@_command
def check(screen: Screen, source: Path, to: str, input_shape: tuple[str, ...], **options: Any) -> None:
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
        assessments = assess(source, kinds, input_shapes=_shapes(input_shape), **options)
    screen.show_assessments(assessments, source)
    if not all(each.possible for each in assessments.values()):
        raise click.exceptions.Exit(2)


@app.command()
@SOURCE
@click.option(
    "--output",
    "-o",
    "targets",
    metavar="TARGET",
    multiple=True,
    required=True,
    help="*.tflite, or a folder for TensorFlow.js. May be repeated.",
)
@ORIGIN
@PORTS
@click.option("--to", metavar="tflite|tfjs", help="Kind of the targets if their names do not tell.")
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
@PROOF
@FACE
@_command
def convert(screen: Screen, source: Path, targets: tuple[str, ...], input_shape: tuple[str, ...], **options: Any) -> None:
    """Convert a model to TensorFlow Lite, TensorFlow.js or both, and prove the result.

    SOURCE is a graph (.pb, .pbtxt), a SavedModel or TensorFlow.js folder, or the .meta file of a checkpoint; found by content.

    \b
    Example:
      tensorferry convert posenet.pb -o posenet.tflite -o web_model/ \\
          --inputs image --outputs heatmap,offset_2
    """
    from tensorferry.conversion import convert as convert_model  # noqa: PLC0415

    with screen.progress() as progress:
        report = convert_model(source, targets, progress=progress, input_shapes=_shapes(input_shape), **options)
    screen.show_report(report)


@app.command()
@SOURCE
@click.option(
    "--output", "-o", metavar="FROZEN.pb", required=True, type=click.Path(path_type=Path), help="The frozen graph to write."
)
@ORIGIN
@PORTS
@FACE
@_command
def freeze(screen: Screen, source: Path, output: Path, input_shape: tuple[str, ...], **options: Any) -> None:
    """Write a model as a frozen graph: its variables are constants, what its outputs do not need is left out.

    \b
    Example:
      tensorferry freeze graph.pb --checkpoint model.ckpt-1000 -o frozen.pb
    """
    from tensorferry.conversion import freeze as freeze_model  # noqa: PLC0415

    with screen.progress() as progress:
        progress("freeze")
        frozen = freeze_model(source, output, input_shapes=_shapes(input_shape), **options)
    screen.show_frozen(frozen)


@app.command()
@SOURCE
@click.argument("targets", nargs=-1, required=True)
@ORIGIN
@PORTS
@PROOF
@FACE
@_command
def verify(screen: Screen, source: Path, targets: tuple[str, ...], input_shape: tuple[str, ...], **options: Any) -> None:
    """Compare converted models with their source, in the runtimes that will run them.

    Exit code 0 when all were run and are right, 1 when one differs, 2 when one could not be run.

    \b
    Example:
      tensorferry verify posenet.pb posenet.tflite web_model/
    """
    from tensorferry.conversion import verify as verify_models  # noqa: PLC0415

    with screen.progress() as progress:
        verification = verify_models(source, *targets, progress=progress, input_shapes=_shapes(input_shape), **options)
    screen.show_verification(verification)
    if not verification.verified:
        raise click.exceptions.Exit(2 if verification.passed else 1)


@app.group()
def zoo() -> None:
    """Models that the tool builds by itself."""


@zoo.command("list")
@FACE
@_command
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
@_command
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
