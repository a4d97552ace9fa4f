"""A process that judges spoilt models one after the other: `worker.py FOLDER SEEDS RUN START STEP COUNT [FORMATS]`.

Prints a line before and after each; who started it ends it when a line does not come.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import random
import sys
import warnings
from pathlib import Path

from fuzzing.judging import Judge
from fuzzing.mutation import Files, mutate
from fuzzing.seeds import Seed
from tensorferry.wire import bundle, table


def choose(seeds: list[Seed], run: int, index: int) -> tuple[Seed, Files]:
    """The spoilt model of this number: always the same one for the same seeds."""
    draw = random.Random(f"{run} {index}")
    formats = sorted({seed.format for seed in seeds})
    seed = draw.choice([each for each in seeds if each.format == formats[index % len(formats)]])
    return seed, mutate(seed.files, [each.files for each in seeds if each.format == seed.format], draw)


class _Whatever:
    """Equal to every number."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


_CHECKSUM = table.masked_crc


def believe_checksums(believed: bool) -> None:
    """Take every checksum of a checkpoint for right, so that what lies behind it is read, too; or look at it again."""
    chosen = (lambda _pieces: _Whatever()) if believed else _CHECKSUM
    table.masked_crc = bundle.masked_crc = chosen


def main() -> None:
    folder, stored, run, start, step, count, *formats = sys.argv[1:]
    seeds: list[Seed] = pickle.loads(Path(stored).read_bytes())
    if formats:
        seeds = [seed for seed in seeds if seed.format in formats]
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", "Duplicate name", UserWarning)  # of the module that packs archives anew
    work = Path(folder)
    (work / "here").mkdir(parents=True, exist_ok=True)
    os.chdir(work / "here")
    judge = Judge(work)
    for index in range(int(start), int(count), int(step)):
        seed, files = choose(seeds, int(run), index)
        print(json.dumps({"index": index, "format": seed.format}), flush=True)
        believe_checksums(index % 2 == 1)
        outcome = judge.judge(files, seed.main, seed.options)
        here = [path.name for path in Path().iterdir()]
        fault = outcome.fault or (f"wrote {here}" if here else "")
        facts = {"read": outcome.read, "seconds": outcome.seconds, "memory": outcome.memory, "fault": fault}
        print(json.dumps({"index": index, "format": seed.format, **facts}), flush=True)
        if fault and "MemoryError" in fault:
            return  # a process that was short of memory once may be odd afterwards


if __name__ == "__main__":
    main()
