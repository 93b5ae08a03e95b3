"""Errors for a package of an extra that is not installed, and for torch and torchaudio that do not fit."""

from __future__ import annotations

import importlib.metadata
import re

from ser_fewshot.errors import CheckpointError, SerFewshotError, SettingsError

_PAIR = ("torch", "torchaudio")


def not_installed(
    fault: ImportError, *, extra: str, subject: str, error: type[SerFewshotError] = SettingsError
) -> SerFewshotError:
    """Return the error, of class `error`, for a package of an extra that a subject needs and cannot be imported."""
    missing = isinstance(fault, ModuleNotFoundError)
    return error(
        subject,
        found=f"no package {fault.name}" if missing else f"a package that cannot be imported ({fault})",
        expected=f"the extra ser-fewshot[{extra}]",
        remedy=f"Install it: pip install 'ser-fewshot[{extra}]'",
    )


def unpaired(fault: Exception) -> CheckpointError:
    """Return the error for a torchaudio that cannot be imported, as where it was built for another torch.

    `fault` may come from transformers, which imports torchaudio where it is installed.
    """
    return CheckpointError(
        "torchaudio",
        found=f"a package that cannot be imported ({fault})",
        expected="the one that was built for the installed torch",
        remedy=f"Install the pair: {install_pair()}",
    )


def install_pair() -> str:
    """Return the command that installs torch and the torchaudio that was built for it.

    It reinstalls by force if both are installed in these versions: then a file is damaged, or of another build.
    """
    lines = importlib.metadata.requires("ser-fewshot") or ()
    wanted = {line for line in lines if re.split(r"[^\w.-]", line, maxsplit=1)[0] in _PAIR}
    installed = (one for name in _PAIR for one in importlib.metadata.distributions(name=name))
    there = {f"{one.name}=={one.version.partition('+')[0]}" for one in installed}
    return f"pip install {'--force-reinstall ' if there >= wanted else ''}{' '.join(sorted(wanted))}"
