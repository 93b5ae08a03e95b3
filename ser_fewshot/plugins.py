"""A plug-in is a file: a corpus, a front-end or a learner exists because a module of that name lies in its folder.

Names come from listing the folder, and a module is imported only when it is loaded, so adding one changes no registry
and no other file. Modules whose name begins with an underscore are helpers, not plug-ins.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from types import ModuleType

from ser_fewshot.errors import SettingsError


def names(package: str) -> list[str]:
    """Return the plug-ins of a sub-package such as "corpora", sorted, without importing any of them."""
    spec = importlib.util.find_spec(f"ser_fewshot.{package}")
    if spec is None or spec.submodule_search_locations is None:
        raise ValueError(f"ser_fewshot.{package} is not a package")
    folders = list(spec.submodule_search_locations)
    return sorted(module.name for module in pkgutil.iter_modules(folders) if not module.name.startswith("_"))


def load(package: str, name: str) -> ModuleType:
    """Import one plug-in.

    Raises:
        SettingsError: no plug-in of that name exists; the error lists those that do.
    """
    known = names(package)
    if name not in known:
        close = difflib.get_close_matches(str(name).lower(), known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else "Choose one of these."
        raise SettingsError(package, found=f"the unknown name {name!r:.80}", expected=" | ".join(known), remedy=hint)
    return importlib.import_module(f"ser_fewshot.{package}.{name}")
