"""What a visitor of the page waits for, and how much one and all of them may bring."""

from __future__ import annotations

from _tables._text import RESULTS, milliseconds, read, table
from app import limits
from ser_fewshot.audio import SAMPLE_RATE

_SAMPLE_BYTES = 4  # float32


def demo_speed() -> str:
    result = read(RESULTS / "demo.json")
    load, live, first, machine = (result[part] for part in ("load", "live", "first_answer", "machine"))
    memory = load["memory_mib"]
    rows = [
        [
            f"{load['asked']} predictions asked by {load['clients']} clients at once, through `gradio_client`",
            f"{load['asked'] - load['answered']} lost, {load['wrong']} unlike the library's; median "
            f"{load['median_s']:.2f} s, 95th percentile {load['p95_s']:.2f} s, {load['per_second']:.1f} a second",
        ],
        [
            f"{load['more']:,} more",
            f"{load['more_wrong']} unlike the library's; resident memory {memory[0]:.0f} MiB before, "
            f"{memory[-1]:.0f} MiB after, {max(memory):.0f} MiB at its highest",
        ],
        [
            f"live, {live['answers']} windows, from the end of a window to its answer on the page",
            f"median {milliseconds(live['median_s'])}, 95th percentile {milliseconds(live['p95_s'])}, largest "
            f"{milliseconds(live['largest_s'])}",
        ],
        ["from opening the page to the first recognition with the example set", f"{first['seconds']:.0f} s"],
    ]
    how = (
        f"\nThe first recognition is timed with a scripted visitor in Chromium who reads all that stands there, "
        f"{first['words_a_minute']} words a minute, and takes {first['seconds_to_aim_at_a_button']:g} s to aim at a "
        f"button: {first['of_these_reading_and_aiming']:.0f} s of it are reading and aiming. Live latencies count from "
        f"when the button was pressed; the microphone starts a little later, so they are that much too long. Machine: "
        f"{machine['cpus']} CPU cores, {machine['processor']}, torch {machine['torch']}; its load average before was "
        f"{machine['load_before']:.1f}.\n"
    )
    return table(["what", "measured"], rows) + how


def demo_limits() -> str:
    alone = 2 * limits.SOUND_SECONDS + limits.RECOGNISED * limits.CLIP_SECONDS
    rows = [
        ["a clip", f"{limits.CLIP_SECONDS:g} s, {limits.CLIP_BYTES // 2**20} MiB"],
        ["an emotion, a session", f"{limits.CLIPS} clips, {limits.LABELS} emotions"],
        ["sound enrolled in a session", f"{limits.SOUND_SECONDS / 60:g} min, and as much again for undo"],
        ["clips recognised that a session keeps", f"{limits.RECOGNISED}"],
        ["an enrolment file", f"{limits.ENROLLMENT_BYTES // 2**20} MiB"],
        ["profiles of a user", f"{limits.PROFILES}"],
        ["sessions", f"{limits.VISITORS}; beyond that the one that was not used for longest is dropped"],
        ["sound of all sessions", f"{limits.ALL_SOUND_SECONDS / 3600:g} h: {_memory(limits.ALL_SOUND_SECONDS)}"],
    ]
    worst = (
        f"\nThe worst case of one session is {alone / 60:g} min of sound, {_memory(alone)}; of {limits.VISITORS} "
        f"it would be {_memory(alone * limits.VISITORS)}, which is why all of them together are held to the last "
        "line. The model, and what is learned of the clips at each step of undo, come on top.\n"
    )
    return table(["of", "at most"], rows) + worst


def _memory(seconds: float) -> str:
    mebibytes = seconds * SAMPLE_RATE * _SAMPLE_BYTES / 2**20
    return f"{mebibytes / 2**10:.1f} GiB" if mebibytes >= 2**10 else f"{mebibytes:.0f} MiB"
