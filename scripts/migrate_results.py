"""Name the runs of the published boards by the hash of today, once; nothing that was measured changes.

python scripts/migrate_results.py [docs/results]

A run's folder was the hash of all keys and of the path of the data. Now it is the hash of what
differs from the defaults, and of the data's digest. Also, metrics.csv repeated the validation's
values in the epochs that did not validate; these cells become empty.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from solo_registry.config import merge_schema
from solo_registry.data.opened import Digests
from solo_registry.identity import config_hash
from solo_registry.leaderboard.archive import SUFFIX, pack, unpacked
from solo_registry.plugins import load_plugins
from solo_registry.training.run_folder import write_json

DIGESTS = Digests()


def migrate(board: Path) -> None:
    plan = json.loads((board / "board.json").read_text())
    places: dict[str, str] = {}
    for job in plan["jobs"]:
        if job["path"] not in places:
            places[job["path"]] = migrate_run(board / "runs", job["path"])
        job["path"] = places[job["path"]]
    write_json(board / "board.json", plan)


def migrate_run(runs: Path, place: str) -> str:
    old = runs / place
    cfg = merge_schema(OmegaConf.load(old / "resolved.yaml"))
    DIGESTS.fill(cfg)
    new = runs / cfg.name / config_hash(cfg) / str(cfg.seed)
    assert new == old or not new.exists(), new
    if cfg.data.train_path is not None:
        cfg.data.train_path = Path(cfg.data.train_path).name
    (old / "resolved.yaml").write_text(OmegaConf.to_yaml(cfg))
    result = json.loads((old / "result.json").read_text())
    result |= {"config_hash": config_hash(cfg), "data_digest": cfg.data.digest}
    write_json(old / "result.json", result)
    curve = pd.read_csv(old / "metrics.csv", dtype=str, keep_default_na=False)
    unmeasured = (curve.epoch.astype(int) + 1) % cfg.check_val_every_n_epoch != 0
    curve.loc[unmeasured, [name for name in curve if name.startswith("val_")]] = ""
    curve.to_csv(old / "metrics.csv", index=False)
    new.parent.mkdir(parents=True, exist_ok=True)
    old.rename(new)
    return new.relative_to(runs).as_posix()


def main() -> None:
    load_plugins()
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/results")
    for archive in sorted(folder.glob(f"*{SUFFIX}")):
        with unpacked(archive) as board:
            migrate(board)
            pack(board, archive.absolute())
        print(archive.name)


if __name__ == "__main__":
    main()
