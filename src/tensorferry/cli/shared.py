"""Options that several commands share, and what every command does about errors."""

from __future__ import annotations

import functools
import logging
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from tensorferry.errors import FerryError, OptionError

if TYPE_CHECKING:
    from tensorferry.console import Screen

LOG_LEVELS = ("debug", "info", "warning", "error")
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def stack(*decorators: Decorator) -> Decorator:
    """Several options as one decorator, shown in this order."""
    return lambda function: functools.reduce(lambda inner, decorate: decorate(inner), reversed(decorators), function)


SOURCE = click.argument("source")  # as it is: a path type makes one slash of the two of an address
ORIGIN = stack(
    click.option(
        "--signature",
        metavar="NAME[,NAME]",
        help="Signature of a SavedModel; several, or `all`, go into one TensorFlow Lite file. The default one when not given.",
    ),
    click.option("--tags", metavar="A,B", help="Tags of a SavedModel's graph; that for serving when not given."),
    click.option(
        "--checkpoint",
        metavar="PREFIX",
        type=click.Path(path_type=Path),
        help="Checkpoint with the values of the graph's variables: its path without .index, or its folder; for Keras, its weights.",
    ),
    click.option(
        "--architecture",
        metavar="FILE.json",
        type=click.Path(path_type=Path),
        help="Architecture of a Keras model (model.to_json()), for a file that holds its weights alone.",
    ),
    click.option("--sha256", metavar="DIGEST", help="Refuse the source if its file has another sha256."),
    click.option(
        "--max-download",
        type=click.IntRange(1),
        default=4 << 30,
        show_default=True,
        help="Bytes that a source may have that is an address (http or https).",
    ),
    click.option("--inside", metavar="PATH", help="The model in an archive of several; short: ARCHIVE!PATH as the source."),
)


def _parse_names(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...] | None:
    """`a,b` and repeated flags; a comma after a backslash belongs to the name."""
    pieces = [piece.replace("\\,", ",").strip() for text in given for piece in re.split(r"(?<!\\),", text)]
    return tuple(piece for piece in pieces if piece) or None


