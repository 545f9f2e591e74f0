"""What predictions are worth, computed from arrays alone: for a result, for its verification, for figures of it."""

from __future__ import annotations

import numpy as np

CALIBRATION_BINS = 15  # as in Guo et al. 2017 (arXiv 1706.04599), section 4


def calibration_bins(confidence: np.ndarray) -> np.ndarray:
    """The bin of each confidence [N], of CALIBRATION_BINS of equal width."""
    bins = np.ceil(np.nan_to_num(confidence.astype(np.float64)) * CALIBRATION_BINS).astype(int) - 1
    return np.clip(bins, 0, CALIBRATION_BINS - 1)


def confusion(labels: np.ndarray, predicted: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts [C, C]: row the true class, column the predicted one."""
    index = labels.astype(np.int64) * num_classes + predicted
    return np.bincount(index, minlength=num_classes**2).reshape(num_classes, num_classes)


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error: |accuracy - confidence| averaged over equal-width bins of confidence [N],
    weighted by their size (Guo et al. 2017, eq. 3)."""
    confidence = confidence.astype(np.float64)
    gap = np.bincount(calibration_bins(confidence), weights=correct - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gap).sum() / len(confidence))
