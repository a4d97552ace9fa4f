"""The bench of small graphs still runs: a handful of cases end to end, its measure, and its endurance."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ops import workers
from ops.case import Case, Family, distinct, floats, integers, words
from ops.comparing import difference
from ops.coverage import Coverage, read_reasons
from ops.page import Bench, describe, render, summarise
from tensorferry.runtimes import litert, tfjs
from tensorferry.wire.tfjs_releases import first_releases
from tensorferry.wire.tflite_schema import operators

# -- the measure ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (np.float32([1.0005, 2]), np.float32([1, 2]), True),
        (np.float32([1.01, 2]), np.float32([1, 2]), False),
        (np.float32([np.inf, np.nan]), np.float32([np.inf, np.nan]), True),
        (np.float32([3.4e38]), np.float32([np.inf]), False),
        (np.int32([5]), np.int64([5]), True),
        (np.int32([5]), np.int64([6]), False),
        (np.int32([1]), np.array([True]), False),
        (np.float32([5]), np.int32([5]), False),
        (np.float32([[1]]), np.float32([1]), False),
        (np.array([b"a"], object), np.array(["a"], object), True),
        (np.array([b"a"], object), np.array([b"b"], object), False),
        (np.complex64([1 + 1j]), np.complex64([1 + 1.01j]), False),
        (np.float32([1.001]), np.float16([1]), True),
        (np.float32([np.inf, -np.inf]), np.float64([1e39, -1.7e308]), True),
        (np.float32([np.inf]), np.float64([1e38]), False),
        (np.float32([np.inf]), np.float64([-1e39]), False),
        (np.int32([-1]), np.uint32([2**32 - 1]), True),
        (np.int32([-1]), np.uint64([2**64 - 1]), False),
        (np.int32([1]), np.uint32([2**31 + 1]), False),
    ],
)
def test_what_counts_as_equal(one: np.ndarray, other: np.ndarray, same: bool) -> None:
    assert (difference([one], [other]) == "") == same


def test_random_numbers_are_compared_by_shape_and_kind() -> None:
    assert difference([np.zeros(3, np.float32)], [np.ones(3, np.float32)], values=False) == ""
    assert difference([np.zeros(2, np.float32)], [np.ones(3, np.float32)], values=False) == "output 0: shape [2] for [3]"
    assert difference([], [np.ones(3)]) == "0 outputs for 1"


def test_a_seed_gives_the_same_values_and_no_ties() -> None:
    assert np.array_equal(floats(2, 3), floats(2, 3)) and not np.array_equal(floats(2, 3), floats(2, 3, seed=1))
    assert len(set(distinct(4, 5).reshape(-1).tolist())) == 20
    assert integers(50, low=2, high=5).min() == 2 and integers(50, low=2, high=5).max() == 4
    assert words(2, 2).shape == (2, 2)


# -- endurance -----------------------------------------------------------------------------------------------------

MOODY = """
import os, time
from ops.workers import serve
def judge(identity):
    if identity == "dies": os.kill(os.getpid(), 11)
    if identity == "hangs": time.sleep(60)
    if identity == "throws": raise ValueError("no such thing")
    return {"status": "ok"}
