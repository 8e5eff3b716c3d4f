"""The folder of a user's YAML files, for Hydra: what it reads there are values, never instructions.

A YAML file may be another person's: a model card's recipe, a run's config. Hydra by itself would
import and call what the file names as `_target_`, set up logging by it, and search further folders.
"""

from __future__ import annotations

import re
import warnings
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

from solo_registry.config.keys import check_sections
from solo_registry.config.schema import PretrainConfig
from solo_registry.config.text_file import leaves, read_yaml
from solo_registry.errors import UserError, nearest
from solo_registry.paths import is_dir, is_file

FOLDER: ContextVar[Path | None] = ContextVar("FOLDER", default=None)  # that of --config-path
# what our files and solo-learn's say in their section `hydra`; OURS holds in place of them
IGNORED = ("output_subdir", "run.dir", "sweep.dir", "sweep.subdir", "job.chdir")
OURS = (
    "hydra.output_subdir=null", "hydra.run.dir=.", "hydra.sweep.subdir=.", "hydra.job.chdir=false",
    "hydra.sweep.dir='${oc.select:runs_dir,runs}/.multirun'",
    "hydra/job_logging=none", "hydra/hydra_logging=none",
)  # fmt: skip
LOGGING = re.compile(r"override /?hydra/(job|hydra)_logging")
# solo-learn's data sets with a 3x3 stem, the others, and the backbones that have one
SMALL_SETS, LARGE_SETS = ("cifar10", "cifar100"), ("custom", "imagenet", "imagenet100", "stl10")
RESNETS = ("resnet18", "resnet50")
LOW_RESOLUTION = 64  # pixels; backbones/__init__.py has the same
GROUP = re.compile(r"(override )?(optional )?/?\w[\w/-]*")
OPTION = re.compile(r"/?\w[\w./ -]*")


class GivenFolder(ConfigSource):
    """Hydra's source of configs for `given://FOLDER`; each file is checked when it is read."""

    @staticmethod
    def scheme() -> str:
        """Return what stands before `://`."""
        return "given"

    def load_config(self, config_path: str) -> ConfigResult:
        """Read a file.

        Raises:
            UserError: it is no YAML, or more than values.
        """
        path = self._file(config_path)
        cfg = read_yaml(path, "--config-path", places=True)
        plain = OmegaConf.to_container(cfg)
        check(plain, path)
        if isinstance(plain, dict):
            own = {key: plain[key] for key in plain if key != "hydra"}
            if "/" not in config_path.strip("/"):  # else it is an option of a group
                check_sections(own, PretrainConfig)
            cfg = OmegaConf.create(own)
        header = self._get_header_dict(path.read_text(encoding="utf-8-sig")[:512])
        if header["package"] not in (None, "_global_", "_group_"):
            raise UserError(f"{path}: '# @package {header['package']}' is not allowed")
        return ConfigResult(self.provider, self.full_path(), cfg, header)

    def available(self) -> bool:
        """Whether the folder exists."""
        return self.is_group("")

    def is_group(self, config_path: str) -> bool:
        """Whether this is a folder in it."""
        return _inside(config_path) and is_dir(Path(self.path, config_path))

    def is_config(self, config_path: str) -> bool:
        """Whether this is a YAML file in it; Hydra's own groups are not looked for here."""
        return _inside(config_path) and is_file(self._file(config_path))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """List the files and folders in a folder of it."""
        found: list[str] = []
        for path in Path(self.path, config_path).iterdir():
            name = str(path.relative_to(self.path))
            self._list_add_result(found, name, path.name, results_filter)
        return sorted(set(found))

    def _file(self, config_path: str) -> Path:
        return Path(self.path, self._normalize_file_name(config_path.strip("/")))


