"""Check before the work begins that clips can give episodes of a spec; if not, name smaller ones that they can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import EpisodeSampler, EpisodeSpec
from ser_fewshot.errors import EpisodeError

_WHERE = " Tasks of a training are set as [[train.tasks]] in the file of --config."
_WAYS = 8  # numbers of ways that are tried, one by one; below them, halves


def feasible_sampler(
    utterances: Sequence[Utterance], spec: EpisodeSpec, *, seed: int = 0, part: str = ""
) -> EpisodeSampler:
    """Return an `EpisodeSampler`; the error begins with `part`, such as "meta-validation".

    Raises:
        EpisodeError: no such episode can be drawn; the error names the nearest smaller one that can.
    """
    try:
        return EpisodeSampler(utterances, spec, seed=seed)
    except EpisodeError as error:
        n_speakers = len({clip.speaker_key for clip in utterances} - {None})
        raise EpisodeError(
            f"{part}, {error.subject}" if part else error.subject,
            found=f"{n_speakers} speaker{'s' * (n_speakers != 1)} in it, with {error.found}" if part else error.found,
            expected=error.expected,
            remedy=(_possible(utterances, spec) or error.remedy) + _WHERE * bool(part),
        ) from error


def _possible(utterances: Sequence[Utterance], spec: EpisodeSpec) -> str | None:
    for smaller in _smaller(spec):
        try:
            EpisodeSampler(utterances, smaller)
        except EpisodeError:
            continue
        return (
            f"Possible with these clips: n_way {smaller.n_way}, k_shot {smaller.k_shot}, n_query {smaller.n_query}; "
            "or add clips or speakers."
        )
    return None


def _smaller(spec: EpisodeSpec) -> Iterator[EpisodeSpec]:
    """Yield smaller episodes of the same kind: as many ways as can be, then as many clips."""
    halves = [spec.n_way // 2**n for n in range(1, spec.n_way.bit_length())]
    ways = sorted({*range(spec.n_way, max(spec.n_way - _WAYS, 1), -1), *halves} - {0, 1}, reverse=True)
    k, q = spec.k_shot, spec.n_query
    halved = [(max(k >> n, 1), max(q >> n, 1)) for n in range(max(k, q).bit_length())]
    for n_way in ways:
        for k_shot, n_query in dict.fromkeys([halved[0], (k, max(q // 2, 1)), *halved[1:]]):
            yield replace(spec, n_way=n_way, k_shot=k_shot, n_query=n_query)
