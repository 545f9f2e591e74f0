import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torchmetrics import functional as reference

from resnet_lib.records.scores import CALIBRATION_BINS, calibration_error, confusion
from resnet_lib.training.metrics import RunningTotals, evaluate_logits


@pytest.fixture(scope="module", params=[(1000, 10, 3.0), (37, 4, 0.5), (500, 10, 40.0), (1, 10, 1.0)], ids=str)
def case(request):
    """Logits of some strength (40: nearly every confidence is 1), labels that agree with half of them."""
    count, classes, strength = request.param
    generator = torch.Generator().manual_seed(count)
    logits = strength * torch.randn(count, classes, generator=generator)
    labels = torch.randint(0, classes, (count,), generator=generator)
    labels[::2] = logits[::2].argmax(1)
    return logits, labels


def test_evaluation_against_torchmetrics(case):
    logits, labels = case
    task = {"task": "multiclass", "num_classes": logits.shape[1]}
    evaluation = evaluate_logits(logits, labels)
    assert evaluation.loss == pytest.approx(F.cross_entropy(logits.double(), labels).item(), rel=1e-5)
    assert evaluation.accuracy == pytest.approx(reference.accuracy(logits, labels, **task).item())
    expected = reference.confusion_matrix(logits, labels, **task)
    assert evaluation.confusion.tolist() == expected.tolist()
    per_class = reference.accuracy(logits, labels, average="none", **task)
    assert evaluation.per_class_accuracy == pytest.approx(per_class.tolist())
    ece = reference.calibration_error(logits.softmax(1), labels, n_bins=CALIBRATION_BINS, norm="l1", **task)
    assert evaluation.ece == pytest.approx(ece.item(), abs=1e-5)


def test_predictions_are_the_softmaxs(case):
    logits, labels = case
    evaluation = evaluate_logits(logits, labels)
    confidence, predicted = logits.double().softmax(1).max(1)
    assert evaluation.predicted.tolist() == predicted.tolist()
    np.testing.assert_allclose(evaluation.confidence, confidence, atol=5e-4)  # float16
    dtypes = (evaluation.predicted.dtype, evaluation.confidence.dtype, evaluation.labels.dtype)
    assert dtypes == (np.uint8, np.float16, np.int64)


def test_half_precision_logits_are_evaluated_in_float32(case):
    logits, labels = case
    half = evaluate_logits(logits.bfloat16(), labels)
    assert half.loss == evaluate_logits(logits.bfloat16().float(), labels).loss


@pytest.mark.parametrize("batch_size", [1, 64, 300])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_running_totals_are_the_means_over_all_images(batch_size, smoothing):
    logits, labels = torch.randn(300, 10), torch.randint(0, 10, (300,))
    totals = RunningTotals(torch.device("cpu"))
    for part, wanted in zip(logits.split(batch_size), labels.split(batch_size), strict=True):
        totals.add(F.cross_entropy(part, wanted, label_smoothing=smoothing), part, wanted)
    loss, accuracy = totals.read()
    assert totals.count == 300
    assert loss == pytest.approx(F.cross_entropy(logits.double(), labels, label_smoothing=smoothing).item(), rel=1e-6)
    assert accuracy == (logits.argmax(1) == labels).double().mean().item()


def test_running_totals_do_not_hold_the_graph():
    totals = RunningTotals(torch.device("cpu"))
    logits = torch.randn(4, 3, requires_grad=True)
    totals.add(F.cross_entropy(logits, torch.zeros(4, dtype=torch.int64)), logits, torch.zeros(4, dtype=torch.int64))
    assert not totals.loss.requires_grad


def test_confusion_has_the_true_class_in_rows():
    matrix = confusion(np.array([0, 0, 2]), np.array([1, 1, 2], np.uint8), 3)
    assert matrix.tolist() == [[0, 2, 0], [0, 0, 0], [0, 0, 1]]


@pytest.mark.filterwarnings("error")
def test_a_net_that_broke_has_no_calibration_but_an_evaluation():
    evaluation = evaluate_logits(torch.full((3, 10), torch.nan), torch.arange(3))
    assert np.isnan([evaluation.loss, evaluation.ece]).all()


def test_a_class_without_images_has_accuracy_zero_not_nan():
    evaluation = evaluate_logits(torch.eye(3)[:2], torch.tensor([0, 1]))
    assert evaluation.per_class_accuracy == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("confidence", "correct", "expected"),
    [
        ([1.0, 1.0, 1.0, 1.0], [1, 1, 1, 1], 0.0),
        ([1.0, 1.0], [0, 0], 1.0),
        ([0.5, 0.5, 0.9, 0.9], [1, 0, 1, 1], 0.05),  # calibrated in one bin, 0.1 too modest in another
        ([0.8, 0.6], [1, 0], (0.2 + 0.6) / 2),  # opposite errors in two bins do not cancel
        ([0.0], [0], 0.0),  # the lowest confidence belongs to the first bin
    ],
)
def test_calibration_error_by_hand(confidence, correct, expected):
    assert calibration_error(np.array(confidence), np.array(correct, bool)) == pytest.approx(expected)
