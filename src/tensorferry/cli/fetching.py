"""Public models: fetch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tensorferry.cli.shared import FACE, command
from tensorferry.errors import OptionError

if TYPE_CHECKING:
    from tensorferry.console import Screen


@click.command()
@click.argument("model", required=False, metavar="NAME|URL")
@click.option("--output", "-o", metavar="PATH", type=click.Path(path_type=Path), help="Copy it there.")
@click.option("--list", "listed", is_flag=True, help="List the models that have a name, with address and licence.")
@click.option("--sha256", metavar="DIGEST", help="Refuse what is at the address if it has another sha256.")
@click.option("--max-download", type=click.IntRange(1), default=4 << 30, show_default=True, help="Bytes that all files may have.")
@click.option("--again", is_flag=True, help="Fetch anew what is in the cache; it must be what it was.")
@FACE
@command
def fetch(
    screen: Screen, model: str | None, output: Path | None, listed: bool, sha256: str | None, max_download: int, again: bool
) -> None:
    """Fetch a public model into the cache, each file checked, and say under which licence it is.

    \b
    Example:
      tensorferry fetch --list
      tensorferry fetch posenet-mobilenet-075-stride16-float -o posenet/
    """
    from tensorferry.origins import Share  # noqa: PLC0415
    from tensorferry.zoo import fetching  # noqa: PLC0415

    if listed:
        screen.show_known(list(fetching.known_models().values()))
        return
    if model is None:
        raise OptionError("no model was named", remedy="'tensorferry fetch --list' names those known; or give an address")
    with screen.progress() as progress:
        progress(f"fetch {model}")

        def tell(name: str, there: int, total: int | None) -> None:
            progress(Share(f"fetch {name}", there, total))

        fetched = fetching.fetch(model, output, sha256=sha256, most=max_download, again=again, tell=tell)
    screen.show_fetched(fetched)
