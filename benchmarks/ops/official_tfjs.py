"""tensorflowjs's converter on frozen graphs, in an environment of its own: python -m ops.official_tfjs WORK IDS RESULTS."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from ops.workers import Outcome, serve


def main(work: Path) -> None:
    from tensorflowjs.converters.tf_saved_model_conversion_v2 import convert_tf_frozen_model  # noqa: PLC0415

    def judge(identity: str) -> Outcome:
        case = work / "cases" / identity
        target = work / "web" / identity
        shutil.rmtree(target, ignore_errors=True)
        names = json.loads((case / "case.json").read_text(encoding="utf-8"))["outputs"]
        try:
            convert_tf_frozen_model(str(case / "graph.pb"), ",".join(name.removesuffix(":0") for name in names), str(target))
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise
        return {"status": "ok"}

    serve(judge)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
