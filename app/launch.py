"""Start the page on this machine: nothing is fetched from anywhere, and nothing is told to anyone."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.middleware import Middleware

from ser_fewshot.errors import DataWarning, SettingsError

from . import limits, uploads
from .models import Models
from .no_fetching import NoFetching
from .profiles import Profiles

if TYPE_CHECKING:
    from gradio import Blocks

STYLE = Path(__file__).parent / "style.css"


@contextmanager
def served(
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    auth: Sequence[tuple[str, str]] = (),
    store: Path | None = None,
    model: Path | None = None,
) -> Iterator[str]:
    """Serve the page while the context is open, and yield its address.

    Args:
        host: the address to listen on; by default only this machine can reach it.
        port: where; by default the first free one from 7860.
        auth: (user, password) of those who may open it; everybody, if there are none.
        store: the folder where profiles stay; none are kept without it.
        model: the folder of a saved model; the package's own by default.

    Raises:
        SettingsError: the store, the host or the port cannot be used.
        CheckpointError: the model cannot be used.
    """
    warnings.simplefilter("ignore", DataWarning)  # the page says it, and visitors' labels belong in no log
    profiles = None if store is None else Profiles(store)
    models = Models(model)
    models.warm_up()
    with uploads.folder() as folder, _environment(GRADIO_TEMP_DIR=str(folder)):
        # Not before: what gradio makes at a launch is where this variable led when gradio was first imported.
        from .page import build  # noqa: PLC0415

        blocks = build(models, profiles=profiles)
        try:
            yield _launched(blocks, host=host, port=port, auth=auth)
        finally:
            _close(blocks)


def _close(blocks: Blocks) -> None:
    """Stop now: the server would wait for pages that listen to it, and then tell at length that it cut them off."""
    log = logging.getLogger("uvicorn.error")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        if blocks.server is not None:
            blocks.server.force_exit = True
        blocks.close(verbose=False)
    finally:
        log.setLevel(level)


def _launched(blocks: Blocks, *, host: str, port: int | None, auth: Sequence[tuple[str, str]]) -> str:
    try:
        return _launch(blocks, host=host, port=port, auth=auth)
    except OSError as error:  # gradio's words name an option of its own
        raise SettingsError(
            "page",
            found=f"no free port at {host}{'' if port is None else f':{port}'}",
            expected="an address of this machine and a port that nobody uses",
            remedy="Choose others with --host and --port.",
        ) from error


def _launch(blocks: Blocks, *, host: str, port: int | None, auth: Sequence[tuple[str, str]]) -> str:
    from .theme import theme  # noqa: PLC0415 - see `served`

    _, address, _ = blocks.launch(
        server_name=host,
        server_port=port,
        auth=list(auth) or None,
        max_file_size=limits.ENROLLMENT_BYTES,
        state_session_capacity=limits.VISITORS,
        theme=theme(),
        css_paths=STYLE,
        footer_links=["api"],
        app_kwargs={"middleware": [Middleware(NoFetching)]},
        # All that could leave this machine, or keep a voice in the browser, is off.
        share=False,
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
        ssr_mode=False,
        # The caller says where it is, and waits.
        quiet=True,
        prevent_thread_lock=True,
        inbrowser=False,
    )
    return address


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
