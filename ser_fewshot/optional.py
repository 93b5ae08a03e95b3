"""What to say where a package is missing that comes with an extra, or where torch and torchaudio do not fit."""

from __future__ import annotations

import importlib.metadata
import re

from ser_fewshot.errors import CheckpointError, SerFewshotError, SettingsError

_PAIR = ("torch", "torchaudio")


def not_installed(
    fault: ImportError, *, extra: str, subject: str, error: type[SerFewshotError] = SettingsError
) -> SerFewshotError:
    """Return the error for a package that cannot be imported.

    Whoever needs a package imports it by its name, so that one can see in a file what it needs.

    Args:
        fault: what the import raised.
        extra: that brings the package.
        subject: what needs it.
        error: of which kind.
    """
    missing = isinstance(fault, ModuleNotFoundError)
    return error(
        subject,
        found=f"no package {fault.name}" if missing else f"a package that cannot be imported ({fault})",
        expected=f"the extra ser-fewshot[{extra}]",
        remedy=f"Install it: pip install 'ser-fewshot[{extra}]'",
    )


def unpaired(fault: Exception) -> CheckpointError:
    """Return the error for a torchaudio that cannot be imported, as where it was built for another torch.

    Args:
        fault: what the import raised, of torchaudio or of transformers, which imports it wherever it is installed.
    """
    return CheckpointError(
        "torchaudio",
        found=f"a package that cannot be imported ({fault})",
        expected="the one that was built for the installed torch",
        remedy=f"Install the pair: {install_pair()}",
    )


def install_pair() -> str:
    """Return the command that installs torch and the torchaudio that was built for it.

    It forces what is installed in these versions already: then a file of theirs is damaged, or of another build.
    """
    wanted = {line for line in importlib.metadata.requires("ser-fewshot") or () if _name_in(line) in _PAIR}
    installed = (one for name in _PAIR for one in importlib.metadata.distributions(name=name))
    there = {f"{one.name}=={one.version.partition('+')[0]}" for one in installed}
    return f"pip install {'--force-reinstall ' if there >= wanted else ''}{' '.join(sorted(wanted))}"


def _name_in(requirement: str) -> str:
    """Return the package that a line of metadata asks for."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
