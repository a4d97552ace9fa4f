"""Spoilt models of every format: a graph or one clear error, soon, in little memory, nothing written elsewhere.

`make fuzz` runs many more (docs/fuzzing.md); here each format gets its share of 2,000.
"""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import pytest

from fuzzing.judging import MOST_MEMORY, MOST_SECONDS
from fuzzing.mutation import mutate
from fuzzing.running import run
from fuzzing.seeds import Seed, our_seeds, tensorflow_seeds

COUNT = 2_000


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[Seed]:
    made = list(our_seeds(tmp_path_factory.mktemp("ours") / "work"))
    try:
        import tensorflow  # noqa: F401, PLC0415
    except ImportError:
        return made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras says that its older formats are old
        return made + list(tensorflow_seeds(tmp_path_factory.mktemp("theirs")))


def test_spoilt_models_end_in_a_graph_or_an_error(seeds: list[Seed]) -> None:
    tallies = run(seeds, COUNT)
    faults = [f"{name} {index}: {fault}" for name, tally in tallies.items() for index, fault in tally.faults]
    assert faults == []
    assert sum(tally.inputs for tally in tallies.values()) == COUNT
    for name, tally in tallies.items():
        assert tally.seconds < MOST_SECONDS, name
        assert tally.memory < MOST_MEMORY, name
        assert 0 < tally.read < tally.inputs, f"{name}: {tally.read} of {tally.inputs} were read"


def test_the_judge_sees_what_it_looks_for(tmp_path: Path) -> None:
    """A reader that breaks the rules, in each way that counts."""
    probe = tmp_path / "probe"
    probe.mkdir()
    breaches = {
        "wrote": f"open({str(tmp_path / 'elsewhere')!r}, 'w')",
        "pickle": "__import__('pickle').loads(b'cos\\ngetcwd\\n.')",
        "memory": "bytearray(2 << 30)",
        "type": "[][1]",
        "runs": "__import__('subprocess').Popen(['true'])",
    }
    code = (
        "import sys\nfrom pathlib import Path\nfrom fuzzing.judging import Judge\n"
        "import tensorferry.conversion as conversion\n"
        "judge = Judge(Path(sys.argv[1]))\nconversion.inspect = lambda path, **options: eval(sys.argv[2])\n"
        "print(judge.judge({'a': b'x'}, 'a', {}).fault)\n"
    )
    import os  # noqa: PLC0415
    import subprocess  # noqa: PLC0415
    import sys  # noqa: PLC0415

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1] / "benchmarks"), *sys.path])}
    for name, breach in breaches.items():
        command = [sys.executable, "-c", code, str(probe), breach]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60)
        assert "Error" in done.stdout, (name, done.stdout, done.stderr)
    assert not (tmp_path / "elsewhere").exists()


def test_the_same_number_gives_the_same_model() -> None:
    seed = {"a.json": b'{"b": [1, 2, {"c": "d"}]}', "e": bytes(range(200))}
    first, again = (mutate(seed, [seed], random.Random("1 2")) for _ in range(2))
    assert first == again
    assert sum(mutate(seed, [seed], random.Random(f"{number}")) != seed for number in range(100)) > 90
