"""PoseNet (MobileNetV1 0.75, stride 16, 337x337) as a frozen graph, with its published weights where they can be had: TARGET"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tensorferry.writers.graphdef import write_graphdef
from tensorferry.zoo import FolderWeights, RandomWeights, build_posenet, find_weights


def main(target: str) -> None:
    folder = find_weights()
    if folder is None:
        print("the published weights are not to be had; random ones stand in for them", file=sys.stderr)
    write_graphdef(build_posenet(weights=FolderWeights(folder) if folder else RandomWeights()), target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("target", type=Path, help="the frozen graph to write")
    main(str(parser.parse_args().target))
