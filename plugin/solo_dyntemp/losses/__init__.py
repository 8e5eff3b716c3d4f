"""Losses whose temperature is a function of each pair's similarity.

Every loss is a pure function. The modules hold its settings and the state of its temperature.
"""

from solo_dyntemp.losses.decoupled import DynTempDCL, dyntemp_dcl
from solo_dyntemp.losses.infonce import DynTempInfoNCE, dyntemp_infonce
from solo_dyntemp.losses.paired import dyntemp_paired
from solo_dyntemp.losses.queue import DynTempQueueInfoNCE, dyntemp_infonce_queue
from solo_dyntemp.losses.supervised import dyntemp_supcon

__all__ = [
    "DynTempDCL",
    "DynTempInfoNCE",
    "DynTempQueueInfoNCE",
    "dyntemp_dcl",
    "dyntemp_infonce",
    "dyntemp_infonce_queue",
    "dyntemp_paired",
    "dyntemp_supcon",
]
