"""What the plugin adds to the registry, by name; listing it imports no torch."""

from __future__ import annotations

from solo_dyntemp.hosts.found import SOLO_METHODS, WHERE, solo_learn
from solo_dyntemp.names import DYSTRESS, TEMPERATURE_ENTRIES
from solo_registry.catalog.registry import COMMANDS, LOSSES, METHODS, TEMPERATURES

METHOD_ENTRIES = (
    ("simclr_dyntemp", "SimCLRDynTemp", "SimCLR with tau(s) of each pair", DYSTRESS),
    ("mocov2plus_dyntemp", "MoCoV2PlusDynTemp", "MoCo v2+ with tau(s)", DYSTRESS),
    ("mocov3_dyntemp", "MoCoV3DynTemp", "MoCo v3 with tau(s)", DYSTRESS),
    ("nnclr_dyntemp", "NNCLRDynTemp", "NNCLR with tau(s)", DYSTRESS),
    ("dcl_dyntemp", "DCLDynTemp", "decoupled contrastive learning with tau(s)", DYSTRESS),
    ("dclw_dyntemp", "DCLWDynTemp", "weighted DCL with tau(s)", DYSTRESS),
    ("supcon_dyntemp", "SupConDynTemp", "supervised contrastive learning with tau(s)", DYSTRESS),
    ("macl", "MACL", "SimCLR, tau follows the positives' similarity", "2207.07874"),
    ("temperature_schedule", "TemperatureSchedule", "SimCLR, tau swings in time", "2303.13664"),
    ("isogclr", "ISogCLR", "SimCLR, each image learns its own tau", "2305.11965"),
    ("dual_temperature", "DualTemperature", "SimCLR, two taus weigh each anchor", "2203.17248"),
    ("simclr_learnable", "SimCLRLearnable", "SimCLR, one trained tau as in CLIP", "2103.00020"),
)
LIGHTLY_HEADS = ("mocov3_dyntemp", "nnclr_dyntemp")
LOSS_ENTRIES = (
    ("dyntemp_infonce", "all views against all, tau(s) per pair", "2308.01140"),
    ("dyntemp_ntxent", "two views of each image, tau(s) per pair", "2002.05709"),
    ("dyntemp_infonce_queue", "a positive key and a queue, tau(s) per pair", "2308.01140"),
    ("dyntemp_dcl", "decoupled form (DCL, DCLW), tau(s) per pair", "2110.06848"),
    ("dyntemp_paired", "each a against all b (CLIP, SimCSE), tau(s) per pair", "2104.08821"),
    ("dyntemp_supcon", "labels make the positives, tau(s) per pair", "2004.11362"),
)
COMMAND_ENTRIES = (
    (
        "doctor",
        "doctor.command:run",
        "Say what of this environment works, and the command that cures what does not.",
    ),
    (
        "solo",
        "hosts.runner:run_script",
        "Run a script of a solo-learn clone with our methods: dyntemp solo main_knn.py ...",
    ),
    (
        "upstream-pr",
        "upstream.command:run",
        "Write dynamic temperature into a clone of solo-learn or lightly, as a pull request.",
    ),
)


def register() -> str:
    """Register all of it and our commands; return the package of the plugin's configs."""
    for name, cls, summary, paper in METHOD_ENTRIES:
        target = f"solo_dyntemp.hosts.native:{cls}"
        METHODS.add_lazy(
            name,
            target,
            summary=summary,
            paper=f"arXiv {paper}",
            family="temperature",
            origin="lightly modules" if name in LIGHTLY_HEADS else "",
        )
    for name, summary, paper in LOSS_ENTRIES:
        target = f"solo_dyntemp.losses:{name}"
        LOSSES.add_lazy(name, target, summary=summary, paper=f"arXiv {paper}")
    for name, cls, summary, paper in TEMPERATURE_ENTRIES:
        source = paper if " " in paper else f"arXiv {paper}" if paper else "ours"
        target = f"solo_dyntemp.temperature:{cls}"
        TEMPERATURES.add_lazy(name, target, summary=summary, paper=source)
    register_solo()
    for name, target, summary in COMMAND_ENTRIES:
        COMMANDS.add_lazy(name, f"solo_dyntemp.{target}", summary=summary)
    return "solo_dyntemp.configs"


def register_solo() -> None:
    """Register solo-learn's own methods where it is importable; nothing of it is imported.

    Summary and paper are those of the method of the same name that is written here.
    """
    found = solo_learn() is not None
    for name in SOLO_METHODS:
        if found:
            ours = METHODS.about(name)
            METHODS.add_lazy(
                f"solo/{name}",
                f"solo_dyntemp.hosts.from_solo:{name}",
                summary=ours.summary,
                paper=ours.paper,
                family="solo-learn",
                source="solo",
            )
        else:
            METHODS.add_absent(f"solo/{name}", f"is solo-learn's, which is not importable: {WHERE}")
