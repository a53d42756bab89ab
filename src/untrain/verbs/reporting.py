"""`untrain report`: the page of a run's record."""

from __future__ import annotations

import os
from pathlib import Path

from untrain.core import files
from untrain.core.errors import BadArgument, wall
from untrain.core.wording import called
from untrain.evidence import seal
from untrain.report.page import render
from untrain.verbs.folder import folder_of, noted_inputs, read_record, refuse_among, sweep
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
    if out is not None:
        refuse_among(out, noted_inputs(run), "-o")
    if os.path.lexists(page) and not _is_page(page):
        raise BadArgument(f"{called(page)} exists and is not a page of untrain's; give another name by -o")
    refuse_unwritable(page)
    with wall(f"the record of {called(run)}", "make the run anew"):
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
