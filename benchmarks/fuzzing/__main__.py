"""`python -m fuzzing --count 100000 --workers 2`: a table of what became of that many spoilt models, and every fault in full."""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import tempfile
from pathlib import Path

from fuzzing.running import Tally, run
from fuzzing.seeds import Seed, our_seeds, real_seeds, tensorflow_seeds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--run", type=int, default=1, help="number of the run: another one spoils otherwise")
    parser.add_argument("--start", type=int, default=0, help="number of the first model")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--formats", default="", metavar="A,B")
    parser.add_argument("--seeds", type=Path, help="where the valid models are kept between runs")
    parser.add_argument("--without-tensorflow", action="store_true", help="only the seeds that this package writes")
    parser.add_argument("--show", type=int, metavar="INDEX", help="write this one spoilt model into the folder 'spoilt'")
    wanted = parser.parse_args()
    seeds = _seeds(wanted.seeds, wanted.without_tensorflow)
    formats = [each for each in wanted.formats.split(",") if each]
    if wanted.show is not None:
        _show(seeds, wanted.run, wanted.show, formats)
        return 0

    def tell(done: int) -> None:
        if done % 1000 == 0:
            print(f"\r{done}", end="", file=sys.stderr, flush=True)

    tallies = run(seeds, wanted.count, number=wanted.run, workers=wanted.workers, formats=formats, start=wanted.start, tell=tell)
    print(file=sys.stderr)
    print(table(tallies))
    for name, tally in sorted(tallies.items()):
        for index, fault in tally.faults[:20]:
            print(f"\n== {name} {index}\n{fault}")
    return int(any(tally.faults for tally in tallies.values()))


def table(tallies: dict[str, Tally]) -> str:
    """Markdown."""
    lines = ["| format | inputs | refused | read | faults | worst seconds | peak MB |", "|---|---|---|---|---|---|---|"]
    for name, tally in [*sorted(tallies.items()), ("all", _sum(tallies))]:
        refused = tally.inputs - tally.read - len(tally.faults)
        figures = (tally.inputs, refused, tally.read, len(tally.faults), f"{tally.seconds:.2f}", f"{tally.memory / 1e6:.0f}")
        lines.append(f"| {name} | " + " | ".join(f"{each:,}" if isinstance(each, int) else each for each in figures) + " |")
    return "\n".join(lines)


def _sum(tallies: dict[str, Tally]) -> Tally:
    every = list(tallies.values())
    return Tally(
        sum(each.inputs for each in every),
        sum(each.read for each in every),
        max((each.seconds for each in every), default=0),
        max((each.memory for each in every), default=0),
        [fault for each in every for fault in each.faults],
    )


def _seeds(kept: Path | None, without_tensorflow: bool) -> list[Seed]:
    if kept is not None and kept.is_file():
        return pickle.loads(kept.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        seeds = list(our_seeds(Path(folder) / "ours"))
        if not without_tensorflow:
            seeds += tensorflow_seeds(Path(folder) / "theirs")
    seeds += real_seeds(Path(__file__).parents[3] / "shared" / "models")
    if kept is not None:
        kept.write_bytes(pickle.dumps(seeds))
    return seeds


def _show(seeds: list[Seed], number: int, index: int, formats: list[str]) -> None:
    from fuzzing.worker import choose  # noqa: PLC0415

    seed, files = choose([each for each in seeds if not formats or each.format in formats], number, index)
    for name, data in files.items():
        place = Path("spoilt") / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    print(f"spoilt/{seed.main}", seed.options)


if __name__ == "__main__":
    sys.exit(main())
