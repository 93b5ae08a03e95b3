"""Episodes: small N-way K-shot tasks, drawn so that no query clip, and by default no query speaker, is in the support.

An episode depends on (seed, index) and the set of clips alone, so any worker draws the same one. Episodic training is
from Vinyals et al., "Matching networks for one shot learning", 2016, https://arxiv.org/abs/1606.04080; that speakers of
support and query differ is ours, as speech needs it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np

from ser_fewshot.corpora import Utterance, checked_utterances
from ser_fewshot.episodes.partition import Rows, Sides, codes_of, divisible, one_query_speaker, random_sides
from ser_fewshot.episodes.spec import Episode, EpisodeSpec, Ids, require_whole
from ser_fewshot.errors import EpisodeError
from ser_fewshot.settings import check_is

Pool = dict[str, Rows]  # what one episode is drawn from: the rows of each class

_CHOICES = 1000  # of classes, before no episode is believed possible
_SPLITS = 50  # of speakers and sentences, before other classes are chosen: enough where one split in ten fits
_LISTED = 5  # reasons in an error


class EpisodeSampler:
    """Draws episodes from utterances, pure in (seed, index): the order of the utterances does not matter.

    The corpus is drawn first (and its speaker, if there is to be one), then the classes, each as often as the others.

    Attributes:
        excluded: classes that can never take part, with the reason; "corpus/emotion" where corpora do not mix.

    Raises:
        EpisodeError: no episode of this kind can be drawn.
    """

    def __init__(self, utterances: Sequence[Utterance], spec: EpisodeSpec, *, seed: int = 0) -> None:
        require_whole("seed", seed, least=0)
        check_is(spec, EpisodeSpec, name="spec", remedy="Pass EpisodeSpec(n_way=4, k_shot=5).", error=EpisodeError)
        ordered = sorted(checked_utterances(utterances), key=lambda utterance: utterance.id)
        self.spec = spec
        self.seed = seed
        self.excluded: dict[str, str] = {}
        self._ids = np.array(_unique([utterance.id for utterance in ordered]), dtype=object)
        self._speakers = codes_of([utterance.speaker_key for utterance in ordered])
        self._emotions = np.array([utterance.emotion or "" for utterance in ordered], dtype=object)
        self._one_voice = bool(spec.context) or spec.support_speakers == "one"
        self._one_speaker = spec.query_speaker == "same" and spec.label == "emotion"
        self._disjoint: dict[str, Rows] = {}  # what support and query must not share, by row
        if spec.query_speaker == "disjoint":
            self._disjoint["speaker"] = self._speakers
        if spec.query_text == "different":
            self._disjoint["sentence"] = codes_of([utterance.text_key for utterance in ordered])
        self._sizes = {what: int(codes.max(initial=-1)) + 1 for what, codes in self._disjoint.items()}
        self._wanted = f"{spec.k_shot} support and {spec.n_query} query clips each"
        if spec.context_of == "neutral" and "neutral" not in set(self._emotions):
            raise self._impossible("no neutral clip", expected="neutral clips, for the context")
        self._pools = self._build(ordered)
        self.draw(0)  # what single classes allow, their combination may not

    def draw(self, index: int) -> Episode:
        """Return episode `index`, the same for the same seed and utterances.

        Raises:
            EpisodeError: the classes cannot be combined as the spec demands.
        """
        require_whole("index", index, least=0)
        rng = np.random.default_rng([self.seed, index])
        return self._draw(rng, index, {corpus: frozenset() for corpus in self._pools})

    def draw_harder(self, index: int, failed: Mapping[str, Collection[str]]) -> Episode:
        """Return an episode of classes that failed before, filled up with others of their corpus.

        Args:
            index: the same index, seed and failures give the same episode, another one than `draw` returns.
            failed: by corpus ("" where corpora mix), the classes that failed. The corpus is drawn by their number.

        Raises:
            EpisodeError: no class that may be drawn is among them, or they cannot be combined as the spec demands.
        """
        require_whole("index", index, least=0)
        known = {
            corpus: frozenset(failed.get(corpus, ())) & {label for pool in pools for label in pool}
            for corpus, pools in self._pools.items()
        }
        wanted = {corpus: labels for corpus, labels in known.items() if labels}
        if not wanted:
            raise self._impossible("none of them among the classes that failed", expected="at least one")
        return self._draw(np.random.default_rng([self.seed, index, 1]), index, wanted)

    def _draw(self, rng: np.random.Generator, index: int, wanted: Mapping[str, frozenset[str]]) -> Episode:
        """Draw one of the corpora of `wanted`, and from it classes, those that are wanted first."""
        corpora = [corpus for corpus, labels in wanted.items() for _ in range(max(len(labels), 1))]
        for _ in range(_CHOICES):
            corpus = corpora[rng.integers(len(corpora))]
            pools = self._pools[corpus]
            pool = pools[rng.integers(len(pools))]
            order: list[str] = rng.permutation(list(pool)).tolist()
            classes = sorted(order, key=lambda label: label not in wanted[corpus])[: self.spec.n_way]
            if wanted[corpus]:
                rng.shuffle(classes)
            if (clips := self._clips(rng, [pool[label] for label in classes])) is not None:
                support, query = zip(*clips, strict=True)
                return Episode(index, tuple(classes), support, query, self._context(index, support, query))
        there = " and ".join(_count(size, what) for what, size in self._sizes.items())
        found = f"no way to part {there} in {_CHOICES * _SPLITS} attempts"
        raise self._impossible(found, expected=f"{self.spec.n_way} classes that can together give {self._wanted}")

    def _context(self, index: int, support: Sequence[Ids], query: Sequence[Ids]) -> Ids:
        """Return clips of the query speaker beside support and queries; a longer context begins with a shorter one."""
        if not self.spec.context:
            return ()
        rng = np.random.default_rng([self.seed, index, 2])
        used = np.isin(self._ids, [clip for part in (*support, *query) for clip in part])
        speaker = self._speakers[self._ids == query[0][0]]
        rows = rng.permutation(np.flatnonzero((self._speakers == speaker) & ~used))
        if self.spec.context_of == "neutral":
            rows = rows[self._emotions[rows] == "neutral"]
        elif self.spec.context_of == "one" and len(rows):
            rows = rows[self._emotions[rows] == self._emotions[rows[0]]]
        return tuple(self._ids[rows[: self.spec.context]])

    def draw_many(self, n: int) -> tuple[Episode, ...]:
        """Return episodes 0 .. n - 1."""
        return tuple(self.draw(index) for index in range(n))

    def _build(self, utterances: Sequence[Utterance]) -> dict[str, list[Pool]]:
        """Return the pools of each corpus, and remember which classes are in none of them."""
        built: dict[str, list[Pool]] = {}
        most = 0
        for corpus, classes in self._by_corpus(utterances).items():
            groups = self._groups(classes)
            pools = [{label: rows for label, rows in group.items() if not self._fault(rows)} for group in groups]
            fitting = max(map(len, pools))
            pools = [pool for pool in pools if len(pool) >= self.spec.n_way]
            for label in sorted(classes.keys() - {label for pool in pools for label in pool}):
                name = f"{corpus}/{label}" if corpus and self.spec.label == "emotion" else label
                fault = self._fault(max((group[label] for group in groups), key=len))
                self.excluded[name] = fault or f"at most {fitting} such classes together, {self.spec.n_way} needed"
            built |= {corpus: pools} if pools else {}
            most = max(most, fitting)
        if not built:
            one = ("" if self.spec.mix_corpora else " of one corpus") + (" by one speaker" if self._one_speaker else "")
            reasons = "; ".join(f"{name}: {reason}" for name, reason in list(self.excluded.items())[:_LISTED])
            raise self._impossible(
                f"{most} such classes{one}, in {len(utterances)} clips ({reasons or 'none has such a label'})",
                expected=f"at least {self.spec.n_way} classes{one} that can give {self._wanted}",
            )
        return built

    def _by_corpus(self, utterances: Sequence[Utterance]) -> dict[str, Pool]:
        """Return the rows of each class of each corpus, of one corpus without a name if they may mix."""
        corpora: dict[str, dict[str, list[int]]] = {}
        for row, utterance in enumerate(utterances):
            label = utterance.label(self.spec.label)
            if label is not None:
                corpus = "" if self.spec.mix_corpora else utterance.corpus
                corpora.setdefault(corpus, {}).setdefault(label, []).append(row)
        arrays = {
            name: {label: np.array(rows) for label, rows in sorted(found.items())} for name, found in corpora.items()
        }
        return dict(sorted(arrays.items()))

    def _groups(self, classes: Pool) -> list[Pool]:
        """Return all that one episode may be drawn from: a corpus, or the clips of each of its speakers."""
        if self.spec.query_speaker != "any":
            classes = {label: rows[self._speakers[rows] >= 0] for label, rows in classes.items()}
        if not self._one_speaker:
            return [classes]
        by = self._speakers  # the speaker of each row
        speakers = np.unique(by[np.concatenate(list(classes.values()))])
        return [{label: rows[by[rows] == one] for label, rows in classes.items()} for one in speakers] or [classes]

    def _fault(self, rows: Rows) -> str | None:
        """Return why clips of a class alone cannot give its support and query; None if they can."""
        need = self.spec.k_shot + self.spec.n_query
        clips = _count(len(rows), "clip") + (" by one speaker" if self._one_speaker else "")
        if len(rows) < need:
            known = " with a known speaker" if self.spec.query_speaker == "disjoint" else ""
            return f"at most {clips}{known}, {need} needed"
        for what, codes in self._disjoint.items():
            sizes = np.unique(codes[rows][codes[rows] >= 0], return_counts=True)[1]
            if not divisible(sizes, len(rows), self.spec.k_shot, self.spec.n_query):
                return f"{clips}, whose {_count(len(sizes), what)} cannot be parted into {self._wanted}"
        return None

    def _clips(self, rng: np.random.Generator, classes: Sequence[Rows]) -> list[tuple[Ids, Ids]] | None:
        """Return support and query ids of each class; None if no split of speakers and sentences serves them all."""
        n = int(self._speakers.max(initial=-1)) + 1
        counts = np.stack([np.bincount(self._speakers[rows] + 1, minlength=n + 1)[1:] for rows in classes])
        for _ in range(_SPLITS if self._disjoint else 1):
            sides = [(codes, self._sides(rng, what, counts)) for what, codes in self._disjoint.items()]
            clips: list[tuple[Ids, Ids]] = []
            for rows in classes:
                if (picked := self._pick(rng, rows, sides)) is None:
                    break
                clips.append(picked)
            else:
                return clips
        return None

    def _sides(self, rng: np.random.Generator, what: str, counts: Rows) -> Sides:
        """Return which speakers, or sentences, may stand on each side; `counts` are the clips (n_way, n_speakers)."""
        if what != "speaker" or not self._one_voice:
            return random_sides(rng, self._sizes[what])
        spec = self.spec
        sides = one_query_speaker(
            rng, counts, k_shot=spec.k_shot, n_query=spec.n_query, one_support=spec.support_speakers == "one"
        )
        return np.zeros((2, self._sizes[what] + 1), dtype=bool) if sides is None else sides

    def _pick(
        self, rng: np.random.Generator, rows: Rows, sides: Sequence[tuple[Rows, Sides]]
    ) -> tuple[Ids, Ids] | None:
        """Return k_shot support and n_query query ids of a class, each from its side; None if there are too few."""
        may_support, may_query = may = np.ones((2, len(rows)), dtype=bool)
        for codes, side in sides:
            may &= side[:, codes[rows]]
        if np.count_nonzero(may_support) < self.spec.k_shot or np.count_nonzero(may_query) < self.spec.n_query:
            return None
        chosen = rng.permutation(np.flatnonzero(may_support))[: self.spec.k_shot]
        may_query[chosen] = False
        queried = rng.permutation(np.flatnonzero(may_query))[: self.spec.n_query]
        support, query = (tuple(self._ids[rows[positions]]) for positions in (chosen, queried))
        return None if len(query) < self.spec.n_query else (support, query)

    def _impossible(self, found: str, *, expected: str) -> EpisodeError:
        remedy = "Lower n_way, k_shot or n_query, loosen query_speaker or query_text, or add clips."
        return EpisodeError(f"{self.spec}, {self.spec.n_query} queries", found=found, expected=expected, remedy=remedy)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")


def _unique(ids: list[str]) -> list[str]:
    if twice := [name for name, count in Counter(ids).items() if count > 1]:
        raise EpisodeError(
            "manifest",
            found=f"{_count(len(ids) - len(set(ids)), 'repeated id')}, such as {', '.join(twice[:_LISTED])}",
            expected="one id a clip",
            remedy="Remove the repeated rows.",
        )
    return ids
