"""On which devices a run trains, from Lightning's and solo-learn's spellings of `devices`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from omegaconf import DictConfig, ListConfig, OmegaConf

from solo_registry.catalog.declared import shown
from solo_registry.config.settings import setting, whole
from solo_registry.errors import UserError

if TYPE_CHECKING:
    import torch

LEAST_CORES = 8  # processes that a CPU may have in any case, to try a config of several devices


def read_devices(devices: Any) -> int | list[int] | Literal["auto"]:
    """Read `devices` as Lightning's Trainer does, with text for what cannot be meant.

    Args:
        devices: a count (2 or "2"), ids ([0, 3], "0,3", or "3," for device 3 alone), or "auto",
            -1 or "-1" for all devices.

    Returns:
        A count, the ids, or "auto".

    Raises:
        UserError: anything else.

    >>> [read_devices(given) for given in (3, "3", "3,", "0,1", [3], -1, "auto")]
    [3, 3, [3], [0, 1], [3], 'auto', 'auto']
    """
    given = devices.strip() if isinstance(devices, str) else devices
    if given in ("auto", "-1", -1) and not isinstance(given, list | ListConfig):
        return "auto"
    if isinstance(given, str):
        parts = [whole(part.strip()) for part in given.removesuffix(",").split(",")]
        given = parts if "," in given else parts[0]
    if type(given) is int:
        if given < 1:
            raise _refused(devices)
        return given
    if not isinstance(given, list | tuple | ListConfig):
        raise _refused(devices)
    ids = list(given)
    if not ids or not all(type(one) is int and one >= 0 for one in ids) or len(set(ids)) < len(ids):
        raise _refused(devices)
    return ids


def _refused(devices: Any) -> UserError:
    hint = " Device 0 alone is devices=[0]." if str(devices).strip() == "0" else ""
    return UserError(
        f"devices must be a count, a list of ids or auto, got {shown(devices)}.{hint} "
        "Examples: devices=2 (two), devices=[0,3] (these two), devices=[3] or '3,' (number 3)"
    )


def count_devices(cfg: DictConfig) -> int:
    """Number of devices that a node trains on.

    Raises:
        UserError: `devices` is none of what `read_devices` takes.

    >>> cfgs = [OmegaConf.create({"devices": d, "accelerator": "cpu"}) for d in (2, "1,", [0, 1])]
    >>> [count_devices(cfg) for cfg in cfgs]
    [2, 1, 2]
    """
    devices = read_devices(cfg.devices)
    if devices == "auto":
        import torch

        return 1 if on_cpu(cfg) else torch.cuda.device_count()
    return devices if isinstance(devices, int) else len(devices)


def count_processes(cfg: DictConfig) -> int:
    """Number of processes that train together: devices of a node x nodes (1 where not given)."""
    return count_devices(cfg) * (OmegaConf.select(cfg, "num_nodes") or 1)


def cores() -> int:
    """Number of cores that this process may use: SLURM and containers give it fewer than there are.

    >>> cores() >= 1
    True
    """
    import joblib

    return int(joblib.cpu_count())


def on_cpu(cfg: DictConfig) -> bool:
    """Whether the run has no CUDA device, because of its config or its machine."""
    import torch

    return cfg.accelerator == "cpu" or not torch.cuda.is_available()


def trainer_accelerator(cfg: DictConfig) -> str:
    """Spell the accelerator for Lightning's Trainer: `auto` is CUDA or else the CPU.

    Lightning's own `auto` also takes Apple's GPU. It has no float64, and nobody has tried it yet.

    Raises:
        UserError: `accelerator=mps` with telemetry, which computes in float64.
    """
    if cfg.accelerator == "mps" and cfg.telemetry.every_n_epochs:
        raise UserError(
            "accelerator=mps: Apple's GPU has no float64, which telemetry computes in. Turn it off "
            "by telemetry.every_n_epochs=0, or leave accelerator out and train on the CPU"
        )
    return "cpu" if cfg.accelerator == "auto" and on_cpu(cfg) else str(cfg.accelerator)


def trainer_devices(cfg: DictConfig) -> int | list[int]:
    """Spell the devices for Lightning's Trainer, so that it takes as many as `count_devices`.

    Raises:
        UserError: more processes on a CPU than it has cores, and more than `LEAST_CORES`.
    """
    devices = read_devices(cfg.devices)
    count = count_devices(cfg)
    if on_cpu(cfg) and count > (most := max(LEAST_CORES, cores())):
        raise UserError(
            f"devices={shown(cfg.devices)} would start {count} processes on the CPU: this machine "
            f"takes {most} at most"
        )
    # Lightning's CPU accelerator takes a count, never ids
    return count if on_cpu(cfg) or not isinstance(devices, list) else devices


def device_of(cfg: Any) -> torch.device:
    """Return the device on which a config's run is evaluated: the first that it trains on.

    It is the CPU where `accelerator=cpu` or there is no CUDA device. Of a list of `devices` the
    first one counts; a machine with fewer GPUs than the run was trained on uses its first.

    Args:
        cfg: reads `accelerator` and `devices`.

    >>> device_of(OmegaConf.create({"accelerator": "cpu", "devices": [0, 1]}))
    device(type='cpu')
    """
    import torch

    accelerator = setting(cfg, "accelerator", "auto")
    if accelerator not in ("auto", "gpu", "cuda") or not torch.cuda.is_available():
        return torch.device("cpu")
    devices = read_devices(setting(cfg, "devices", 1))
    first = devices[0] if isinstance(devices, list) else 0
    return torch.device("cuda", first if first < torch.cuda.device_count() else 0)
