"""Handling of Ctrl-C and SIGTERM before and during training."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

from lightning.pytorch import Callback, LightningModule, Trainer


class OwnSignals(Callback):
    """Lets signals end a process that waits for others, and restores our handlers afterwards.

    A process that waits for the others of its run executes no Python, so Python would never call
    our handlers. With the system's default handlers a signal ends the process at once. Our handlers
    are restored when training starts. They also replace Lightning's handler of SIGTERM, which
    broadcasts to ranks that may be waiting for this one.

    Attributes:
        training: whether training has started.
    """

    def __init__(self) -> None:
        self.training = False
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        # a process that ignores signals, as that of a further device, keeps ignoring them;
        # None means a handler that Python did not install
        self.own = {n: own for n, own in handlers.items() if own not in (None, signal.SIG_IGN)}

    @contextlib.contextmanager
    def at_default(self, waits: bool) -> Iterator[None]:
        """Set the signals to the system's default until training starts.

        Args:
            waits: whether this process will wait for others; otherwise nothing is changed.
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
        """Restore our handlers; where we had none, as in a notebook, Lightning's stays."""
        self.training = True
        if threading.current_thread() is threading.main_thread():
            for number, own in self.own.items():
                if own != signal.SIG_DFL:
                    signal.signal(number, own)
