"""The published tables are what the published result files give."""

from __future__ import annotations

import io
import runpy
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from solo_registry.leaderboard.report import frame

SCRIPT = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "results_page.py"))
PAGE, ARCHIVES = SCRIPT["PAGE"], SCRIPT["ARCHIVES"]


def test_there_are_results_and_they_are_small() -> None:
    assert len(ARCHIVES) > 4
    assert sum(path.stat().st_size for path in ARCHIVES[0].parent.iterdir()) < 5e6


@pytest.mark.parametrize("archive", ARCHIVES, ids=SCRIPT["name_of"])
def test_the_table_follows_from_the_result_files(archive: Path) -> None:
    table: Any = SCRIPT["read"](archive)
    assert not table.lacking and not table.problems
    seeds = {len(row.runs) for row in table.rows}
    assert seeds == ({3} if archive.name.startswith("baselines") else {5})
    shown = pd.read_csv(archive.with_name(f"{SCRIPT['name_of'](archive)}.csv"))
    made = pd.read_csv(io.StringIO(frame(table).to_csv(index=False)))
    pd.testing.assert_frame_equal(made, shown, check_dtype=False, rtol=1e-9)
    text = PAGE.read_text(encoding="utf-8")
    assert SCRIPT["page"](text, {SCRIPT["name_of"](archive): table}) == text
    with pytest.raises(ValueError, match="the page has no <!-- other -->"):
        SCRIPT["page"](text, {"other": table})
