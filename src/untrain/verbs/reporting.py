"""`untrain report`: the page of a run's record."""

from __future__ import annotations

import os
from pathlib import Path

from untrain.core import files
from untrain.core.errors import BadArgument, wall
from untrain.evidence import seal
from untrain.report.page import render
from untrain.verbs.folder import folder_of, read_record, sweep
from untrain.verbs.run_files import PAGE, refuse_unwritable


def report(run: Path, out: Path | None = None) -> tuple[Path, list[str]]:
    """Draw a record's page; renews a page that was drawn before. A record that was edited is drawn as that.

    Args:
        run: The folder of a run.
        out: The file to write; `report.html` in the folder where none is given.

    Returns:
        The page's path, and what in the record was edited: a fact each.
    """
    run = folder_of(run)
    record = read_record(run)
    sweep(run)
    page = out or run / PAGE
    if os.path.lexists(page) and not _is_page(page):
        raise BadArgument(f"{page.name} exists and is not a page of untrain's; give another name by -o")
    refuse_unwritable(page)
    with wall(f"the record of {run.name}", "make the run anew"):
        edited = seal.edited(record)
        drawn = render(record, edited).encode(errors="backslashreplace")
    files.write(page, drawn)
    return page, edited


def _is_page(path: Path) -> bool:
    """Whether a file is a page that `report` drew."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(4096)
    return b"<title>Unlearning record: " in start
