"""CPU seconds by contender as an SVG bar chart, written by hand: fit for a white page and a dark one."""

from __future__ import annotations

from html import escape

BAR, GAP, LABEL, WIDTH, TOP = 22, 10, 130, 760, 46
OURS, OTHERS, TEXT = "#2f7ed8", "#9aa5b1", "#6b7580"


def bars(title: str, values: dict[str, float], marks: dict[str, str], ours: str = "gapless") -> str:
    """One bar per name, shortest first; `marks` is what stands behind a bar's figure."""
    longest = max(values.values(), default=1.0)
    room = WIDTH - LABEL - 190
    height = TOP + len(values) * (BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        f' font-family="system-ui, sans-serif" font-size="13" fill="{TEXT}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<text x="0" y="20" font-size="15">{escape(title)}</text>',
    ]
    for index, name in enumerate(sorted(values, key=values.__getitem__)):
        top, long = TOP + index * (BAR + GAP), max(1.0, values[name] / longest * room)
        middle, weight = top + BAR * 0.7, ' font-weight="bold"' if name == ours else ""
        figure = " ".join(filter(None, [f"{values[name]:.1f} s", marks.get(name, "")]))
        parts += [
            f'<text x="{LABEL - 10}" y="{middle:.1f}" text-anchor="end"{weight}>{escape(name)}</text>',
            f'<rect x="{LABEL}" y="{top}" width="{long:.1f}" height="{BAR}" rx="3"'
            f' fill="{OURS if name == ours else OTHERS}"/>',
            f'<text x="{LABEL + long + 8:.1f}" y="{middle:.1f}"{weight}>{escape(figure)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
