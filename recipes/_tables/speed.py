"""How fast the library is, against named references."""

from __future__ import annotations

from collections.abc import Mapping

from _tables._text import RESULTS, milliseconds, read, table


def speed() -> str:
    result = read(RESULTS / "speed.json")
    logmel, episodes, classifier = result["logmel"], result["episodes"], result["classifier"]
    rows = [
        [
            "log-mel against `librosa.feature.melspectrogram`, same clips and settings",
            f"{logmel['times_as_fast_as_librosa']:.1f} times as fast (slowest round {logmel['slowest_round']:.1f}); "
            f"largest relative difference {logmel['largest_relative_difference']:.1e}",
        ],
        ["1,000 Prototypical episodes, 5-way 5-shot, 15 queries, cached", f"{episodes['seconds']:.2f} s"],
        [
            "enrolling 4 emotions from 5 clips of 3 s, first call after loading",
            milliseconds(classifier["seconds_to_enrol_first_time"]),
        ],
        ["the same, median of later calls", milliseconds(classifier["seconds_to_enrol"])],
        ["recognising one clip of 3 s, median", milliseconds(classifier["seconds_to_predict"])],
        ["loading the default model", milliseconds(classifier["seconds_to_load"])],
    ]
    return table(["what", f"measured on {result['machine']['cpus']} CPU cores"], rows)


def busy() -> str:
    result = read(RESULTS / "busy.json")
    cores, load = result["machine"]["cpus"], result["machine"]["load_before"]
    places = {"as_it_was": f"as it was, load {load:.0f}", "busy": f"beside {cores} more processes that never rest"}
    rows = [
        [where, *(f"{milliseconds(one['median_s'])}, {milliseconds(one['p95_s'])}" for one in result[place])]
        for place, where in places.items()
    ]
    head = [f"{one['threads']} thread{'s' if one['threads'] > 1 else ''}: median, 95 %" for one in result["busy"]]
    return table([f"recognising a clip of {result['seconds_of_sound']:.1f} s on {cores} cores", *head], rows)


def startup() -> str:
    result = read(RESULTS / "startup.json")
    seconds, memory = result["seconds"], result["mebibytes"]
    rows = [
        [name, f"{seconds[key]:.2f} s", f"{memory[key]:.0f} MiB"]
        for name, key in (("`ser-fewshot predict FILE CLIP`", "predict"), ('`python -c "import torch"`', "torch"))
    ]
    rows.append(["times as much", f"{seconds['ratio']:.2f}", f"{memory['ratio']:.2f}"])
    return table([f"median of {result['rounds']} processes each, in turn", "processor time", "most memory"], rows)


def learner_speed() -> str:
    result = read(RESULTS / "learners_speed.json")
    conv4, head, default, memory = (result[key] for key in ("maml_conv4", "head", "maml_default", "memory"))
    rows = [
        *(
            [f"second-order MAML on Conv-4, {words}, against a loop over tasks", _times(conv4[way]), _float(conv4[way])]
            for way, words in (("same_layers", "the same layers"), ("fused_layers", "layers fused"))
        ),
        [f"a head on cached embeddings, {head['tasks']} tasks at once, against a loop", _times(head), _float(head)],
        ["MAML as it comes, tasks side by side against one after the other", _times(default), _float(default)],
    ]
    return (
        table(["a meta-training step", "times as fast", "relative difference of the gradients"], rows)
        + f"\nResident memory over {memory['steps']} steps of the second row: {memory['after_warm_up']:.0f} MB after "
        f"the warm-up, {memory['at_the_end']:.0f} MB at the end, {memory['highest']:.0f} MB at its highest.\n"
    )


def frontend_speed() -> str:
    result = read(RESULTS / "frontends_speed.json")
    extraction, cache = result["extraction"], result["cache"]
    plain, modules = (
        extraction["times_as_fast_as"][key] for key in ("transformers", "transformers_modules_at_own_length")
    )
    rows = [
        ["one call of transformers a clip", f"{plain['median']:.1f} (slowest round {plain['slowest_round']:.1f})"],
        [
            "its encoder's modules on each clip at its own length",
            f"{modules['median']:.2f} (slowest round {modules['slowest_round']:.2f})",
        ],
        [
            "a second run from the cache, against the first",
            f"{cache['times_as_fast']:.0f} (slowest round {cache['slowest_round']:.0f})",
        ],
    ]
    return (
        table(
            [f"{result['corpus']['clips']} clips through {result['encoder']['name']}, against", "times as fast"], rows
        )
        + f"\nLargest difference from transformers: {extraction['largest_difference']:.1e}, at values up to "
        f"{extraction['largest_value']:.0f}.\n"
    )


def _times(result: Mapping[str, float]) -> str:
    return f"{result['times_as_fast']:.1f} (slowest round {result['slowest_round']:.1f})"


def _float(result: Mapping[str, float]) -> str:
    return f"{result['relative_difference_of_gradients']:.1e}"