def parse_pairs(separator: str) -> Callable[[click.Context, click.Parameter, tuple[str, ...]], dict[str, str]]:
    """`OLD=NEW` or `KEY:FILE`, repeated; a key given twice is an error."""

    def parse(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
        pairs: dict[str, str] = {}
        for text in given:
            key, found, value = text.partition(separator)
            if not (key and found and value):
                raise click.BadParameter(f"'{text}' should be {parameter.metavar}", context, parameter)
            if key in pairs:
                raise click.BadParameter(f"'{key}' is given twice", context, parameter)
            pairs[key] = value
        return pairs

    return parse


def _parse_labels(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """`FILE` or `OUTPUT=FILE`; a file whose name holds a = is a file."""
    found: dict[str, str] = {}
    for text in given:
        output, separator, path = text.partition("=")
        if not separator or Path(text).is_file():
            output, path = "", text
        if output in found:
            raise click.BadParameter(f"'{text}' is the second file for the same output", context, parameter)
        found[output] = path
    return found


NAMES = stack(
    click.option(
        "--rename",
        metavar="OLD=NEW",
        multiple=True,
        callback=parse_pairs("="),
        help="Name of an input, output or signature in the result. May be repeated.",
    ),
    click.option(
        "--strip-debug/--no-strip-debug",
        default=True,
        show_default=True,
        help="Leave out Print and CheckNumerics; else they stay where the target has them.",
    ),
    click.option(
        "--plain-float/--no-plain-float",
        default=False,
        show_default=True,
        help="Of a quantised source (an int8 .tflite file, FakeQuant nodes) the float model, without its rounding.",
    ),
)
PORTS = stack(
    click.option(
        "--inputs",
        metavar="A,B",
        multiple=True,
        callback=_parse_names,
        help="Input nodes, in the order wanted. Found when not given. May be repeated; `\\,` is a comma within a name.",
    ),
    click.option(
        "--outputs",
        metavar="A,B",
        multiple=True,
        callback=_parse_names,
        help="Output nodes, in the same way.",
    ),
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
QUANTISATION = stack(
    click.option(
        "--quantize",
        metavar="WAY[=PATTERN]",
        multiple=True,
        callback=_parse_names,
        help="TensorFlow Lite: dynamic (int8 weights), float16 (weights), int8, int16x8 (all of it), weights4. TensorFlow.js: "
        "uint8, uint8-channels (a scale each, a little slower), uint16, float16: weights, or with =PATTERN those whose names fit. "
        "May be repeated, for each kind of target.",
    ),
    click.option(
        "--calibrate",
        metavar="PATH",
        help="Samples that show ranges of what is computed, and how to round weights: a folder of pictures, .npy, .npz or .csv.",
    ),
    click.option(
        "--corrections",
        metavar="A,B",
        multiple=True,
        callback=_parse_names,
        help="What is done to weights and biases after the samples: rounding, biases, or none; both when not given.",
    ),
    click.option(
        "--plan-out", metavar="FILE.json", type=click.Path(path_type=Path), help="Write how each tensor is stored, and why."
    ),
    click.option("--plan", metavar="FILE.json", type=click.Path(path_type=Path), help="Store tensors as such a file says."),
    click.option("--calibration-samples", type=click.IntRange(1), metavar="N", help="Samples to take of them, evenly; 200."),
    click.option(
        "--calibration-method",
        "--ranges",
        "calibration_method",
        metavar="METHOD",
        default="minmax",
        show_default=True,
        help="How ranges are made of what is seen: minmax, percentile, entropy or mse.",
    ),
    click.option("--percentile", default=99.99, show_default=True, help="Percent of the values within each end of a range."),
    click.option("--picture-fit", "--fit", "picture_fit", default="stretch", show_default=True, help="stretch, letterbox or crop."),
    click.option("--colour-order", default="rgb", show_default=True, help="rgb or bgr: the order that the model was trained with."),
    click.option(
        "--io-dtype",
        metavar="TYPE",
        default="float32",
        show_default=True,
        help="Inputs and outputs of a file that computes with whole numbers: float32, int8 or uint8 (int8), int16 (int16x8).",
    ),
    click.option(
        "--keep-float",
        metavar="NODE|PATTERN",
        multiple=True,
        callback=_parse_names,
        help="Operators that stay float, by the name of their output or by their kind; * and ? as in file names. May be repeated.",
    ),
    click.option(
        "--max-error",
        metavar="E",
        type=click.FloatRange(0, min_open=True),
        help="Keep as many operators float as it takes: most that an output may lie away from the float model's on the samples "
        "(root of squares, relative). Found by trials.",
    ),
    click.option(
        "--max-drift",
        metavar="PIXELS",
        type=click.FloatRange(0, min_open=True),
        help="The same for a PoseNet: pixels of its input within which 95 of 100 key points stay.",
    ),
    click.option(
        "--max-size",
        metavar="BYTES",
        type=click.IntRange(1),
        help="Keep float what is worth most of it, within this size of the file. Found by trials.",
    ),
    click.option(
        "--spare-as",
        type=click.Choice(("float", "int16")),
        default="float",
        show_default=True,
        help="What becomes of operators that a budget spares from int8; with int16, the file has whole numbers only.",
    ),
    click.option("--per-tensor", is_flag=True, help="One scale for the weights of a dense layer, for runtimes from before 2.17."),
)
CARD = stack(
    click.option(
        "--labels",
        metavar="[OUTPUT=]FILE",
        multiple=True,
        callback=_parse_labels,
        help="TensorFlow Lite metadata: the classes of an output, one a line; without OUTPUT= of the one with as many.",
    ),
    click.option(
        "--mean", metavar="M[,M,M]", help="An input is (pixel - mean) / std of pixels from 0 to 255; one, or one a channel."
    ),
    click.option("--std", metavar="S[,S,S]", help="Likewise."),
    click.option("--model-name", "--name", "model_name", default="", metavar="TEXT", help="Metadata: what the model is called."),
    click.option("--description", default="", metavar="TEXT", help="Metadata: what it does."),
    click.option("--version-name", default="", metavar="TEXT", help="Metadata: its version."),
    click.option("--author", default="", metavar="TEXT", help="Metadata: who made it."),
    click.option("--license", default="", metavar="TEXT", help="Metadata: under which licence it is."),
)
PROOF = stack(
    click.option(
        "--verify-inputs",
        metavar="FILE.npz",
        type=click.Path(path_type=Path),
        help="Verify on these values, not on random ones.",
    ),
    click.option("--reference", default="numpy", show_default=True, help="numpy, or tensorflow if installed."),
    click.option(
        "--tolerance",
        type=float,
        help="Accepted error, relative to an output's largest value: 1e-4, and of quantised targets what their kind may cost.",
    ),
    click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the random values."),
)
FACE = stack(
    click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text."),
    click.option("--quiet", "-q", is_flag=True, help="Print errors only."),
    click.option("--log-level", default="warning", metavar="LEVEL", help="debug, info, warning or error."),
)


def command(function: Callable[..., None]) -> Callable[..., None]:
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


def parse_shapes(given: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
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
