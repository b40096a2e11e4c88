"""Figures as inline SVG that follow the page: its colours, its font, light or dark.

Drawn with matplotlib's SVG writer, without pyplot and its global state, then adapted: colours
become CSS variables, text stays text, ids get a prefix of their own, and nothing in the file
depends on the date, the machine or the user's matplotlib configuration. All words are passed
through as text: neither markup nor mathematics is interpreted.
"""

from __future__ import annotations

import functools
import html
import io
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, ParamSpec

from attribution.display import shortened
from compose.errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-ins that the SVG writer prints and `_adapt` replaces by the page's variables.
INK: Final = "#010203"
FAINT: Final = "#010204"
MUTED: Final = "#010205"
PLUS: Final = "#010206"
LESS: Final = "#010207"
PAPER: Final = "#010208"
_VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--line)",
    MUTED: "var(--muted)",
    PLUS: "var(--plus)",
    LESS: "var(--less)",
    PAPER: "var(--paper)",
}
_Arguments = ParamSpec("_Arguments")
_WIDTH = 5.6
_LABEL = 22
_SETTINGS: dict[str, Any] = {
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "font.size": 10.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "pnode",
    "text.color": INK,
    "text.parse_math": False,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "ytick.major.size": 0,
    "axes.unicode_minus": True,
}


@dataclass(frozen=True, slots=True)
class Bar:
    """A labelled value with the ends of its interval, in percentage points."""

    label: str
    value: float
    low: float | None
    high: float | None


def _configured(draw: Callable[_Arguments, str]) -> Callable[_Arguments, str]:
    """Return a drawing function that runs under our settings, whatever the user's are."""

    @functools.wraps(draw)
    def configured(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> str:
        matplotlib = _matplotlib()
        with matplotlib.rc_context(_settings(matplotlib)), warnings.catch_warnings():
            # A title in a script that the measuring font lacks is drawn by the reader's own font.
            warnings.filterwarnings("ignore", message="Glyph .* missing")
            return draw(*args, **kwargs)

    return configured


@_configured
def whiskers(bars: Sequence[Bar], *, name: str, description: str) -> str:
    """Return a dot per value with its interval as a line, in the order given."""
    figure, axes = _figure(0.34 * len(bars) + 0.75)
    for place, bar in enumerate(bars):
        tone = _tone(bar)
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [place, place], color=tone, linewidth=1.6)
        axes.plot([bar.value], [place], marker="o", markersize=6, color=tone)
    _label_rows(axes, [bar.label for bar in bars])
    axes.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
    axes.set_xlabel("percentage points of mean accuracy")
    return _finish(figure, name, description)


@_configured
def waterfall(base: float, bars: Sequence[Bar], *, name: str, description: str) -> str:
    """Return the steps from the base model to the composed system, in percent."""
    figure, axes = _figure(0.34 * (len(bars) + 2) + 0.75)
    axes.barh(0, base, color=MUTED, height=0.56)
    level = base
    for place, bar in enumerate(bars, start=1):
        axes.barh(
            place,
            bar.value,
            left=level,
            color=PLUS if bar.value >= 0 else LESS,
            height=0.56,
            alpha=0.6,
        )
        axes.plot([level, level], [place - 1, place], color=MUTED, linewidth=0.6)
        if bar.low is not None and bar.high is not None:
            ends = [level + bar.low, level + bar.high]
            axes.plot(ends, [place, place], color=INK, linewidth=1)
        level += bar.value
    axes.plot([level, level], [len(bars), len(bars) + 1], color=MUTED, linewidth=0.6)
    axes.barh(len(bars) + 1, level, color=INK, height=0.56)
    _label_rows(axes, ["base model", *(bar.label for bar in bars), "composed system"])
    axes.set_xlim(left=0)
    axes.set_xlabel("mean accuracy, percent")
    return _finish(figure, name, description)


