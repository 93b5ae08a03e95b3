"""Start the page on this machine: nothing is fetched from anywhere, and no use is reported."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from starlette.middleware import Middleware

from ser_fewshot import audio
from ser_fewshot.audio.voice_activity import is_voice
from ser_fewshot.errors import DataWarning, SettingsError

from . import examples, limits, uploads
from .middleware import NoFetching
from .models import Mode, Models
from .profiles import Profiles

if TYPE_CHECKING:
    from gradio import Blocks, themes

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

    By default only this machine can reach it, at the first free port from 7860; everybody may open it unless there are
    accounts in `auth`, (user, password) each; no profiles are kept without a folder for them, the `store`; and `model`
    is the folder of a saved model in place of the package's own.

    Raises:
        SettingsError: the store, the host or the port cannot be used.
        CheckpointError: the model cannot be used.
    """
    warnings.simplefilter("ignore", DataWarning)  # the page shows it, and visitors' labels belong in no log
    profiles = None if store is None else Profiles(store)
    models = Models(model)
    warm_up(models)
    with uploads.folder() as folder, _environment(GRADIO_TEMP_DIR=str(folder)):
        # Not before: what gradio makes at a launch is where this variable led when gradio was first imported.
        from .page import build  # noqa: PLC0415

        blocks = build(models, profiles=profiles)
        try:
            yield _launch(blocks, host=host, port=port, auth=auth)
        finally:
            _close(blocks)


def warm_up(models: Models) -> None:
    """Read the model and recognise once, so that no visitor waits for imports.

    Raises:
        CheckpointError, EnrollmentError: the folder holds no model, or one that cannot be used here.
    """
    classifier = models.empty("emotion")
    sound, other = (audio.load(clip.path) for clip in examples.queries()[:2])
    classifier.enroll({"one": [sound], "other": [other]})
    classifier.predict(sound)
    is_voice(sound.waveform)
    for mode in get_args(Mode):  # now, while there is memory for all of them
        examples.sounds(mode, trim=classifier.model.frontend.trim)


def _close(blocks: Blocks) -> None:
    """Stop now: the server would wait for open pages, and then log at length that it cut them off."""
    log = logging.getLogger("uvicorn.error")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        if blocks.server is not None:
            blocks.server.force_exit = True
        blocks.close(verbose=False)
    finally:
        log.setLevel(level)


def _launch(blocks: Blocks, *, host: str, port: int | None, auth: Sequence[tuple[str, str]]) -> str:
    try:
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            auth=list(auth) or None,
            max_file_size=limits.ENROLLMENT_BYTES,
            state_session_capacity=limits.VISITORS,
            theme=_theme(),
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
    except OSError as error:  # gradio's words name an option of its own
        raise SettingsError(
            "page",
            found=f"no free port at {host}{'' if port is None else f':{port}'}",
            expected="an address of this machine and a port that nobody uses",
            remedy="Choose others with --host and --port.",
        ) from error
    return address


def _theme() -> themes.Base:
    """Return gradio's theme with the system's fonts, so that none is fetched."""
    import gradio as gr  # noqa: PLC0415 - see `served`

    themed = gr.themes.Default(
        primary_hue="blue",
        neutral_hue="slate",
        font=["system-ui", "-apple-system", "Noto Sans KR", "Malgun Gothic", "sans-serif"],
        font_mono=["ui-monospace", "Menlo", "Consolas", "monospace"],
    )
    # Darker than gradio's own, whose contrast is below the 4.5:1 of WCAG 2.2, https://www.w3.org/TR/WCAG22/#contrast-minimum.
    return themed.set(
        body_text_color_subdued="*neutral_500",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_cancel_background_fill="#b91c1c",
        button_cancel_background_fill_hover="#991b1b",
    )


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
