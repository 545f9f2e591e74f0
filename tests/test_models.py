import math
import re
import socket
import sys
import urllib.error

import pytest
import torch
import torchvision
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from resnet_lib.architecture import Architecture
from resnet_lib.config import Config, ConfigError
from resnet_lib.errors import LabError
from resnet_lib.machine.device import Choice
from resnet_lib.models import hub, resnet, shapes
from resnet_lib.models.build import build_model, place
from resnet_lib.models.resnet import PadShortcut


@pytest.mark.parametrize(
    ("config", "maps"),
    [
        (Config(model="resnet20"), [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8)]),
        (Config(model="resnet20", stem="imagenet"), [(16, 8, 8), (16, 8, 8), (32, 4, 4), (64, 2, 2)]),
        (Config(model="hub-resnet18"), [(64, 16, 16), (64, 8, 8), (64, 8, 8), (128, 4, 4), (256, 2, 2), (512, 1, 1)]),
        (Config(model="plain20"), [(16, 32, 32), (16, 32, 32), (32, 16, 16), (64, 8, 8)]),
    ],
    ids=lambda one: one.model if isinstance(one, Config) else "",
)
def test_a_network_is_told_part_by_part(config, maps):
    *others, last = shapes.parts(config)
    assert [part.output for part in others] == maps
    assert (last.name, last.output) == ("fc", (10,))
    network, _ = build_model(config)
    assert sum(part.parameters for part in [*others, last]) == resnet.count_parameters(network)


def build(name, num_classes=10, **fields):
    torch.manual_seed(0)
    return resnet.build(Config(model=name, **fields), num_classes)


def from_torchvision(state):
    """torchvision's state dict under our names."""

    def rename(key):
        key = re.sub(r"^conv1\.", "stem.0.", re.sub(r"^bn1\.", "stem.1.", key))
        key = re.sub(r"^layer(\d)", lambda m: f"stages.{int(m[1]) - 1}", key)
        return key.replace("downsample", "shortcut")

    return {rename(key): value for key, value in state.items()}


@pytest.fixture(scope="module", params=["resnet18", "resnet50"])
def twins(request):
    """torchvision's network and ours with the same random weights, statistics and affine terms."""
    torch.manual_seed(1)
    theirs = getattr(torchvision.models, request.param)(num_classes=10)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.0)
            nn.init.normal_(module.bias, std=0.1)
    ours = build(request.param)
    ours.load_state_dict(from_torchvision(theirs.state_dict()))  # strict: every name and shape agrees
    return theirs, ours


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize(
    ("side", "dtype", "tolerance"), [(32, torch.float64, 1e-9), (224, torch.float32, 2e-4)], ids=["32", "224"]
)
def test_logits_and_statistics_are_torchvisions(twins, side, dtype, tolerance, training):
    theirs, ours = (net.train(training).to(dtype) for net in twins)
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(2), dtype=dtype)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs(images), rtol=tolerance, atol=tolerance)
    expected = from_torchvision(dict(theirs.named_buffers()))
    for name, value in ours.named_buffers():
        torch.testing.assert_close(value, expected[name], rtol=tolerance, atol=tolerance)


TABLE_6 = {
    "resnet20": (269_722, 272_474),
    "resnet32": (464_154, 466_906),
    "resnet44": (658_586, 661_338),
    "resnet56": (853_018, 855_770),
    "resnet110": (1_727_962, 1_730_714),
}


@pytest.mark.parametrize("name", TABLE_6)
def test_parameter_counts_of_the_papers_networks(name):
    counts = tuple(resnet.count_parameters(build(name, shortcut=option)) for option in "AB")
    assert counts == TABLE_6[name]
    assert resnet.count_parameters(build(name)) == counts[0]  # the paper's option is the default
    assert resnet.count_parameters(build(name.replace("resnet", "plain"))) == counts[0]


@pytest.mark.parametrize("depth", [18, 34, 50, 101])
def test_names_and_shapes_of_the_imagenet_shape_are_torchvisions(depth):
    with torch.device("meta"):
        theirs = from_torchvision(getattr(torchvision.models, f"resnet{depth}")(num_classes=10).state_dict())
        ours = resnet.build(Config(model=f"resnet{depth}")).state_dict()
    assert {name: t.shape for name, t in ours.items()} == {name: t.shape for name, t in theirs.items()}


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "plain20", "plain56", "resnet18", "resnet26"])
def test_depth_counts_convolutions_and_linear_layers(name):
    net = build(name)
    layers = [
        layer
        for path, layer in net.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear) and "shortcut" not in path
    ]
    assert len(layers) == Architecture(name).depth


@pytest.mark.parametrize(("name", "expected"), [("resnet20", 9), ("plain20", 0)])
def test_only_residual_networks_have_shortcuts(name, expected):
    shortcuts = [module for path, module in build(name).named_modules() if path.endswith("shortcut")]
    assert len(shortcuts) == expected


