"""Temperature and calibration error against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from autodistill.teacher.calibration import BINS, COOLEST, calibrate, calibration_error, fit_temperature, log_likelihood


def two_classes(confidences: list[float], right: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Logits that give the first class these probabilities, and labels that agree where they should."""
    shares = np.array(confidences)
    logits = np.stack([np.log(shares), np.log1p(-shares)], axis=1)
    return logits, np.where(right, 0, 1)


def test_the_error_is_the_mean_gap_of_the_bins() -> None:
    # Bins of a fifteenth: 0.62 and 0.65 lie in (0.600, 0.667], 0.92 in (0.867, 0.933], 0.99 in the last.
    logits, labels = two_classes([0.62, 0.65, 0.92, 0.99], [True, False, True, False])
    wanted = (abs(0.62 + 0.65 - 1) + abs(0.92 - 1) + abs(0.99 - 0)) / 4
    assert calibration_error(logits, labels) == pytest.approx(wanted)


def test_gaps_of_one_bin_cancel_and_of_two_do_not() -> None:
    logits, labels = two_classes([0.75] * 4, [True, True, True, False])
    assert calibration_error(logits, labels) == pytest.approx(0.0, abs=1e-12)
    logits, labels = two_classes([0.7, 0.8], [True, False])  # one bin each
    assert calibration_error(logits, labels) == pytest.approx((0.3 + 0.8) / 2)


def test_the_edges_of_the_bins_are_in() -> None:
    assert calibration_error(np.array([[0.0, 1000.0]]), np.array([1])) == 0.0  # a confidence of 1
    assert calibration_error(np.zeros((1, BINS)), np.array([0])) == pytest.approx(1 - 1 / BINS)  # one of 1/15, the first bin's edge


def test_the_temperature_undoes_a_factor() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(20_000, 4)) * 2
    shares = np.exp(log_softmax(true, axis=1)).cumsum(axis=1)
    labels = (rng.random((len(true), 1)) > shares).sum(axis=1)
    assert fit_temperature(true, labels) == pytest.approx(1.0, rel=0.03)
    for factor in (0.4, 3.0):
        assert fit_temperature(true * factor, labels) == pytest.approx(factor * fit_temperature(true, labels), rel=1e-3)
    calibration = calibrate(true * 3, labels)
    assert calibration.error < 0.01 < calibration.error_before
    assert calibration.error == pytest.approx(calibration_error(true * 3 / calibration.temperature, labels))


def test_no_other_temperature_is_likelier() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 200)
    logits = rng.normal(size=(200, 3)) * 4 + 3 * np.eye(3)[labels]
    fitted = fit_temperature(logits, labels)
    likelihoods = [log_likelihood(logits / temperature, labels) for temperature in np.geomspace(0.2, 20, 400)]
    assert log_likelihood(logits / fitted, labels) >= max(likelihoods) - 1e-6


def test_rows_that_are_all_right_leave_it_finite() -> None:
    logits = np.eye(3) * 2
    assert fit_temperature(logits, np.arange(3)) == pytest.approx(COOLEST, rel=1e-3)
