"""The page: one file that holds all it needs, drawn from a record alone."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from untrain.evidence.verdict import what
from untrain.report.markup import asset, draw, shown
from untrain.report.sections import SECTIONS, altered, certificate, verdict


def render(record: dict[str, Any], edited: Sequence[str] = ()) -> str:
    """HTML of a record: a pure function of it, which asks nothing of a network.

    Args:
        record: The record.
        edited: What in it is not as it was made, see `untrain.evidence.seal.edited`; said in the verdict's place.
    """
    # What was edited certifies nothing.
    drawn = [altered(record, edited) if edited and section is verdict else section(record) for section in SECTIONS if not (edited and section is certificate)]
    body = Markup("\n").join(drawn)
    return whole(f"Unlearning record: {shown(what(record['request']), 80)}", body)


def whole(title: str, body: Markup, style: str = "") -> str:
    """A page of sections: style and scripts inside it, and a policy that lets nothing else in.

    Args:
        title: Its title.
        body: Its sections.
        style: Rules of its own, after those of every page.
    """
    scripts = ([charts()] if 'class="chart"' in body else []) + [asset("page.js")]
    return draw("page", title=title, policy=policy(scripts), style=Markup(asset("style.css") + style), body=body, scripts=[Markup(s) for s in scripts]) + "\n"


def policy(scripts: list[str]) -> str:
    """A content security policy that runs these scripts and loads nothing.

    Styles are inline, since charts set theirs as they are drawn; without a source to load from, a style can only change looks.
    """
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    return f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def charts() -> str:
    """plotly.js, of which a page needs lines and bars alone: its own basic bundle, a quarter of the whole, which the package for Python does not hold.

    The file is `dist/plotly-basic.min.js` of plotly.js 4.1.1 as published (MIT, the licence stands beside it), unchanged.
    """
    return asset("plotly-basic.min.js")
