"""Each notebook runs from top to bottom as it stands, within its time, and is kept without outputs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "docs" / "notebooks").glob("*.ipynb"))

RUN = """
import json, pathlib, sys
names = {"__name__": "__main__"}
cells = [c for c in json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))["cells"] if c["cell_type"] == "code"]
for number, cell in enumerate(cells):
    exec(compile("".join(cell["source"]), f"{sys.argv[1]}, code cell {number}", "exec"), names)
pathlib.Path(sys.argv[2]).write_text(json.dumps({name: names[name] for name in sys.argv[3:]}))
"""


def run(name, folder, *names):
    """Run a notebook's code in a process and an empty folder of its own: what it printed, and the values that it left."""
    path, found = next(p for p in NOTEBOOKS if p.stem == name), folder / "found.json"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, str(path), str(found), *names],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout, json.loads(found.read_text())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert not any(line.startswith(("%", "!")) for cell in code for line in cell["source"])


@pytest.mark.slow
def test_the_quick_start_comes_to_a_verdict(tmp_path):
    said, found = run("quickstart", tmp_path, "verdict", "rows")
    accuracy = {column: values[0]["value"] for column, values in found["rows"]["forgotten, test"].items()}
    assert accuracy["original"] > 0.9
    assert accuracy["unlearned"] < 0.1
    assert accuracy["retrained"] == 0
    assert found["verdict"]["code"] in said
    assert found["verdict"]["retrained"] == 5


@pytest.mark.slow
def test_files_are_forgotten_by_ones_own_model(tmp_path):
    said, found = run("own_model", tmp_path, "looked", "audits", "gone")
    assert found["looked"]["counts"]["forget"] == len(found["gone"]) == 10
    assert found["looked"]["accuracy"]["own"]["test"]["value"] > 0.9
    assert "UNSIR" in said
    assert "this is a list of samples" in said
    rows = {row["name"]: row["values"] for row in found["audits"][0]["rows"]}
    filed = {column: max(v["value"] for v in values) for column, values in rows["forgotten, training"].items()}
    # As many as the models that never saw them, and not as many as the one that learned them by heart.
    assert filed["original"] > 0.8
    assert filed["unlearned"] <= 0.3
    assert filed["retrained"] <= 0.3
    assert rows["retained, test"]["unlearned"][0]["value"] > 0.9
