"""How much sound the program holds for all visitors together: a page for many must not outgrow its machine."""

from __future__ import annotations

import threading
import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray

from . import limits


class Account:
    """Seconds of sound that are in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held = 0.0
        self._released: deque[float] = deque()  # its threads may hold the lock when they drop a sound

    def hold(self, waveform: NDArray[np.float32], seconds: float) -> bool:
        """Count a sound of so many s for as long as anything refers to it; False if it would be too much."""
        with self._lock:
            while self._released:
                self._held -= self._released.popleft()
            if self._held + seconds > limits.ALL_SOUND_SECONDS:
                return False
            self._held += seconds
        weakref.finalize(waveform, self._released.append, seconds).atexit = False
        return True


ACCOUNT = Account()
"""Of this program."""
