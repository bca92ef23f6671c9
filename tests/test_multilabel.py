"""Several labels per row: the target against closed forms and scikit-learn, its thresholds against a search of all of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, log_loss

from autodistill.errors import UsageError
from autodistill.features.linear import STRENGTHS, logistic_regressions_of_labels
from autodistill.recipe import Recipe
from autodistill.space import Space
from autodistill.target import Labels, Scaling
from autodistill.target.thresholds import OWN, best_thresholds, decided_apart

NAMES = ("sea", "sun", "wood")
FIXED = Labels(NAMES, (0.3, 0.5, 0.8))
LOGITS = np.array([[2.0, -1.0, 0.5], [-3.0, 0.2, 1.5], [-0.5, -0.1, 3.0], [0.1, 2.5, -2.0]])
LABELS = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1], [0, 0, 0]], dtype=np.int8)


def drawn(rows: int, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that say something of random labels."""
    rng = np.random.default_rng(seed)
    truth = (rng.random((rows, labels)) < rng.uniform(0.2, 0.5, labels)).astype(np.int8)
    return rng.normal(size=(rows, labels)) + 1.5 * truth - 1.0, truth


def test_labels_are_learned_by_binary_cross_entropy() -> None:
    learned = FIXED.to_learn(LABELS, FIXED.scaling(LABELS))
    assert FIXED.scaling(LABELS) == Scaling()
    each = [log_loss(LABELS[:, place], expit(LOGITS[:, place]), labels=[0, 1]) for place in range(3)]
    assert FIXED.loss(torch.tensor(LOGITS), learned).item() == pytest.approx(sum(each), rel=1e-6)
    wanted, shares, weights = LABELS * 0.8 + 0.1, expit(LOGITS), np.array([2.0, 1.0, 0.5])
    expected = -(weights * wanted * np.log(shares) + (1 - wanted) * np.log(1 - shares)).sum(axis=1).mean()
    found = FIXED.loss(torch.tensor(LOGITS), learned, label_smoothing=0.2, class_weights=torch.tensor(weights).float())
    assert found.item() == pytest.approx(expected, rel=1e-6)


def test_rows_that_are_not_labelled_count_for_nothing() -> None:
    learned = FIXED.to_learn(np.concatenate([LABELS, FIXED.no_labels(2)]), Scaling())
    logits, labelled = torch.randn(6, 3), torch.tensor([True] * 4 + [False] * 2)
    assert FIXED.loss_of_labelled(logits, learned, labelled).item() == FIXED.loss(logits[:4], learned[:4]).item()


def test_rows_that_are_mixed_have_mixed_labels() -> None:
    logits, labels, partners = torch.tensor(LOGITS), torch.tensor(LABELS).float(), torch.tensor(LABELS[::-1].copy()).float()
    assert FIXED.mixed_loss(logits, labels, partners, 0.7).item() == pytest.approx(FIXED.loss(logits, 0.7 * labels + 0.3 * partners).item())


def test_balanced_labels_count_alike_where_a_row_has_them_or_not() -> None:
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]], dtype=np.int8)
    np.testing.assert_allclose(FIXED.balanced_weights(labels), [3.0, 1.0, 1.0])


def test_metrics_are_those_of_scikit_learn() -> None:
    logits, truth = drawn(60, 3)
    decided = expit(logits) > np.array(FIXED.thresholds)
    references: dict[str, float] = {
        "micro_f1": f1_score(truth, decided, average="micro"),
        "macro_f1": f1_score(truth, decided, average="macro"),
        "average_precision": average_precision_score(truth, logits, average="macro"),
        "subset_accuracy": accuracy_score(truth, decided),
    }
    assert tuple(references) == Labels.metrics
    for metric, expected in references.items():
        found = FIXED.evaluate(metric, logits, truth)
        assert found[metric] == pytest.approx(expected)
        assert found["macro_f1"] == pytest.approx(references["macro_f1"])
    absent = truth * [1, 1, 0]  # a label that no row has says nothing of the ranking
    two = average_precision_score(truth[:, :2], logits[:, :2], average="macro")
    assert FIXED.evaluate("average_precision", logits, absent)["average_precision"] == pytest.approx(two)
    assert all(math.isnan(score) for score in FIXED.evaluate("micro_f1", logits * np.nan, truth).values())


SCORED: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "micro_f1": lambda truth, decided: f1_score(truth, decided, average="micro", zero_division=0.0),
    "macro_f1": lambda truth, decided: f1_score(truth, decided, average="macro", zero_division=0.0),
    "subset_accuracy": lambda truth, decided: float((truth == decided).mean()),
}


@pytest.mark.parametrize("metric", SCORED)
def test_no_other_thresholds_are_better(metric: str) -> None:
    logits, truth = drawn(36, 2, seed=3)
    shares = expit(logits)
    assert (truth.sum(axis=0) >= OWN).all()
    found = SCORED[metric](truth, shares > best_thresholds(shares, truth, metric))
    places = [[0.0, *np.sort(shares[:, label]).tolist()] for label in range(2)]
    assert found == pytest.approx(max(SCORED[metric](truth, shares > np.array(pair)) for pair in itertools.product(*places)))


def test_rare_labels_share_a_threshold_and_those_that_nobody_has_are_never_predicted() -> None:
    logits, truth = drawn(200, 4)
    truth[9:, 1:3], truth[:, 3] = 0, 0
    thresholds = best_thresholds(expit(logits), truth, "micro_f1")
    assert thresholds[1] == thresholds[2] == thresholds[3] != thresholds[0]
    nobody = best_thresholds(expit(logits), np.zeros_like(truth), "macro_f1")
    assert not (expit(logits) > nobody).any()
    assert best_thresholds(np.empty((0, 2)), np.empty((0, 2)), "micro_f1").tolist() == [0.5, 0.5]


