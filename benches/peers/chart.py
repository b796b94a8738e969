"""Bars as SVG: one panel per file, one group per test, one bar per engine.

Speeds of different tests differ by an order of magnitude, so that every group has its own
scale: its longest bar is as long as the panel allows. Thin lines show the spread.
"""

from html import escape

from contenders import OURS
from summary import Comparison, Score

FAMILIES = [OURS, "ik_llama.cpp", "llama.cpp"]
COLOURS = {OURS: "#2563eb", "ik_llama.cpp": "#d97706", "llama.cpp": "#6b7280"}

WIDTH = 860
LEFT = 130
LONGEST = 500
BAR = 14
GAP = 3
BETWEEN_GROUPS = 14
HEADER = 34


def draw(panels: list[tuple[str, list[Comparison]]]) -> str:
    """The whole picture; a panel is a file name and its tests."""
    parts: list[str] = []
    y = 16
    for x, family in zip((LEFT, LEFT + 110, LEFT + 250), FAMILIES):
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{COLOURS[family]}"/>')
        parts.append(text(x + 18, y + 10, family))
    parts.append(text(WIDTH - 16, y + 10, "tokens per second, more is better", "end"))
    y += 30
    for name, comparisons in panels:
        parts.append(text(16, y + 14, name, weight="bold"))
        y += HEADER - 8
        for comparison in comparisons:
            y = draw_group(parts, comparison, y) + BETWEEN_GROUPS
        y += 10
    style = "font-family:system-ui,sans-serif;font-size:12px"
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" style="{style}">'
    # A ground of its own: the page may be dark.
    ground = f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>'
    return "\n".join([head, ground, *parts, "</svg>", ""])


def draw_group(parts: list[str], comparison: Comparison, y: float) -> float:
    """Adds the bars of one test and returns the place below them."""
    bars = [(family, comparison.best(family)) for family in FAMILIES]
    present = [(family, score) for family, score in bars if score is not None]
    if not present:
        return y
    most = max(score.spread[1] for _, score in present)
    height = len(present) * (BAR + GAP) - GAP
    parts.append(text(LEFT - 10, y + height / 2 + 4, comparison.test, "end"))
    for family, score in present:
        draw_bar(parts, family, score, LONGEST / most, y)
        y += BAR + GAP
    return y


def draw_bar(parts: list[str], family: str, score: Score, scale: float, y: float) -> None:
    low, high = (LEFT + scale * end for end in score.spread)
    middle = y + BAR / 2
    parts.append(
        f'<rect x="{LEFT}" y="{y}" width="{scale * score.median:.1f}" height="{BAR}" fill="{COLOURS[family]}"/>'
    )
    parts.append(
        f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 3}v6M{high:.1f} {middle - 3}v6" '
        'stroke="#111827" fill="none"/>'
    )
    settings = "" if score.contender == OURS else f" ({score.contender})"
    mark = " disturbed" if score.is_disturbed else ""
    parts.append(text(high + 8, y + BAR - 3, f"{score.median:.1f}{settings}{mark}"))


def text(x: float, y: float, content: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="#111827">{escape(content)}</text>'
    )
