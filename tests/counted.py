"""How often what was tried, and how often it did not hold: kept while tests run, and made a record of by `make chaos`.

python tests/counted.py COUNTS RECORD     # puts the counts of a file that tests left into a record
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

PLACE = "UNTRAIN_CHAOS"
"""Names the file that counts are added to; nothing is written where it is not set."""

_counts: dict[str, list[int]] = {}


@contextmanager
def trying(what: str) -> Iterator[None]:
    """One trial of a kind; what ends in an error did not hold."""
    count = _counts.setdefault(what, [0, 0])
    count[0] += 1
    try:
        yield
    except BaseException:
        count[1] += 1
        raise


def written() -> None:
    """Add what this process counted to the file, a line a kind."""
    if place := os.environ.get(PLACE):
        with Path(place).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"what": what, "tried": tried, "failed": failed}) + "\n" for what, (tried, failed) in _counts.items())


def main(counts: str, record: str) -> None:
    """Put counts into a record: kinds that were tried now replace what it said of them."""
    found: dict[str, dict[str, object]] = {}
    for line in Path(counts).read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        mine = found.setdefault(told["what"], {"what": told["what"], "tried": 0, "failed": 0})
        for name in ("tried", "failed"):
            mine[name] = int(str(mine[name])) + told[name]
    machine = {"untrain": version("untrain"), "python": platform.python_version(), "torch": version("torch"), "system": platform.system(), "machine": platform.machine()}
    before = json.loads(Path(record).read_text(encoding="utf-8")) if Path(record).is_file() else {"rows": []}
    rows = [row for row in before["rows"] if row["what"] not in found] + [row | {"on": machine} for row in found.values()]
    told = {"schema": "untrain.chaos/1", "rows": sorted(rows, key=lambda row: str(row["what"]))}
    Path(record).write_text(json.dumps(told, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