def find_given(folder: str, name: str) -> Path:
    """Return the folder of `--config-path` if it has the file of `--config-name`.

    Raises:
        UserError: it has not.
    """
    path = Path(folder).expanduser().absolute()
    if not is_dir(path):
        raise UserError(f"--config-path={folder} is no folder")
    if not _inside(name):
        raise UserError(f"--config-name={name} is not the name of a file in --config-path")
    if not is_file(path / f"{name.removesuffix('.yaml')}.yaml"):
        files = [file.stem for file in path.glob("*.yaml")]
        raise UserError(
            f"{path} has no {name.removesuffix('.yaml')}.yaml.{nearest(name, files)} "
            "The name of a file ends in .yaml, not .yml"
        )
    return path


def compare_stem(cfg: DictConfig) -> None:
    """Warn where solo-learn would give a ResNet another stem than ours, for a YAML file of its own.

    There the name of the data set decides, here the size of the images.
    """
    name, data = OmegaConf.select(cfg, "backbone.name"), OmegaConf.select(cfg, "data.dataset")
    pipelines = OmegaConf.select(cfg, "augmentations")
    sizes = [each.get("crop_size") for each in pipelines] if OmegaConf.is_list(pipelines) else []
    asked = OmegaConf.select(cfg, "backbone.kwargs.low_resolution")
    known = data in (*SMALL_SETS, *LARGE_SETS) and asked is None and "telemetry" not in cfg
    if not known or name not in RESNETS or not all(isinstance(size, int) for size in sizes):
        return
    here, there = max(sizes, default=0) <= LOW_RESOLUTION, data in SMALL_SETS
    if here != there:
        stem = {True: "the 3x3 stem", False: "the 7x7 stem"}
        warnings.warn(
            f"{name} gets {stem[here]} for images of {max(sizes)} pixels; solo-learn takes "
            f"{stem[there]} for data.dataset={data}. backbone.kwargs.low_resolution="
            f"{str(there).lower()} makes them equal",
            stacklevel=2,
        )


def check(plain: Any, path: Path) -> None:
    """Refuse whatever Hydra would not take as a value.

    Args:
        plain: the content of a YAML file.
        path: the file.

    Raises:
        UserError: a `_target_`, a setting of Hydra's own, or defaults that leave the folder.
    """
    for name, _ in leaves(plain):
        if "_target_" in name:
            raise UserError(f"{path}: {name} would run code, so it is not allowed")
    if not isinstance(plain, dict):
        return
    hydra = plain.get("hydra") or {}
    for name, _ in leaves(hydra if isinstance(hydra, dict) else {str(hydra): None}):
        if name not in IGNORED:
            raise UserError(
                f"{path}: hydra.{name} is not allowed. In a file the section hydra can have "
                f"{', '.join(IGNORED)}; launchers are chosen on the command line"
            )
    if isinstance(listed := plain.pop("defaults", None), list):
        plain["defaults"] = [entry for entry in listed if _followed(entry, path)]
    elif listed:
        raise UserError(f"{path}: defaults must be a list, got '{listed}'")


def _followed(entry: Any, path: Path) -> bool:
    """Whether Hydra has to follow an entry of a defaults list; ours of the logging stand already.

    Raises:
        UserError: it names another package, a group of Hydra's, or a file outside.
    """
    pairs = list(entry.items()) if isinstance(entry, dict) else [("", entry)]
    group, options = pairs[0] if len(pairs) == 1 else ("", str(entry))
    if LOGGING.fullmatch(group):
        return False
    names = [each for each in (options if isinstance(options, list) else [options]) if each]
    sane = all(isinstance(name, str) and OPTION.fullmatch(name) for name in names)
    if not sane or (group and not GROUP.fullmatch(group)) or not _inside(group, *names):
        raise UserError(
            f"{path}: '{group}{': ' if group else ''}{options}' in the list of defaults is not "
            "allowed: name groups and files of this folder, or of dyntemp"
        )
    return True


def _inside(*names: str) -> bool:
    """Whether names with slashes stay in their folder, and out of Hydra's own groups.

    >>> _inside("augmentations", "symmetric"), _inside("../x"), _inside("hydra/launcher")
    (True, False, False)
    """
    parts = [part for name in names for part in Path(name.rpartition(" ")[2].strip("/")).parts]
    return ".." not in parts and "hydra" not in parts and not any(map(str.isspace, parts))