serve(judge)
"""


def test_every_case_has_an_outcome_whatever_a_converter_does(tmp_path: Path) -> None:
    script = tmp_path / "moody.py"
    script.write_text(MOODY)
    ids = ["first", "dies", "second", "throws", "hangs", "last"]
    outcomes = list(workers.run_all([sys.executable, str(script)], ids, patience=2))
    assert [each["id"] for each in outcomes] == ids
    assert [each["status"] for each in outcomes] == ["ok", "crashed", "ok", "refused", "crashed", "ok"]
    assert "-11" in outcomes[1]["why"] and "no such thing" in outcomes[3]["why"] and "hangs" in outcomes[4]["why"]


# -- the figures ---------------------------------------------------------------------------------------------------


def test_the_table_counts_what_was_lost_and_won() -> None:
    ok, refused = {"status": "ok"}, {"status": "refused", "why": "x"}
    theirs = {"tflite": {"image.a": ok, "image.b": refused, "image.c": refused}, "tfjs": {}}
    ours = {
        "tflite": {"image.a": refused, "image.b": ok, "image.c": refused},
        "tfjs": dict.fromkeys(("image.a", "image.b", "image.c"), ok),
    }
    bench = Bench({"image": ["image.a", "image.b", "image.c"]}, theirs, ours, 1)
    facts = summarise(bench)
    assert facts["all"] == {"cases": 3, "theirs_tflite": 1, "ours_tflite": 1, "theirs_tfjs": 0, "ours_tfjs": 3}
    assert facts["tflite"]["theirs_ok_ours_not"] == ["image.a"]
    assert (facts["tflite"]["theirs_not_ok"], facts["tflite"]["of_these_ours_ok"]) == (2, 1)
    assert "| TensorFlow Lite | 1 | 2 | 1 | 50 % |" in describe(bench)
    page = render(
        bench, {target: Coverage(2, frozenset({"ADD"}), {"SVDF": "because"}) for target in ("tflite", "tfjs")}, "Machine: none."
    )
    assert "- `image.a`: refused, x" in page and "| refused: x | 2 | `image.a` |" in page
    assert "1 of 2 are written" in page and "| `SVDF` | because |" in page


def test_reasons_are_given_for_operators_that_exist() -> None:
    reasons = read_reasons()
    assert set(reasons["tflite"]) <= set(operators()) and set(reasons["tfjs"]) <= set(first_releases())
    assert all(why for each in reasons.values() for why in each.values())


# -- end to end ----------------------------------------------------------------------------------------------------


def _cases() -> list[Case]:
    import tensorflow as tf  # noqa: PLC0415

    family = Family("smoke")
    family.add("add", lambda a, b: a + b, floats(2, 3), floats(3, seed=1), shapes=((None, 3), (3,)))
    family.add("two_outputs", lambda x: tf.split(x, 2, 1), integers(2, 4))
    family.add("first_channels", tf.nn.relu, floats(1, 2, 3, 3), reference=lambda x: tf.maximum(x, 0.0))
    family.add("old", lambda x: tf.matmul(x, tf.compat.v1.get_variable("w", initializer=floats(3, 2))), floats(2, 3), form="v1")
    family.add(
        "loop", lambda x: tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, v * 2.0), (0, x))[1], floats(3), form="lowered"
    )
    family.add("impossible", lambda x: tf.matmul(x, x), floats(2, 3))
    return family.cases


def test_cases_are_frozen_converted_run_and_compared(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    for missing in (litert.available(), tfjs.available()):
        if missing:
            pytest.skip(missing)
    from ops.freezing import freeze, load_frozen  # noqa: PLC0415
    from ops.worker import official_tflite, ours  # noqa: PLC0415

    *good, impossible = _cases()
    with pytest.raises(ValueError, match="Dimensions must be equal"):
        freeze(impossible, tmp_path)
    for case in good:
        freeze(case, tmp_path)
    assert load_frozen(tmp_path, "smoke.loop_lowered").runs[0][1][0] == pytest.approx(floats(3) * 8)
    assert [arrays[0].shape for arrays, _ in load_frozen(tmp_path, good[0].id).runs] == [(2, 3), (4, 3)]
    with tfjs.Session() as session:
        judge = ours(tmp_path, session)
        outcomes = [judge(case.id) for case in good[:4]]
    assert all(each["tflite"]["status"] == each["tfjs"]["status"] == "ok" for each in outcomes), outcomes
    assert outcomes[0]["tflite"]["operators"] == ["ADD"] and outcomes[2]["tfjs"]["operators"] == ["Relu"]
    assert official_tflite(tmp_path)(good[0].id) == {"status": "ok"}


def test_thousands_of_cases_have_names_of_their_own() -> None:
    pytest.importorskip("tensorflow")
    from ops.families import NAMES, all_cases  # noqa: PLC0415

    cases = all_cases()
    assert len({case.id for case in cases}) == len(cases) >= 3000
    assert {case.family for case in cases} == set(NAMES)
