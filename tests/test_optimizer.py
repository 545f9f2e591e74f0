import copy

import pytest
import torch

from resnet_lib.config import Config
from resnet_lib.machine.device import Choice
from resnet_lib.models.build import build_model
from resnet_lib.training.optimizer import make_optimizer, orthogonalize, set_lr

CPU = Choice(device="cpu", threads=1, channels_last=True)
CONFIG = Config(model="resnet8", width=8, weight_decay=0.5)
MUON = CONFIG.replace(muon_lr=0.03, lr=0.1, nesterov=True)


def network_and_optimizer(config):
    model, _ = build_model(config)
    model = model.to(memory_format=torch.channels_last)
    return model, make_optimizer(model, config, CPU)


def step(model, optimizer):
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter)  # laid out as autograd does, which a fused kernel relies on
        parameter.grad.copy_(torch.randn(parameter.shape, generator=generator))
    optimizer.step()


def test_a_learning_rate_in_a_tensor_is_written_in_place():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=torch.tensor(0.1))
    rate = optimizer.param_groups[0]["lr"]
    set_lr(optimizer, 0.01)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == pytest.approx(0.01)


def test_decay_may_leave_batch_norm_and_biases_alone():
    model, optimizer = network_and_optimizer(CONFIG.replace(decayed="weights"))
    groups = optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert {p.ndim for p in groups[0]["params"]} == {2, 4}
    assert {p.ndim for p in groups[1]["params"]} == {1}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


@pytest.mark.parametrize("shape", [(3, 8, 27), (2, 40, 16), (1, 16, 16)])
def test_orthogonalized_matrices_keep_their_singular_vectors_and_have_values_near_one(shape):
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    inside = u.mT @ orthogonalize(matrices) @ vt.mT
    values = inside.diagonal(dim1=1, dim2=2)
    assert values.min() > 0.3
    assert values.max() < 1.3
    torch.testing.assert_close(inside, torch.diag_embed(values), rtol=0, atol=1e-4)


@pytest.mark.parametrize("changes", [{}, {"nesterov": False}, {"model": "resnet26", "width": 8}], ids=str)
def test_muon_moves_convolutions_by_its_rate_and_everything_else_as_sgd_does(changes):
    model, optimizer = network_and_optimizer(MUON.replace(**changes))
    reference, sgd = network_and_optimizer(MUON.replace(muon_lr=None, **changes))
    set_lr(optimizer, 0.05)  # half of the peak: half of Muon's rate too
    set_lr(sgd, 0.05)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    step(model, optimizer)
    step(reference, sgd)
    for (name, parameter), other in zip(model.named_parameters(), reference.parameters(), strict=True):
        if parameter.ndim == 4:
            length = len(parameter) ** 0.5
            moved = parameter.detach() - before[name] * length / before[name].norm()
            assert moved.norm() / length == pytest.approx(0.015, rel=0.3), name
        else:
            torch.testing.assert_close(parameter, other)


def straightened(matrix):
    """What `orthogonalize` is to make of a matrix, by way of its singular values."""
    u, values, vt = torch.linalg.svd(matrix, full_matrices=False)
    values = values / values.norm()
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return u @ torch.diag(values) @ vt


@pytest.mark.parametrize("nesterov", [True, False], ids=["Nesterov", "plain momentum"])
@pytest.mark.parametrize("shape", [(8, 3, 3, 3), (40, 2, 1, 1)], ids=["wide", "tall"])
def test_three_steps_of_muon_on_a_filter_bank(shape, nesterov):
    """Against the formula, so that a step up, a lost momentum or the other form of it would show."""
    bank = torch.nn.Conv2d(shape[1], shape[0], shape[2], bias=False).double().to(memory_format=torch.channels_last)
    optimizer = make_optimizer(bank, MUON.replace(momentum=0.8, nesterov=nesterov), CPU)
    expected, velocity = bank.weight.detach().clone().flatten(1), 0
    for _ in range(3):
        gradient = torch.randn(shape, dtype=torch.float64)
        bank.weight.grad = gradient.to(memory_format=torch.channels_last)
        optimizer.step()
        gradient = gradient.flatten(1)
        velocity = 0.8 * velocity + gradient
        direction = straightened(gradient + 0.8 * velocity if nesterov else velocity)
        longer = max(1, shape[0] / gradient.shape[1]) ** 0.5
        expected = expected * shape[0] ** 0.5 / expected.norm() - 0.03 * longer * direction
        torch.testing.assert_close(bank.weight.detach().flatten(1), expected, rtol=0, atol=1e-5)


def test_muon_goes_on_from_its_state_as_if_never_stopped():
    model, optimizer = network_and_optimizer(MUON)
    step(model, optimizer)
    again, resumed = network_and_optimizer(MUON)
    again.load_state_dict(model.state_dict())
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))  # otherwise both share the momentum
    for pair in ((model, optimizer), (again, resumed)):
        step(*pair)
    for one, other in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
