"""The program itself: its start, its signals, and a wrong command line told as all errors are."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from tensorferry import __version__
from tensorferry.errors import OptionError, nearest


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


class Group(click.Group):
    """Names the command that was probably meant."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as wrong:
            near = nearest(args[0], self.commands) if args else ""
            if near and near not in wrong.message and "Did you mean" not in wrong.message:
                raise click.UsageError(f"{wrong.message.rstrip('.')}; {near}", ctx) from None
            raise


class _App(Group):
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