@_configured
def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Sequence[Sequence[tuple[float, str, bool]]],
    *,
    name: str,
    description: str,
) -> str:
    """Return a matrix of (value, text, is clearly not zero), shaded from zero on one scale.

    Only cells that are clearly not zero are shaded; the sign is in the text too, so the figure
    reads without colour.
    """
    figure, axes = _figure(0.36 * len(rows) + 0.9)
    size = min(10.5, 80 / max(1, len(columns)))
    scale = max((abs(cell[0]) for row in cells for cell in row), default=0) or 1
    for y, row in enumerate(cells):
        for x, (value, text, clear) in enumerate(row):
            _cell(axes, x, y, value / scale if clear else 0)
            axes.text(
                x, y, text, ha="center", va="center", color=INK if clear else MUTED, fontsize=size
            )
    axes.set_xlim(-0.5, len(columns) - 0.5)
    _label_rows(axes, rows)
    axes.xaxis.tick_top()
    narrow = max(6, 44 // max(1, len(columns)))
    slant = 0 if all(len(column) <= narrow for column in columns) else 35
    axes.set_xticks(
        range(len(columns)),
        [shortened(column, _LABEL) for column in columns],
        rotation=slant,
        ha="left" if slant else "center",
    )
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return _finish(figure, name, description)


def _cell(axes: Axes, x: int, y: int, shade: float) -> None:
    from matplotlib.patches import Rectangle

    tone = PLUS if shade > 0 else LESS
    place = (x - 0.5, y - 0.5)
    if shade:
        strength = 0.12 + 0.5 * abs(shade)
        axes.add_patch(Rectangle(place, 1, 1, facecolor=tone, alpha=strength, linewidth=0))
    axes.add_patch(Rectangle(place, 1, 1, facecolor="none", edgecolor=FAINT, linewidth=0.8))


def _tone(bar: Bar) -> str:
    if bar.low is None or bar.high is None or bar.low <= 0 <= bar.high:
        return MUTED
    return PLUS if bar.low > 0 else LESS


def _label_rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_yticks(range(len(labels)), [shortened(label, _LABEL) for label in labels])


def _figure(height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, max(1.4, height)), layout="constrained")
    return figure, figure.add_subplot()


def _finish(figure: Figure, name: str, description: str) -> str:
    buffer = io.StringIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(buffer, format="svg", metadata=metadata)
    return _adapt(buffer.getvalue(), name, description)


def _settings(matplotlib: Any) -> dict[str, Any]:
    """Return matplotlib's own defaults and ours, so that a user's configuration has no effect."""
    kept = {"backend", "backend_fallback", "interactive", "toolbar", "timezone"}
    defaults = {
        key: value
        for key, value in matplotlib.rcParamsDefault.items()
        if key not in kept and not key.startswith(("webagg.", "tk.", "macosx."))
    }
    return defaults | _SETTINGS


def _matplotlib() -> Any:
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingExtraError(
            "matplotlib, which draws the figures, is not installed",
            hint="install what it needs with: pip install 'pnode[report]'",
        ) from None
    return mpl


def _adapt(svg: str, name: str, description: str) -> str:
    """Return the SVG element for inlining into the page."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<[^>]+>", lambda tag: _adapt_tag(tag.group(), name), svg)
    label = html.escape(description, quote=True)
    view = re.search(r'viewBox="[0-9. ]+"', svg)
    opening = f'<svg class="figure" role="img" aria-label="{label}" {view.group() if view else ""}>'
    svg = re.sub(r"<svg[^>]*>", lambda _: opening, svg, count=1)
    return re.sub(r"\n\s*", "\n", svg).strip()


def _adapt_tag(tag: str, name: str) -> str:
    tag = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", tag)
    tag = tag.replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        tag = tag.replace(colour, variable)
    return re.sub(r"font: (?:[a-z0-9]+ )*?([0-9.]+)px [^;\"]*", r"font-size: \1px", tag)
