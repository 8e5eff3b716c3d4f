"""The config keys for people: `dyntemp pretrain --help`, `dyntemp config` and docs/config.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

from omegaconf import OmegaConf

from solo_registry.catalog.declared import LIMIT, Declared, spell
from solo_registry.catalog.kwargs import declared_kwargs
from solo_registry.catalog.registry import METHODS
from solo_registry.config.keys import Key, all_keys, keys_of
from solo_registry.config.schema import PretrainConfig
from solo_registry.errors import UserError, nearest

HELP = """\
Pretrain a backbone without labels, then measure it on frozen features.

  dyntemp pretrain method=simclr_dyntemp data=digits
  dyntemp pretrain method=simclr_dyntemp data=cifar10 seed=3 max_epochs=20 method_kwargs.tau_max=0.3
  dyntemp pretrain backbone=timm/convnext_atto data=custom data.train_path=photos
  dyntemp pretrain --multirun seed=1,2,3 method=simclr,simclr_dyntemp

Flags: --cfg job shows the config and runs nothing; --multirun runs every combination.
With method=NAME or recipe=NAME the method's own keys are listed too.
"""
HEAD = f"""\
# Config keys

`dyntemp config --markdown > docs/config.md` writes this page. `dyntemp pretrain --help` lists the
same keys with the values that your overrides give them.

- Set a key by `dyntemp pretrain KEY=VALUE`. `augmentations` is a list: `augmentations.0.crop_size`
  is the size of the first pipeline.
- Keys are solo-learn's. The help of a key or section that solo-learn does not have begins with
  *Ours*.
- *Default* is the schema's. A data set's YAML or a recipe may choose another value.
- Where no range is given, numbers are finite and at most {LIMIT} in size. A value outside of
  its range is refused before anything runs.
- *Derived* keys follow from the others and cannot be set.
- `method_kwargs` has the method's own keys: `dyntemp pretrain method=NAME --help` lists them.
"""
# what is set most, as it is typed: the key it sets, and its help where that says more
MOST_USED = {
    "method": ("method", ""),
    "data": ("data.dataset", "A data set (`dyntemp datasets` lists them), or a folder of images."),
    "data.val_path": ("data.val_path", ""),
    "backbone": ("backbone.name", ""),
    "max_epochs": ("max_epochs", ""),
    "optimizer.lr": ("optimizer.lr", ""),
    "optimizer.batch_size": ("optimizer.batch_size", ""),
    "seed": ("seed", ""),
    "devices": ("devices", ""),
    "runs_dir": ("runs_dir", ""),
}
COLUMN = 44  # where the help begins


def help_page(cfg: Any, groups: Mapping[str, Sequence[str]], method: str | None) -> str:
    """Return what `dyntemp pretrain --help` prints.

    Args:
        cfg: the composed config, whose values are shown.
        groups: the options of each config group.
        method: a method whose own keys are shown too.
    """
    lines = [HELP, "== Most used: set any with KEY=VALUE =="]
    declared = {item.name: item.declared for item in all_keys(PretrainConfig)}
    for key, (name, help) in MOST_USED.items():
        value = OmegaConf.select(cfg, name, default=declared[name].default)
        about = replace(declared[name], help=help) if help else declared[name]
        lines.append(_line(key, value, about))
    lines += ["", "== Groups: choose an option with GROUP=OPTION =="]
    lines += [f"{group}: {', '.join(options)}" for group, options in groups.items()]
    lines += ["", "== All keys, with the values of the overrides given =="]
    if method is not None:
        lines += [f"method_kwargs: the keys of {method}"]
        given = OmegaConf.select(cfg, "method_kwargs") or {}
        for key, kwarg in declared_kwargs(METHODS.get(method)).items():
            lines.append(_line(f"method_kwargs.{key}", given.get(key, kwarg.default), kwarg))
        lines.append("")
    own = "  method_kwargs="  # one line for all of them, of use where no method is shown
    above = tuple(f"  {key}=" for key in MOST_USED if key not in ("data", "backbone"))
    for line in _section_lines(cfg, PretrainConfig, ""):
        if not line.startswith(above) and (method is None or not line.startswith(own)):
            lines.append(line)
    return "\n".join(lines) + "\n"


def _section_lines(node: Any, schema: Any, prefix: str) -> Iterator[str]:
    """Yield a line for each key of a section, then its sections; of a list the first item's."""
    sections = [item for item in keys_of(schema) if item.section is not None]
    for item in keys_of(schema):
        if item.section is None:
            value = OmegaConf.select(node, item.name, default=item.declared.default)
            yield _line(prefix + item.name, value, item.declared)
    for item in sections:
        part, name = OmegaConf.select(node, item.name), prefix + item.name
        if OmegaConf.is_list(part):
            part, name = (part[0] if part else None), f"{name}.0"
        if not prefix:
            yield ""
        yield f"{name}: {item.help}"
        yield from _section_lines(OmegaConf.create({}) if part is None else part, item.section,
                                  f"{name}.")  # fmt: skip


def _line(name: str, value: Any, declared: Declared) -> str:
    brackets = _brackets(declared)
    ending = f" [{brackets}]" if brackets else ""
    return f"  {f'{name}={spell(value)}':<{COLUMN}}  {declared.help}{ending}".rstrip()


def _brackets(declared: Declared) -> str:
    """Write type and allowed values, one of them where it says all."""
    kind = declared.type_name
    says_all = declared.choices or declared.derived or kind in ("text", "any")
    return ", ".join(filter(None, ("" if says_all else kind, declared.allowed)))


def matching_keys(pattern: str) -> list[Key]:
    """Return the keys whose names match a shell pattern, sections left out.

    Raises:
        UserError: there are none.
    """
    keys = [item for item in all_keys(PretrainConfig) if item.section is None]
    found = [item for item in keys if fnmatch(item.name, pattern)]
    if not found:
        hint = nearest(pattern, [item.name for item in keys])
        raise UserError(f"no config key matches '{pattern}'.{hint}")
    return found


def show_keys(pattern: str) -> None:
    """Print the keys that match; a plain table when piped."""
    from rich.table import Table

    from solo_registry.console import terminal

    table = Table("key", "default", "allowed", "what", box=None, header_style="bold")
    for item in matching_keys(pattern):
        table.add_row(item.name, _default(item), _brackets(item.declared), item.help)
    terminal().print(table)


def config_page() -> str:
    """Return the keys as a page in Markdown, a table for each section."""
    top = keys_of(PretrainConfig)
    lines = [HEAD, _table("The run", "", [item for item in top if item.section is None])]
    for item in top:
        if item.section is not None:
            keys = all_keys(item.section, f"{item.name}.")
            lines.append(_table(f"`{item.name}`", f"{item.help}\n\n", keys))
    return "".join(lines)


def _table(title: str, text: str, keys: Sequence[Key]) -> str:
    rows = ["| key | type | default | allowed | help |", "|---|---|---|---|---|"]
    for item in keys:
        default = "" if item.section else f"`{_default(item)}`"
        if item.required:
            default = "required"
        declared = item.declared
        cells = (f"`{item.name}`", declared.type_name, default, declared.allowed, declared.help)
        rows.append(f"| {' | '.join(cells)} |")
    return f"\n## {title}\n\n{text}" + "\n".join(rows) + "\n"


def _default(item: Key) -> str:
    return "required" if item.required else spell(item.declared.default)
