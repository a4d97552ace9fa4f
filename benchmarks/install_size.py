"""Size on disk of a fresh virtual environment with the package, pip included: python benchmarks/install_size.py [--extra tfjs]"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parent.parent
MEGABYTE = 1_000_000
GOAL = 220 * MEGABYTE
"""For the core package."""


def disk_usage(path: Path) -> int:
    """Bytes that a file or tree occupies, as du counts them; links are not followed."""
    paths = [path, *path.rglob("*")] if path.is_dir() else [path]
    return sum(each.lstat().st_blocks * 512 for each in paths)


def build_wheel(folder: Path) -> Path:
    subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    return next(folder.glob("*.whl"))


def make_environment(folder: Path, requirement: str) -> None:
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", requirement], check=True)


def largest(environment: Path, count: int) -> list[tuple[str, int]]:
    """The largest packages by what lies under their name in site-packages."""
    (packages,) = environment.glob("lib/python*/site-packages")
    return Counter({each.name: disk_usage(each) for each in packages.iterdir()}).most_common(count)


def main() -> None:
    parser = argparse.ArgumentParser(description="Size on disk of a fresh environment with the package.")
    parser.add_argument("--extra", default="", help="an extra to install too, such as tfjs")
    extra = parser.parse_args().extra
    with tempfile.TemporaryDirectory() as scratch:
        wheel = build_wheel(Path(scratch) / "wheel")
        environment = Path(scratch) / "environment"
        make_environment(environment, f"tensorferry[{extra}] @ {wheel.as_uri()}" if extra else str(wheel))
        table = Table("what", title="A fresh environment")
        table.add_column("MB", justify="right")
        for name, size in largest(environment, 8):
            table.add_row(name, f"{size / MEGABYTE:.1f}")
        total = disk_usage(environment)
        table.add_row("all, pip included", f"{total / MEGABYTE:.1f}", style="bold")
        table.add_row("the wheel itself", f"{wheel.stat().st_size / MEGABYTE:.2f}")
        Console().print(table)
    if not extra and total > GOAL:
        raise SystemExit(f"above the goal of {GOAL / MEGABYTE:.0f} MB")


if __name__ == "__main__":
    main()
