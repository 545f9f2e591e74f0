"""How confidences are put into bins: for the calibration error in a result, and for the figure of it."""

from __future__ import annotations

import numpy as np

CALIBRATION_BINS = 15  # as in Guo et al. 2017 (arXiv 1706.04599), section 4


def calibration_bins(confidence: np.ndarray) -> np.ndarray:
    """The bin of each confidence [N], of CALIBRATION_BINS of equal width."""
    bins = np.ceil(np.nan_to_num(confidence.astype(np.float64)) * CALIBRATION_BINS).astype(int) - 1
    return np.clip(bins, 0, CALIBRATION_BINS - 1)
