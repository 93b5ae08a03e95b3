"""What to say where a package is missing that comes with an extra of ours."""

from __future__ import annotations

from ser_fewshot.errors import SerFewshotError, SettingsError


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
