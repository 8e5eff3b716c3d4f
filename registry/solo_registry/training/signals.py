"""Who hears Ctrl-C and SIGTERM, before training and in it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from lightning.pytorch import Callback, LightningModule, Trainer


class OwnSignals(Callback):
    """Lets signals end a process that waits for others, and brings our handlers back after that.

    A process that waits for the others of its run runs no Python, so a handler would never be
    called; by the default a signal ends it at once. Ours come back when training starts. Then
    Lightning's of SIGTERM does not stay: it broadcasts to ranks that may be waiting for this one.

    Attributes:
        training: whether training has started.
    """

    def __init__(self) -> None:
        self.training = False
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # who is deaf, as a further device's process, stays so; None is nobody's in Python
        self.own = {n: own for n, own in handlers.items() if own not in (None, signal.SIG_IGN)}

    @contextlib.contextmanager
    def at_default(self, waits: bool) -> Iterator[None]:
        """Leave the signals at their default until training starts.

        Args:
            waits: whether this process will wait for others; else nothing is changed.
        """
        changes = waits and threading.current_thread() is threading.main_thread()
        try:
            for number in self.own if changes else ():
                signal.signal(number, signal.SIG_DFL)
            yield
        finally:
            for number, own in self.own.items() if changes else ():
                if signal.getsignal(number) == signal.SIG_DFL:
                    signal.signal(number, own)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Bring ours back; where nobody was, as in a notebook, Lightning's stays."""
        self.training = True
        if threading.current_thread() is threading.main_thread():
            for number, own in self.own.items():
                if own != signal.SIG_DFL:
                    signal.signal(number, own)
