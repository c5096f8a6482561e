"""The page can be read: text stands out from what it stands on, in light and in dark."""

from __future__ import annotations

import re

import pytest

from examples.librarian.page import STATIC

COLOURS = {
    name: (light, dark)
    for name, light, dark in re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)",
        (STATIC / "page.css").read_text(),
    )
}
ENOUGH = 4.5  # WCAG 2, level AA, for text of any size

PAIRS = [
    ("ink", "paper"),
    ("ink", "curtain-wash"),
    ("ink-soft", "wing"),
    ("ink-soft", "paper-raised"),
    ("ink-faint", "paper"),
    ("ink-faint", "wing"),
    ("ink-faint", "paper-raised"),
    ("brass", "brass-wash"),
    ("brass", "paper"),
    ("curtain-text", "paper-raised"),
    ("curtain-text", "curtain-wash"),
    ("warn", "paper-raised"),
    ("bad", "paper"),
    ("good", "wing"),
]


def luminance(colour):
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(("text", "ground"), PAIRS)
def test_text_stands_out_from_its_ground(text, ground, mode):
    assert contrast(COLOURS[text][mode], COLOURS[ground][mode]) >= ENOUGH


@pytest.mark.parametrize("mode", [0, 1], ids=["light", "dark"])
def test_buttons_can_be_read(mode):
    assert contrast("#ffffff", COLOURS["curtain"][mode]) >= ENOUGH
