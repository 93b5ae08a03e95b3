"""How the page looks: the system's fonts, so that none is fetched."""

from __future__ import annotations

import gradio as gr


def theme() -> gr.themes.Base:
    """Return gradio's theme with fonts that are there."""
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