def test_a_residual_network_is_the_plain_one_plus_its_shortcuts():
    plain, residual = build("plain8"), build("resnet8")
    residual.load_state_dict(plain.state_dict())  # option A: no parameters of its own
    images = torch.randn(4, 3, 32, 32)
    assert not torch.allclose(plain(images), residual(images))
    for block in residual.modules():
        if isinstance(block, resnet.BasicBlock):
            block.shortcut = None
    assert torch.equal(plain(images), residual(images))


@pytest.mark.parametrize("stride", [1, 2])
def test_option_a_subsamples_and_pads_with_zeros(stride):
    images = torch.randn(2, 4, 8, 8)
    out = PadShortcut(4, 10, stride)(images)
    assert torch.equal(out[:, 3:7], images[:, :, ::stride, ::stride])
    assert out[:, :3].abs().sum() == 0
    assert out[:, 7:].abs().sum() == 0
    assert out.shape == (2, 10, 8 // stride, 8 // stride)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_option_a_has_the_gradient_of_a_slice_in_the_layout_of_its_input(dtype):
    images = torch.randn(2, 16, 8, 8, dtype=dtype).to(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        out = PadShortcut(16, 32, 2)(images)
    assert out.dtype == dtype
    weights = torch.randn_like(out)
    (found,) = torch.autograd.grad(out, images, weights)
    (expected,) = torch.autograd.grad(images[:, :, ::2, ::2], images, weights[:, 8:24])
    assert torch.equal(found, expected)
    assert out.is_contiguous(memory_format=torch.channels_last)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("products", [False, True])
@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize("name", ["resnet8", "plain8", "resnet18", "resnet26"])
def test_every_gradient_has_the_layout_of_the_network(name, stem, products):
    """Over two layouts a ReLU's backward pass takes twenty times as long."""
    found = []

    class Layouts(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if "threshold_backward" in str(function):
                found.extend(tensor.is_contiguous(memory_format=torch.channels_last) for tensor in args[:2])
            return function(*args, **(kwargs or {}))

    net = place(build(name, stem=stem, width=8), Choice("cpu", 1, channels_last=True, products=products))
    with Layouts():
        net(torch.randn(2, 3, 32, 32).to(memory_format=torch.channels_last)).sum().backward()
    assert len(found) > 10
    assert all(found)


@pytest.mark.parametrize("stem", ["cifar", "imagenet"])
@pytest.mark.parametrize(
    ("name", "width"), [("resnet8", 4), ("plain8", 4), ("resnet18", 4), ("resnet26", 4), ("resnet26", 5)]
)
def test_either_stem_fits_either_body_at_any_width(name, width, stem):
    net = build(name, num_classes=7, stem=stem, width=width)
    assert net(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert net.stem[0].out_channels == width
    side = 32 if stem == "cifar" else 8
    assert net.stem(torch.zeros(2, 3, 32, 32)).shape == (2, width, side, side)


@pytest.mark.parametrize(
    ("name", "sides", "widths"),
    [
        ("resnet20", (32, 16, 8), (16, 32, 64)),
        ("resnet18", (8, 4, 2, 1), (64, 128, 256, 512)),
        ("resnet50", (8, 4, 2, 1), (256, 512, 1024, 2048)),
    ],
)
def test_maps_halve_as_filters_double(name, sides, widths):
    net = build(name).eval()
    x = net.stem(torch.zeros(1, 3, 32, 32))
    shapes = []
    for stage in net.stages:
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(w, s, s) for w, s in zip(widths, sides, strict=True)]


@pytest.mark.parametrize("name", ["resnet20", "resnet18"])
def test_he_normal_weights(name):
    convolutions = [m for m in build(name).modules() if isinstance(m, nn.Conv2d)]
    for conv in convolutions:
        fan_out = conv.out_channels * math.prod(conv.kernel_size)
        z = conv.weight.detach().flatten() * math.sqrt(fan_out / 2)
        assert abs(z.mean()) < 5 / math.sqrt(len(z))
        assert abs(z.var() - 1) < 5 * math.sqrt(2 / len(z))  # five standard errors of a normal's variance
        assert z.abs().max() > 2.5  # normal, not uniform (which ends at 1.73)


def test_init_torch_keeps_the_layers_own():
    for conv in build("resnet20", init="torch").modules():
        if isinstance(conv, nn.Conv2d):
            bound = 1 / math.sqrt(conv.in_channels * math.prod(conv.kernel_size))
            assert conv.weight.abs().max() <= bound


@pytest.mark.parametrize("name", ["resnet20", "hub-resnet18"])
def test_the_seed_alone_decides_the_initial_weights(name):
    one, again, other = (build_model(Config(model=name, seed=seed))[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("depth", [18, 50])
def test_hub_offline_is_the_installed_torchvision_and_says_so(depth):
    net, source = build_model(Config(model=f"hub-resnet{depth}", seed=5), ask_hub=True)
    torch.manual_seed(5)
    expected = getattr(torchvision.models, f"resnet{depth}")(num_classes=10)
    assert type(net) is torchvision.models.ResNet
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), expected.parameters(), strict=True))
    release = torchvision.__version__.partition("+")[0]
    assert source == f"torchvision {release}, installed (hub not reached)"
    assert net.fc.out_features == 10


def test_a_torchvision_that_does_not_fit_torch_is_told(monkeypatch):
    class Unfit:
        def find_spec(self, name, *others):
            if name == "torchvision":
                raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.delitem(sys.modules, "torchvision")
    monkeypatch.setattr(sys, "meta_path", [Unfit(), *sys.meta_path])
    with pytest.raises(
        LabError, match=r"install both from the same place \(operator torchvision::nms does not exist\)"
    ):
        build_model(Config(model="hub-resnet18"))


def test_hub_online_asks_for_the_release_that_is_installed(monkeypatch):
    asked, limits = [], []

    def load(repository, name, **options):
        asked.append((repository, name, options["trust_repo"]))
        limits.append(socket.getdefaulttimeout())
        return torchvision.models.resnet18(num_classes=options["num_classes"])

    monkeypatch.setattr(hub, "_reachable", lambda: True)
    monkeypatch.setattr(torch.hub, "load", load)
    net, source = build_model(Config(model="hub-resnet18"), ask_hub=True)
    release = torchvision.__version__.partition("+")[0]
    assert asked == [(f"pytorch/vision:v{release}", "resnet18", True)]
    assert (limits, socket.getdefaulttimeout()) == ([hub.ANSWER_SECONDS], None)
    assert source.startswith(f"torch.hub pytorch/vision:v{release}")
    assert torch.equal(net.fc.weight, seeded_hub_network().fc.weight)


RATE_LIMIT = urllib.error.HTTPError("https://api.github.com", 403, "rate limit exceeded", {}, None)


@pytest.mark.parametrize("answer", [RATE_LIMIT, OSError("reset"), "<html>sign in</html>", "[]"], ids=str)
def test_where_the_hub_does_not_answer_as_it_should_the_installed_network_is_taken(monkeypatch, tmp_path, answer):
    def read(request):
        torch.rand(1)  # as a network that was half built would leave it
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.delenv("GITHUB_TOKEN", raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(hub, "_reachable", lambda: True)
    monkeypatch.setattr(torch.hub, "_read_url", read)
    net, source = build_model(Config(model="hub-resnet18"), ask_hub=True)
    assert re.search(r"installed \(hub not reached: \w+\)$", source)
    assert torch.equal(net.fc.weight, seeded_hub_network().fc.weight)


def seeded_hub_network():
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=10)


@pytest.mark.parametrize(("value", "contacts"), [("1", 0), ("0", 1), ("", 1)])
def test_hub_contacts_nobody_when_told_to_stay_offline(monkeypatch, value, contacts):
    calls = []

    def connect(*arguments):
        calls.append(arguments)
        raise OSError

    monkeypatch.setenv("RESNET_LAB_OFFLINE", value)
    monkeypatch.setattr(hub, "getproxies", dict)
    monkeypatch.setattr(hub.socket, "create_connection", connect)
    assert not hub._reachable()
    assert len(calls) == contacts
    monkeypatch.setattr(hub, "proxy_bypass", lambda host: False)
    monkeypatch.setattr(hub, "getproxies", lambda: {"https": "http://localhost:8080"})
    assert not hub._reachable()
    assert [place for place, *_ in calls] == [("github.com", 443), ("localhost", 8080)] * contacts


def test_the_hub_is_not_asked_for_a_network_of_which_nothing_is_recorded(monkeypatch):
    monkeypatch.setattr(hub, "_reachable", lambda: pytest.fail("asked"))
    _, source = build_model(Config(model="hub-resnet18"))
    assert source.endswith("installed (the hub was not asked)")


@pytest.mark.parametrize(
    "name",
    ["resnet19", "resnet2", "resnet0", "resnet020", "plain18", "plain34", "hub-resnet20", "vgg16", "",
     "ResNet20", "resnet", "resnet20 ", "resnet20\n", "hub-plain20", "resnet-20", "resnet99998"],
)  # fmt: skip
def test_unknown_names_are_refused_with_what_is_allowed(name):
    with pytest.raises(ConfigError) as refused:
        Config(model=name)
    assert repr(name) in str(refused.value)
    for allowed in ("resnet18", "26", "50", "110", "6n+2", "plain20", "hub-resnet18"):
        assert allowed in str(refused.value)


def test_a_network_is_the_same_whatever_came_before_and_changes_no_random_state():
    config, before = Config(model="resnet8"), torch.get_rng_state()
    first, _ = build_model(config)
    torch.randn(5)
    second, _ = build_model(config)
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))
    torch.set_rng_state(before)
    with torch.device("meta"):
        build_model(config)
    assert torch.equal(torch.get_rng_state(), before)
