"""What does the split alone do to a number? One classifier, four ways of parting the same corpus.

- conventional: 80 % of the clips of every class to learn from, 20 % to be tested on; speakers stand on both sides;
- the same shares of speakers instead of clips, so that nobody is heard on both sides;
- episodes: all classes of the corpus, 5 clips or 1 of each to learn from, speakers of support and query disjoint.

The classifier is ridge regression on fixed statistics, whose scale the other corpora taught; nothing else is trained,
so that the rows differ in nothing but the split.

    uv run python recipes/split_protocols.py --corpora ../shared/corpora
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

from ser_fewshot import corpora
from ser_fewshot._files import write_atomically
from ser_fewshot.checkpoints import ModelConfig, build_model
from ser_fewshot.corpora import Utterance
from ser_fewshot.episodes import Episode, EpisodeSampler, EpisodeSpec
from ser_fewshot.evaluation import evaluate
from ser_fewshot.frontends import FeatureCache, FeatureSet, default_directory, extract
from ser_fewshot.learners import Learner
from ser_fewshot.splits import Parts, split_by_corpus, split_by_speaker, split_every_class

Clips = Sequence[Utterance]

RESULTS = Path(__file__).parent / "results" / "split_protocols.json"
TEST_FRACTION = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=Path, required=True, help="folder with one folder a corpus, named as it")
    parser.add_argument("--splits", type=int, default=20, help="draws of each 80/20 split")
    parser.add_argument("--episodes", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    utterances = [clip for scan in corpora.scan_all(arguments.corpora) for clip in scan.utterances]
    frontend = build_model(ModelConfig(learner="ridge")).frontend
    features = extract(frontend, utterances, cache=FeatureCache(default_directory(), frontend.identity))
    result: dict[str, Any] = {
        "command": f"uv run python recipes/split_protocols.py --corpora DIR --splits {arguments.splits}"
        f" --episodes {arguments.episodes} --seed {arguments.seed}",
        "corpora": {},
    }
    for name in sorted({clip.corpus for clip in features.utterances}):
        rest, own = split_by_corpus(features.utterances, [name])
        learner = build_model(ModelConfig(learner="ridge", settings={"encoder": {"name": "statistics"}})).learner
        learner.fit_scale(features.subset(rest[::8]).batch(range(len(rest[::8]))))
        result["corpora"][name] = dict(rows(learner, features.subset(own), arguments))
        write_atomically(RESULTS, json.dumps(result, indent=1) + "\n")


def rows(
    learner: Learner, corpus: FeatureSet, arguments: argparse.Namespace
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the score of each way of parting a corpus."""
    classes = sorted({clip.emotion for clip in corpus.utterances if clip.emotion is not None})
    clips = [clip for clip in corpus.utterances if clip.emotion is not None]

    def scored(episodes: Sequence[Episode]) -> dict[str, object]:
        return score(learner, corpus, episodes)

    def every_class(seed: int) -> Parts:
        return split_every_class(clips, test_fraction=TEST_FRACTION, seed=seed)

    def by_speaker(seed: int) -> Parts:
        return split_by_speaker(clips, test_fraction=TEST_FRACTION, seed=seed)

    for name, split in (("80/20 of every class", every_class), ("80/20 of the speakers", by_speaker)):
        parts = map(split, count(arguments.seed))
        whole = (part for part in parts if all(missing_none(side, classes) for side in part))
        yield name, scored([once(part, index) for index, part in enumerate(islice(whole, arguments.splits))])
    for k_shot in (5, 1):
        spec = EpisodeSpec(n_way=len(classes), k_shot=k_shot, n_query=5)
        episodes = EpisodeSampler(clips, spec, seed=arguments.seed).draw_many(arguments.episodes)
        yield f"{k_shot}-shot episodes, speakers disjoint", scored(episodes)


def missing_none(clips: Clips, classes: Sequence[str]) -> bool:
    """Tell whether every class occurs: in one corpus most speakers have one emotion, so a draw may lack another."""
    return {clip.emotion for clip in clips} >= set(classes)


def once(parts: Parts, index: int) -> Episode:
    """Return an 80/20 split as what it is: one very large episode."""
    classes = tuple(sorted({clip.emotion for clip in parts[0] if clip.emotion is not None}))
    support, query = (
        tuple(tuple(clip.id for clip in part if clip.emotion == label) for label in classes) for part in parts
    )
    return Episode(index, classes, support, query)


def score(learner: Learner, corpus: FeatureSet, episodes: Sequence[Episode]) -> dict[str, object]:
    """Score a learner on episodes of any size."""
    n_way = len(episodes[0].classes)
    spec = EpisodeSpec(n_way=n_way, query_speaker="any")  # only the number of classes is looked at
    found = evaluate(learner, corpus, episodes, spec=spec).as_dict()
    kept = {key: found[key] for key in ("episodes", "episodes_sha256", "chance", "uar", "accuracy", "recall")}
    return {**kept, "n_way": n_way, "clips": round(sum(map(len, episodes[0].support)) / n_way, 1)}


if __name__ == "__main__":
    main()
