"""Tables of numbers to calibrate with: each row is a sample, and what cannot be used is said before any work."""

from __future__ import annotations

import numpy as np
import pytest

from tensorferry.calibration.inputs import Input
from tensorferry.calibration.pixels import Preparation
from tensorferry.calibration.samples import open_samples
from tensorferry.errors import FerryError, OptionError
from tensorferry.tensor import DType

PLAIN = Preparation()


TABLE = Input("x", DType.FLOAT32, (None, 4))


@pytest.mark.parametrize(
    ("text", "heading"),
    [
        ("1,2,3,4\n5,6,7,8\n9,10,11,-12.5e-1\n", False),
        ("a,b,c,d\n1,2,3,4\n5,6,7,8\n\n9,10,11,-1.25\n", True),
        ("\ufeff1;2;3;4\r\n5;6;7;8\r\n9;10;11;-1.25", False),
        ("1\t2\t3\t4\n5\t6\t7\t8\n 9\t10\t11\t-1.25\n", False),
        ('"1","2","3","4"\n"5","6","7","8"\n"9","10","11","-1.25"\n', False),
    ],
)
def test_each_row_of_a_table_is_a_sample(tmp_path, text, heading):
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    found = open_samples(tmp_path / "x.csv", [TABLE], PLAIN)
    assert found.count == 3 and bool(found.notices) == heading
    np.testing.assert_array_equal(np.concatenate([each["x"] for each in found]), [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, -1.25]])
    square = [each["x"].shape for each in open_samples(tmp_path / "x.csv", [Input("x", DType.FLOAT32, (1, 2, None))], PLAIN)]
    assert square == [(1, 2, 2)] * 3
    (first,) = open_samples(tmp_path / "x.csv", [TABLE], Preparation(limit=1))
    assert first["x"].tolist() == [[1, 2, 3, 4]]


BAD_TABLES = {
    "short row": ("1,2,3,4\n5,6,7\n", TABLE, "3 fields in a row", "line 2"),
    "width": ("1,2,3\n", TABLE, "3 numbers a row", "1x4"),
    "word": ("1,2,3,4\n5,six,7,8\n", TABLE, "'six' is no number", "line 2, field 2"),
    "gap": ("1,2,3,4\n5,,7,8\n", TABLE, "'' is no number", "field 2"),
    "nan": ("1,2,3,4\n5,nan,7,8\n", TABLE, "hold NaN", "line 2"),
    "empty": ("", TABLE, "holds no samples", ""),
    "heading alone": ("a,b,c,d\n", TABLE, "holds no samples", ""),
    "fraction": ("1,2,3,4.5\n", Input("x", DType.INT32, (None, 4)), "do not fit into int32", "line 1"),
    "encoding": (b"1,2,3,\xff\xfe\n", TABLE, "not a readable CSV", "UTF-8"),
    "words": ("1,2,3,4\n", Input("x", DType.STRING, (None, 4)), "are float64|are int64", "string"),
}


@pytest.mark.parametrize("kind", BAD_TABLES)
def test_a_table_that_cannot_be_used_is_refused_before_any_work(tmp_path, kind):
    text, given, what, more = BAD_TABLES[kind]
    (tmp_path / "x.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(FerryError, match=what) as caught:
        open_samples(tmp_path / "x.csv", [given], PLAIN)
    assert more in str(caught.value)


def test_a_table_feeds_one_input_only(tmp_path):
    (tmp_path / "x.csv").write_text("1,2,3,4\n")
    with pytest.raises(OptionError, match="one input only"):
        open_samples(tmp_path / "x.csv", [TABLE, TABLE], PLAIN)
