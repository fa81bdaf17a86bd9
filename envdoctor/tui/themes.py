"""The dark and the light theme: Textual's own, with text that has a contrast of 4.5 everywhere."""

from dataclasses import replace

from textual.theme import BUILTIN_THEMES, Theme

DARK = replace(
    BUILTIN_THEMES["textual-dark"],
    name="envdoctor-dark",
    variables={
        "text-muted": "#a8a8a8",
        "text-disabled": "#a8a8a8",
        "text-error": "#eb98a9",
        "text-primary": "#6db3ea",
        "block-cursor-background": "#0a3d66",
        "block-cursor-foreground": "#ffffff",
        "block-cursor-blurred-background": "#10283a",
        "markdown-h1-color": "#6db3ea",
        "markdown-h2-color": "#6db3ea",
    },
)
LIGHT = replace(
    BUILTIN_THEMES["textual-light"],
    name="envdoctor-light",
    variables={
        "text-muted": "#4c4c4c",
        "text-disabled": "#4c4c4c",
        "text-error": "#7a273c",
        "text-warning": "#6b4200",
        "text-success": "#14532a",
        "text-primary": "#004578",
        "text-accent": "#6b4200",
        "block-cursor-background": "#b5d3ea",
        "block-cursor-foreground": "#000000",
        "block-cursor-blurred-background": "#cddbe6",
        "block-cursor-blurred-foreground": "#000000",
        "markdown-h1-color": "#004578",
        "markdown-h2-color": "#004578",
    },
)
THEMES: tuple[Theme, ...] = (DARK, LIGHT)
