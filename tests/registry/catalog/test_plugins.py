from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_a_plugin_that_fails_is_named_in_one_paragraph(tmp_path: Path) -> None:
    info = tmp_path / "broken_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[solo_registry.plugins]\nbroken = no_such:register\n")
    done = subprocess.run(
        [sys.executable, "-m", "solo_registry", "methods"], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: plugin 'broken' (no_such:register) failed")
    assert "Traceback" not in done.stderr