def test_a_score_on_the_rows_that_tune_thresholds_is_no_better_for_the_tuning() -> None:
    rng = np.random.default_rng(1)
    truth, noise = (rng.random((400, 6)) < 0.1).astype(np.int8), rng.normal(size=(400, 6))
    decided = decided_apart(expit(noise), truth, "macro_f1")
    order = np.random.default_rng(0).permutation(400)
    own, other = order[::2], order[1::2]
    expected = expit(noise[own]) > best_thresholds(expit(noise[other]), truth[other], "macro_f1")
    np.testing.assert_array_equal(decided[own], expected)
    everything = expit(noise) > best_thresholds(expit(noise), truth, "macro_f1")
    judged = Labels(tuple("abcdef")).evaluate("macro_f1", noise, truth)["macro_f1"]
    assert judged == pytest.approx(f1_score(truth, decided, average="macro"))
    assert judged < f1_score(truth, everything, average="macro")


def test_tuned_thresholds_decide_and_are_shown() -> None:
    logits, truth = drawn(80, 3)
    tuned = Labels(NAMES).tuned("micro_f1", logits, truth)
    assert tuned.thresholds is not None
    np.testing.assert_array_equal(tuned.decided(logits), expit(logits) > np.array(tuned.thresholds))
    assert "0 sea (0.300), 1 sun (0.500), 2 wood (0.800)." in FIXED.logits_note


def test_predictions_are_all_labels_above_their_threshold_the_likeliest_first() -> None:
    logits = np.array([[0.0, 3.0, 1.0], [-2.0, -1.0, 9.0], [-5.0, -5.0, 0.0]])
    answers = list(FIXED.predictions(logits))
    assert [answer.answer for answer in answers] == [["sun", "sea"], ["wood"], []]
    assert answers[0].probabilities == {name: pytest.approx(share) for name, share in zip(NAMES, expit(logits[0]), strict=True)}


def test_an_ensemble_says_the_mean_probability() -> None:
    found = Labels(NAMES).averaged([torch.tensor(LOGITS), torch.tensor(LOGITS[::-1].copy())])
    np.testing.assert_allclose(expit(found.double().numpy()), (expit(LOGITS) + expit(LOGITS[::-1])) / 2, rtol=1e-5)


def test_a_temperature_for_all_labels_makes_sure_logits_less_sure() -> None:
    rng = np.random.default_rng(0)
    shares = rng.uniform(0.02, 0.98, size=(500, 4))
    truth = (rng.random(shares.shape) < shares).astype(np.int8)
    calibration = Labels(tuple("abcd")).calibrated(3 * logit(shares), truth)
    assert calibration is not None
    assert calibration.temperature == pytest.approx(3.0, rel=0.1)
    assert calibration.error < calibration.error_before / 3


def test_the_constant_answer_and_the_dataset_features() -> None:
    shares = LABELS.mean(axis=0)
    np.testing.assert_allclose(expit(Labels(NAMES).constant(LABELS)), shares)
    assert Labels(NAMES).regressed(LABELS)[1].tolist() == [-1.0, 1.0, 1.0]
    features = Labels(NAMES).features(LABELS)
    assert features["imbalance"] == pytest.approx(math.log10(2))
    assert features["majority_share"] == 0.5
    assert features["label_entropy"] == pytest.approx(1.5 * math.log(2) / math.log(3))


def test_a_row_is_drawn_by_its_rarest_label() -> None:
    labels = np.array([[1, 1, 0], [1, 0, 1], [1, 0, 0], [0, 0, 0], [1, 0, 1]], dtype=np.int8)
    assert Labels(NAMES).strata(labels).tolist() == [1, 2, 0, 3, 2]


def test_the_probe_is_a_logistic_regression_for_each_label() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(60, 4))
    labels = (features[:, :3] + rng.normal(size=(60, 3)) > 0).astype(np.float32)
    labels[:, 2] = 0.0
    for strength, (weights, biases) in zip(STRENGTHS, logistic_regressions_of_labels(features, labels), strict=True):
        reference = LogisticRegression(C=strength, max_iter=200).fit(features, labels[:, 0])
        np.testing.assert_allclose(weights[0], reference.coef_[0], atol=1e-3)
        assert expit(biases[2]) < 1e-3
        assert not weights[2].any()


@pytest.mark.parametrize(("task", "space"), [("text-multilabel", "text"), ("text-pair-multilabel", "text"), ("image-multilabel", "image")])
def test_spaces_have_what_fits_several_labels(task: str, space: str) -> None:
    opened = Space.load(space, task)
    kinds = {path: {kind for domain in domains for kind in domain.values} for path, domains in opened.parameters.items()}
    assert kinds["objective.prediction.kind"] == {"binary_kl", "binary_ce", "binary_pseudo_label", "mse", "none"}
    assert "supcon" not in kinds["objective.contrastive.kind"]
    assert kinds["training.unlabelled_choice"] == {"all", "diverse"}
    assert set(opened.baselines()) == {"no_kd", "plain_kd", "pseudo_labels", "plain_kd_all", "defaults"}
    assert isinstance(opened.with_class_weights("balanced").defaults(), Recipe)


def test_labels_as_people_give_them_become_columns() -> None:
    target = Labels.of(("a", "b", "c"))
    assert target.encoded([["b"], [], ("a", "c")]).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 1]]
    with pytest.raises(UsageError, match="a label is 'd'"):
        target.encoded([["d"]])
