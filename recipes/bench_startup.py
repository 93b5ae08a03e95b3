"""What recognising one clip costs, from starting the program to its answer, against `import torch` alone.

Whole processes are measured in turn, by what the operating system counted of each: processor time, user and system, and
the most memory that it ever held. Medians of the rounds stand in the table, and the median of the ratio within a round,
so that other work on the machine falls on both alike.

    uv run python recipes/bench_startup.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from _bench import machine, options, write

from ser_fewshot.classifier import FewShotClassifier
from ser_fewshot.quickstart import DEMO_MANIFEST

RESULTS = Path(__file__).parent / "results" / "startup.json"
REFERENCE = [sys.executable, "-c", "import torch"]
_UNIT = 1 if sys.platform == "darwin" else 2**10  # bytes, in which the largest resident size is counted


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="how often each is started")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        predict = [sys.executable, "-m", "ser_fewshot", "predict", *map(str, _enrolled(Path(folder)))]
        measured(predict), measured(REFERENCE)  # what is read from the disk is in its cache from here on
        rounds = [(measured(predict), measured(REFERENCE)) for _ in range(arguments.rounds)]
    result = {
        "command": "uv run python recipes/bench_startup.py",
        "machine": machine(),
        "rounds": len(rounds),
        "seconds": _summary([(ours[0], theirs[0]) for ours, theirs in rounds]),
        "mebibytes": _summary([(ours[1], theirs[1]) for ours, theirs in rounds]),
    }
    write(RESULTS, result)


def _enrolled(folder: Path) -> tuple[Path, Path]:
    """Return an enrolment of three synthetic clips of each of four emotions, and a clip of another voice."""
    clips = DEMO_MANIFEST.parent
    emotions = ("anger", "fear", "happiness", "sadness")
    classifier = FewShotClassifier.from_pretrained()
    classifier.enroll({emotion: sorted(clips.glob(f"{emotion}_en-f1_*.ogg"))[:3] for emotion in emotions})
    classifier.save(folder / "enrolled.safetensors")
    return folder / "enrolled.safetensors", sorted(clips.glob("anger_en-m*.ogg"))[0]


def measured(command: Sequence[str]) -> tuple[float, float]:
    """Run a program; return its processor time in s and its largest resident size in MiB."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as program:  # noqa: S603 - of the two above
        _, status, usage = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
    if program.returncode:
        raise subprocess.CalledProcessError(program.returncode, command)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * _UNIT / 2**20


def _summary(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    return {"predict": ours, "torch": theirs, "ratio": statistics.median(first / second for first, second in pairs)}


if __name__ == "__main__":
    main()
