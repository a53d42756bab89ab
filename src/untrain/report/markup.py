"""The small things every section stands on: templates, safe text, numbers as people read them."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from untrain.core.wording import plain

LONGEST = 160
"""Characters of a name that are shown; a record may hold any string."""


def draw(template: str, **context: Any) -> Markup:
    """HTML of a template in `templates/`; every value is escaped."""
    return Markup(_environment().get_template(f"{template}.html").render(**context))


def asset(name: str) -> str:
    """The text of a file of this package."""
    return files("untrain.report").joinpath(name).read_text(encoding="utf-8")


def shown(text: object, longest: int = LONGEST) -> str:
    r"""Text for the eye: invisible, direction-changing and control characters written out, cut where it is very long.

    >>> shown("a\u202eb")
    'a\\u202eb'
    >>> shown("x" * 9, 4)
    'xxxx…'
    """
    text = str(text)
    return plain(text[:longest]) + "…" * (len(text) > longest)


def name(text: object, longest: int = LONGEST) -> Markup:
    """Foreign text, kept from turning the direction of what stands around it.

    >>> name("<b>")
    Markup('<bdi>&lt;b&gt;</bdi>')
    """
    return Markup("<bdi>") + shown(text, longest) + Markup("</bdi>")


def embedded(data: Any) -> Markup:
    r"""JSON that can stand inside a script element.

    >>> embedded("</script>")
    Markup('"\\u003c/script\\u003e"')
    """
    text = json.dumps(data, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026"))


def reason(text: object) -> Markup:
    """What a verdict rests on: a sentence, and so longer than a name."""
    return name(text, 400)


def label(text: object, longest: int = 40) -> str:
    """Text for a chart, which would read tags and entities in it.

    >>> label("<a href=x>")
    '&lt;a href=x&gt;'
    """
    return str(escape(shown(text, longest)))


def amount(value: float | None, unit: str) -> str:
    """A number of a unit.

    >>> amount(0.8596, "share"), amount(29.0, "steps"), amount(12.5, "steps"), amount(0.00002, "distance"), amount(-0.0004, "share")
    ('86.0%', '29', '12.5', '2.0e-05', '0.0%')
    """
    if value is None:
        return "not finite"
    if unit == "share":
        return f"{value:z.1%}"
    if unit in ("steps", "count"):
        return f"{value:z,.1f}".removesuffix(".0")
    if value and abs(value) < 0.0005:
        return f"{value:.1e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:z.2f}" if unit == "ratio" else f"{value:.3f}"


def chance(p: float | None) -> str:
    """A p value.

    >>> chance(0.5), chance(0.00089), chance(4.7e-8)
    ('0.50', '0.0009', '< 0.0001')
    """
    if p is None:
        return "unknown"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.01 else f"{p:.2f}"


def seconds(value: float) -> str:
    """A duration.

    >>> seconds(0.4160082), seconds(75.2), seconds(4000)
    ('0.42 s', '1 min 15 s', '1 h 6 min')
    """
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(value: int) -> str:
    """Bytes.

    >>> size(438419456)
    '418 MiB'
    """
    mebi = value / 2**20
    return f"{mebi / 1024:.1f} GiB" if mebi >= 1024 else f"{mebi:.0f} MiB"


def setting(value: Any) -> str:
    """A setting as it is written in a call.

    >>> setting(True), setting(0.002), setting([1, 2]), setting(None)
    ('true', '0.002', '[1, 2]', 'none')
    """
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value, ensure_ascii=False)


@cache
def _environment() -> Environment:
    made = Environment(loader=PackageLoader("untrain.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"name": name, "reason": reason, "shown": shown, "amount": amount, "chance": chance, "seconds": seconds, "size": size, "setting": setting}
    return made
