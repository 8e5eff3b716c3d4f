"""Losses whose temperature is a function of each pair's similarity.

Every loss is a pure function. The modules hold its settings and the state of its temperature.
"""

from solo_dyntemp.losses.clip import DynTempCLIPLoss
from solo_dyntemp.losses.decoupled import DynTempDCL, dyntemp_dcl
from solo_dyntemp.losses.infonce import DynTempInfoNCE, dyntemp_infonce, dyntemp_ntxent
from solo_dyntemp.losses.ntxent import DynTempNTXentLoss
from solo_dyntemp.losses.paired import DynTempPairedInfoNCE, dyntemp_paired
from solo_dyntemp.losses.queue import DynTempQueueInfoNCE, dyntemp_infonce_queue
from solo_dyntemp.losses.supervised import DynTempSupConLoss, dyntemp_supcon

__all__ = [
    "DynTempCLIPLoss",
    "DynTempDCL",
    "DynTempInfoNCE",
    "DynTempNTXentLoss",
    "DynTempPairedInfoNCE",
    "DynTempQueueInfoNCE",
    "DynTempSupConLoss",
    "dyntemp_dcl",
    "dyntemp_infonce",
    "dyntemp_infonce_queue",
    "dyntemp_ntxent",
    "dyntemp_paired",
    "dyntemp_supcon",
]
