"""How long `tensorferry --help` and `import tensorferry` take; the import may load nothing heavy: python benchmarks/startup.py"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from measuring import Run, median_run

RUNS = 11
HELP_GOAL = 0.25
HEAVY = ("numpy", "flatbuffers", "ai_edge_litert", "rich", "click", "tensorflow")
COMMANDS = {
    "an empty interpreter": ("-c", "pass"),
    "import tensorferry": ("-c", "import tensorferry"),
    "tensorferry --help": ("-m", "tensorferry", "--help"),
    "tensorferry --version": ("-m", "tensorferry", "--version"),
    "the imports of a conversion": ("-c", "import tensorferry.cli, tensorferry.conversion"),
}


def main() -> None:
    table = Table("command", title=f"Medians of {RUNS} runs")
    table.add_column("seconds", justify="right")
    table.add_column("peak MiB", justify="right")
    done: dict[str, Run] = {}
    for name, arguments in COMMANDS.items():
        done[name] = median_run((sys.executable, *arguments), RUNS)
        if done[name].code:
            raise SystemExit(f"{name} failed:\n{done[name].errors}")
        table.add_row(name, f"{done[name].seconds:.3f}", f"{done[name].peak / 2**20:.0f}")
    Console().print(table)
    loaded = median_run((sys.executable, "-c", "import tensorferry, sys; print(*sys.modules)"), 1).output.split()
    heavy = [name for name in HEAVY if name in loaded]
    if heavy:
        raise SystemExit(f"import tensorferry loads {', '.join(heavy)}")
    if done["tensorferry --help"].seconds > HELP_GOAL:
        raise SystemExit(f"tensorferry --help takes longer than {HELP_GOAL} s")


if __name__ == "__main__":
    main()
