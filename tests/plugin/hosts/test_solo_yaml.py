"""solo-learn's own pretraining YAML runs here as it is; needs a clone on the path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from solo_dyntemp.hosts.found import solo_learn
from solo_registry.config.compose import run_with_config
from solo_registry.config.resolve import resolve

FOLDER = solo_learn()
SCRIPTS = FOLDER.parent / "scripts" / "pretrain" if FOLDER else Path("nowhere")
FILES = sorted(path.relative_to(SCRIPTS).as_posix() for path in SCRIPTS.glob("*/*.yaml"))

pytestmark = [
    pytest.mark.solo,
    pytest.mark.skipif(FOLDER is None, reason="solo-learn is not on the path"),
]


def resolved(file: str) -> Any:
    path, found = SCRIPTS / file, []
    words = ["--config-path", str(path.parent), "--config-name", path.stem]
    run_with_config(lambda cfg: found.append(resolve(cfg)), words)
    return found[0]


@pytest.mark.filterwarnings("ignore:.*not used", "ignore:.*small crops a recipe asks for")
def test_each_file_resolves() -> None:
    assert len(FILES) == 46
    for file in FILES:
        assert resolved(file).optimizer.effective_lr > 0, file
