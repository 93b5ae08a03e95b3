"""How much one visitor, and all of them together, may use: a page for many must not be filled by one."""

from __future__ import annotations

import threading
import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray

CLIP_SECONDS = 15.0  # the longest clip, in s: an utterance takes a few; what is longer holds more than one emotion
CLIP_BYTES = 8 * 2**20  # the largest file of a clip: CLIP_SECONDS of 96 kHz stereo at 16 bits are 5.5 MiB
CLIPS_AT_ONCE = 60  # files of one drop
CLIPS = 30  # of one emotion
LABELS = 12  # emotions, or speakers, of one session
SOUND_SECONDS = 600.0  # of all clips that are enrolled, in s: 37 MiB of samples. Undo may hold as much again
VISITORS = 200  # sessions that are kept at the same time; beyond that the longest unused one goes
ALL_SOUND_SECONDS = 12 * 3600.0
"""Of all visitors together, in s: enrolled, held for undo and recognised. 2.6 GiB of samples."""
UNDO_STEPS = 10
RECOGNISED = 30  # recognised clips that are kept for the map
LABEL_CHARACTERS = 40
PROFILE_CHARACTERS = 30  # base 32 of four bytes each still is a legal name of a file
PROFILES = 100  # of one user of a store
ENROLLMENT_BYTES = 64 * 2**20  # the largest enrolment file: it holds its model too
HEADER_BYTES = 4 * 2**20
"""Of an enrolment file, the part that names classes and clips: LABELS x CLIPS of the longest names are 1.4 MiB."""
FRAMES_A_SECOND = 100
"""Of the densest front-end, the log-mel; no clip in a file is longer than CLIP_SECONDS at this rate."""
MICROPHONE_HERTZ = (8_000, 192_000)  # from the telephone to the fastest sound card
STREAMS = 4  # microphones that are recognised live at the same time; more wait for their turn
STREAM_SECONDS = 600
"""After which a microphone must be started again, so that a forgotten one does not keep others waiting."""
PREDICTIONS = 2  # of programs, answered at the same time: one a core of a small machine
UPLOAD_SECONDS = 600  # after which uploaded and saved files are deleted; sound itself is kept in memory only
SESSION_SECONDS = 2 * 3600
"""How long a visitor who does nothing keeps his enrolment; gradio drops that of a closed page after an hour."""


class SoundMemory:
    """Counts the seconds of sound of all visitors that are in memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._released: deque[float] = deque()  # a finalizer may run in the thread that holds the lock

    def reserve(self, waveform: NDArray[np.float32], seconds: float) -> bool:
        """Count so many s for as long as the waveform is referred to; False, and not counted, if it is too much."""
        with self._lock:
            while self._released:
                self._seconds -= self._released.popleft()
            if self._seconds + seconds > ALL_SOUND_SECONDS:
                return False
            self._seconds += seconds
        weakref.finalize(waveform, self._released.append, seconds).atexit = False
        return True


SOUND_MEMORY = SoundMemory()  # of this program
