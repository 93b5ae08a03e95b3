"""The command line: parse, call, print. What it imports before a command is chosen loads neither torch nor a model."""

from __future__ import annotations

import argparse
import importlib
import io
import keyword
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from ser_fewshot import __version__, plugins
from ser_fewshot.cli._benchmarking import add_benchmark
from ser_fewshot.cli._growing import add_device, add_extract
from ser_fewshot.cli._numbers import count, layer, port, seed
from ser_fewshot.cli._outputs import add_force
from ser_fewshot.cli._parser import Parser, as_options, check_paths
from ser_fewshot.cli._reporting import add_report
from ser_fewshot.cli._sharing import SHARING
from ser_fewshot.cli._text import printable
from ser_fewshot.cli._training import add_cache, add_manifest, add_normalization, add_train
from ser_fewshot.compute import distributed
from ser_fewshot.errors import SerFewshotError

_USER_ERROR = 2
_INTERRUPTED = 128 + 2  # what a shell reports of a program that SIGINT ended
_BROKEN_PIPE = 128 + 13  # and of one that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, or 2 with one line on stderr that says what to do."""
    given = sys.argv[1:] if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every encoding has ± and every label
    arguments = argparse.Namespace()
    try:
        try:
            parser = _parser()
            parser.parse_args(given, arguments)
            arguments.argv, arguments.parser = given, parser
            check_paths(arguments)
            with distributed.ended_by_sigterm():
                importlib.import_module(f"ser_fewshot.cli.{_module(arguments.command)}").run(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()  # the reader went away, as `head` does: nothing to say, and nobody to say it to
        return _BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in given:
            traceback.print_exc()
        code, message = _explain(error)
        sys.stderr.write(f"ser-fewshot: {printable(as_options(message, getattr(arguments, 'own', None)))}\n")
        return code
    return 0


def _module(command: str) -> str:
    """Return the name of a command's module: `import` is a word of the language, so it cannot be that of a file."""
    return f"{command}_" if keyword.iskeyword(command) else command


def _explain(error: BaseException) -> tuple[int, str]:
    """Return the exit code of an error, and what to say of it in one line."""
    if isinstance(error, KeyboardInterrupt):
        return _INTERRUPTED, "stopped"
    if isinstance(error, SerFewshotError):
        return _USER_ERROR, str(error)
    if isinstance(error, OSError):
        _drop_stdout()
        return _USER_ERROR, str(error)
    return _USER_ERROR, f"internal error: {type(error).__name__}: {error} (please report what it prints with --debug)"


def _drop_stdout() -> None:
    """If nobody takes what was printed, let it go to nowhere; else Python complains of it once more at its exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ser-fewshot",
        description="Few-shot speech emotion recognition: teach a machine a new emotion from five clips.",
    )
    parser.add_argument("--version", action="version", version=f"ser-fewshot {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    own = (_quickstart, _corpora, _scan, add_train, _evaluate, _import, _enroll, _predict, _demo, _export, _cache)
    for add in (*own, add_extract, add_benchmark, add_report, *SHARING):
        # Accepted after the command too, where people type it; SUPPRESS keeps what stood before it.
        own_parser = add(commands)
        own_parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        own_parser.set_defaults(own=own_parser)
    return parser


_Commands = argparse._SubParsersAction  # argparse has no public name for what add_subparsers returns


def _quickstart(commands: _Commands[Parser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("quickstart", help="enrol three emotions, add a fourth, recognise other voices")
    parser.add_argument("--corpus", help="use a real corpus instead of the synthetic clips: see 'corpora'")
    parser.add_argument("--root", type=Path, help="folder of that corpus")
    _add_model(parser)
    parser.add_argument("--out", type=Path, help="the report page (default: quickstart-report.html, or -2, -3, ...)")
    add_force(parser)
    parser.add_argument("--episodes", type=count, default=200, help="draws behind the interval (default: 200)")
    parser.add_argument("--seed", type=seed, default=0, help="decides which clips are drawn (default: 0)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    add_cache(parser)
    return parser


def _corpora(commands: _Commands[Parser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("corpora", help="list the corpora and formats that can be read")
    parser.add_argument("name", nargs="?", help="show all about one of them")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    return parser


def _scan(commands: _Commands[Parser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("scan", help="read a corpus folder and write its manifest, one row a clip")
    parser.add_argument("corpus", metavar="CORPUS", help=" | ".join(plugins.names("corpora")))
    parser.add_argument("root", metavar="ROOT", type=Path, help="its folder (or file, for a table)")
    parser.add_argument("--out", type=Path, help="the manifest, a CSV table")
    add_force(parser)
    parser.add_argument(
        "--audio-root",
        type=Path,
        help="where relative audio paths begin (emobox, table), or clips are unpacked to (hf_dataset)",
    )
    parser.add_argument("--fold", type=seed, help="one fold of several (emobox)")
    parser.add_argument("--no-check", action="store_true", help="do not open each clip to see whether it can be read")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    return parser


def _evaluate(commands: _Commands[Parser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("evaluate", help="score learners on episodes of a manifest, with intervals")
    add_manifest(parser)
    _add_model(parser)
    parser.add_argument(
        "--learner",
        nargs="+",
        default=[],
        metavar="NAME",
        help="other learners on the same encoder, scored on the same episodes and compared in pairs",
    )
    # No defaults here: beside --replay these would have to be ignored, and that must not go unnoticed.
    parser.add_argument("--n-way", type=count, help="classes of an episode (default: 4)")
    parser.add_argument("--k-shot", type=count, help="support clips of each class (default: 5)")
    parser.add_argument("--n-query", type=count, help="query clips of each class (default: 10)")
    parser.add_argument("--label", choices=("emotion", "speaker", "emotion_x_speaker"), help="default: emotion")
    parser.add_argument(
        "--query-speaker",
        choices=("disjoint", "same", "any"),
        help="default: disjoint; same where a class is a speaker",
    )
    parser.add_argument("--query-text", choices=("different", "any"), help="default: any")
    parser.add_argument(
        "--mix-corpora", action="store_true", default=None, help="let one episode hold clips of several corpora"
    )
    parser.add_argument("--episodes", type=count, help="how many (default: 600)")
    parser.add_argument("--seed", type=seed, help="decides which clips are drawn (default: 0)")
    parser.add_argument("--save-episodes", type=Path, metavar="FILE", help="freeze the episodes that were drawn")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="score on episodes frozen before")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything as JSON; - prints it")
    add_force(parser)
    add_device(parser)
    add_normalization(parser)
    add_cache(parser)
    return parser


def _import(commands: _Commands[Parser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("import", help="make a model of a speech encoder that was trained elsewhere")
    parser.add_argument(
        "source", metavar="SOURCE", help="its folder or file, or a hub id such as facebook/wav2vec2-base (downloads it)"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    add_force(parser)
    parser.add_argument("--layer", type=layer, help="a number, or 'weighted' for a learned mixture (default)")
    parser.add_argument("--pooling", choices=("mean", "mean_std", "frames"), help="of a clip (default: mean_std)")
    parser.add_argument("--keep-silence", action="store_true", help="do not trim the ends of clips")
    parser.add_argument("--learner", help=f"{' | '.join(plugins.names('learners'))} (default: ridge)")
    parser.add_argument("--tune", type=seed, default=0, metavar="N", help="let 'train' train the last N blocks")
    parser.add_argument("--lora", type=seed, default=0, metavar="RANK", help="low-rank adapters in them, from peft")
    parser.add_argument("--bundle", metavar="NAME", help="of torchaudio.pipelines, where shapes do not tell all")
    parser.add_argument(
        "--allow-partial", action="store_true", help="take the weights that match and leave the others random"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")
    return parser


def _enroll(commands: _Commands[Parser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("enroll", help="enrol emotions from a few clips into one file")
    parser.add_argument("folder", nargs="?", type=Path, help="a folder with one folder of clips for each emotion")
    parser.add_argument(
        "--emotion",
        nargs="+",
        action="append",
        default=[],
        metavar=("NAME", "CLIP"),
        help="an emotion, or a speaker, and its clips; may be repeated",
    )
    parser.add_argument("--out", type=Path, required=True, help="the enrolment file; with --to it may be the same")
    add_force(parser)
    parser.add_argument("--to", type=Path, metavar="FILE", help="add to this enrolment instead of beginning a new one")
    parser.add_argument("--forget", nargs="+", default=[], metavar="NAME", help="emotions to remove from it")
    _add_model(parser)
    parser.add_argument("--learner", help="another learner on the same encoder")
    parser.add_argument("--classes", choices=("emotion", "speaker"), help="what to tell apart (default: emotion)")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    return parser


def _predict(commands: _Commands[Parser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("predict", help="recognise clips with an enrolment")
    parser.add_argument("enrollment", type=Path, metavar="FILE", help="an enrolment file that 'enroll' wrote")
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    return parser


def _demo(commands: _Commands[Parser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("demo", help="open a page on which emotions are enrolled and recognised live")
    parser.add_argument("--port", type=port, help="default: the first free one from 7860")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument(
        "--auth", nargs="+", default=[], metavar="USER:PASSWORD", help="who may open it; also in SER_FEWSHOT_AUTH"
    )
    parser.add_argument("--auth-file", type=Path, metavar="FILE", help="accounts, one USER:PASSWORD a line")
    parser.add_argument("--store", type=Path, metavar="DIR", help="keep profiles here (default: nothing is kept)")
    _add_model(parser)
    return parser


def _export(commands: _Commands[Parser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("export", help="write model and enrolled emotions as one file that runs without torch")
    parser.add_argument("enrollment", type=Path, metavar="FILE", help="an enrolment file that 'enroll' wrote")
    parser.add_argument("--format", choices=("onnx",), default="onnx", help="default: onnx")
    parser.add_argument("--out", type=Path, required=True, help="the file, such as model.onnx")
    add_force(parser)
    parser.add_argument("--json", action="store_true", help="print as JSON")
    return parser


def _cache(commands: _Commands[Parser]) -> argparse.ArgumentParser:
    parser = commands.add_parser("cache", help="show or clear the features kept on disk")
    parser.add_argument("--clear", action="store_true", help="remove them; they are computed again when needed")
    parser.add_argument("--json", action="store_true", help="print as JSON")
    add_cache(parser)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, help="folder of a saved model; the one in the package by default")


if __name__ == "__main__":
    sys.exit(main())
