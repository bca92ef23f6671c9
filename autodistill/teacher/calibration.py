"""Calibration: how a teacher's confidence compares with its accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 15
COOLEST, HOTTEST = 0.2, 20.0
"""The range of temperatures that is searched. Without a lower end, a few rows that are all correct would give 0."""


@dataclass(frozen=True)
class Calibration:
    """temperature: what to divide logits by. error, error_before: the expected calibration error with and without it."""

    temperature: float
    error: float
    error_before: float


def calibrate(logits: np.ndarray, labels: np.ndarray) -> Calibration:
    """Fit a temperature to logits (N, C) of rows with these labels (N,)."""
    temperature = fit_temperature(logits, labels)
    return Calibration(temperature, calibration_error(logits / temperature, labels), calibration_error(logits, labels))


def log_likelihood(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean log-probability of the labels. logits: (N, C); labels: (N,) class indices."""
    from scipy.special import log_softmax

    return float(log_softmax(logits.astype(np.float64), axis=1)[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number by which to divide logits (N, C) so that the labels (N,) are most likely; between 0.2 and 20.

    The negative log-likelihood is convex in 1 / temperature, so it has one minimum. Source: Guo et al. 2017, "On Calibration of
    Modern Neural Networks", section 4.2.
    """
    from scipy.optimize import minimize_scalar

    fitted = minimize_scalar(lambda inverse: -log_likelihood(logits * inverse, labels), bounds=(1 / HOTTEST, 1 / COOLEST), method="bounded")
    return float(1 / fitted.x)


def calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = BINS) -> float:
    """The expected calibration error: how far confidence and accuracy are apart, from 0 to 1.

    Rows (N, C) are sorted into `bins` equally wide bins by the probability of their likeliest class. In each bin the mean probability is
    compared with the share of correct answers. The result is the mean difference over the rows. Source: Naeini et al. 2015, "Obtaining Well
    Calibrated Probabilities Using Bayesian Binning"; with 15 bins as in Guo et al. 2017.
    """
    from scipy.special import softmax

    probabilities = softmax(logits.astype(np.float64), axis=1)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, weights=confidence - right, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))
