"""What the plugin adds to the registry, by name; listing it imports no torch."""

from __future__ import annotations

from solo_registry.registry import LOSSES, METHODS, TEMPERATURES

DYSTRESS = "arXiv 2308.01140"


def register() -> str:
    """Register methods, losses and temperatures; return the package of the plugin's configs."""
    METHODS.add_lazy(
        "simclr_dyntemp",
        "solo_dyntemp.hosts.native:SimCLRDynTemp",
        summary="SimCLR, temperature a function of each pair's similarity",
        paper=DYSTRESS,
    )
    METHODS.add_lazy(
        "mocov2plus_dyntemp",
        "solo_dyntemp.hosts.native:MoCoV2PlusDynTemp",
        summary="MoCo v2+, temperature a function of each pair's similarity",
        paper=DYSTRESS,
    )
    for name, function, summary in (
        ("dyntemp_infonce", "dyntemp_infonce", "all views against all, tau(s) per pair"),
        ("dyntemp_infonce_queue", "dyntemp_infonce_queue", "MoCo's queue form, tau(s) per pair"),
    ):
        LOSSES.add_lazy(name, f"solo_dyntemp.losses:{function}", summary=summary, paper=DYSTRESS)
    for name, cls, summary, paper in (
        ("constant", "ConstantTemperature", "one tau for every pair", "arXiv 2002.05709"),
        ("cosine", "CosineTemperature", "tau_min at s=0, tau_max at s=-1 and 1", DYSTRESS),
        (
            "shifted_cosine",
            "ShiftedCosineTemperature",
            "minimum at s=-shift-scale... plateau tau_max",
            DYSTRESS,
        ),
    ):
        TEMPERATURES.add_lazy(name, f"solo_dyntemp.temperature:{cls}", summary=summary, paper=paper)
    return "solo_dyntemp.configs"
