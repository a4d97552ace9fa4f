"""The main job from end to end: build PoseNet, look at it, convert it to both targets, prove both, print the report."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FOLDER = Path("build/demo")
OUTPUTS = "heatmap,offset_2,displacement_fwd_2,displacement_bwd_2"


def main() -> int:
    FOLDER.mkdir(parents=True, exist_ok=True)
    graph, lite, web = FOLDER / "posenet.pb", FOLDER / "posenet.tflite", FOLDER / "web_posenet_model"
    commands = [
        ["zoo", "build", "posenet", "-o", graph],
        ["inspect", graph],
        ["convert", graph, "-o", lite, "-o", web, "--inputs", "image", "--outputs", OUTPUTS],
        ["verify", graph, lite, web],
    ]
    for command in commands:
        words = [str(word) for word in command]
        print(f"\n$ tensorferry {' '.join(words)}", flush=True)
        code = subprocess.run([sys.executable, "-m", "tensorferry", *words], check=False).returncode
        if code:
            return code
    print(f"\nThe models are in {FOLDER}/.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
