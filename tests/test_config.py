import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from resnet_lib.config import PROTOCOL, Config, ConfigError
from resnet_lib.models.build import build_model
from resnet_lib.recipes import RECIPES, recipe

# A value other than the default for every field, with what else it needs.
ALTERNATIVES = {
    "protocol": {"protocol": PROTOCOL + 1},
    "dataset": {"dataset": "synthetic"},
    "split": {"split": "train45k"},
    "train_images": {"train_images": 1000},
    "test_images": {"test_images": 1000},
    "normalize": {"normalize": "pixel"},
    "crop": {"crop": 4},
    "flip": {"flip": True},
    "model": {"model": "resnet56"},
    "stem": {"stem": "imagenet"},
    "shortcut": {"shortcut": "B"},
    "width": {"width": 8},
    "init": {"init": "torch"},
    "epochs": {"epochs": 11},
    "iterations": {"iterations": 100},
    "batch_size": {"batch_size": 64},
    "lr": {"lr": 0.05},
    "momentum": {"momentum": 0.8},
    "nesterov": {"nesterov": True},
    "weight_decay": {"weight_decay": 5e-4},
    "decayed": {"decayed": "weights"},
    "schedule": {"schedule": "cosine"},
    "milestones": {"milestones": (5,)},
    "gamma": {"gamma": 0.2, "milestones": (5,)},
    "warmup": {"warmup": 10},
    "warmup_start": {"warmup_start": 0.5, "warmup": 10},
    "warmup_shape": {"warmup_shape": "constant", "warmup": 10},
    "onecycle_peak": {"onecycle_peak": 0.3, "schedule": "onecycle"},
    "muon_lr": {"muon_lr": 0.04},
    "label_smoothing": {"label_smoothing": 0.1},
    "precision": {"precision": "bf16"},
}


def test_defaults_and_their_fingerprint_are_what_published_records_are_named_by():
    assert Config().fingerprint == "f12f2e92b789"
    assert Config(model="resnet50").fingerprint == "3f44a9d8a4b7"


def test_no_default_changes_its_meaning_under_the_name_of_a_published_record():
    """Fingerprints leave defaults out: who changes one must raise PROTOCOL, or give the new meaning a new field."""
    published = Path(__file__).parents[1] / "reports/full/runs/resnet20-10ep-s0-f12f2e92b789/config.json"
    record = json.loads(published.read_text())
    now = Config(model="resnet20", milestones=(50, 75)).model_dump(mode="json")
    assert record == {name: value for name, value in now.items() if name in record}


def test_fingerprint_is_sha256_of_protocol_and_what_differs_from_the_defaults():
    text = '{"iterations": 64000, "milestones": [32000, 48000], "protocol": 1}'
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert Config(iterations=64_000, milestones=(32_000, 48_000), seed=3).fingerprint == digest[:12]


def test_milestones_that_a_run_does_not_come_to_leave_its_name_as_it_is():
    assert Config(epochs=10, milestones=(10, 50)).fingerprint == Config(epochs=10).fingerprint
    assert Config(epochs=10, milestones=(9, 10)).fingerprint == Config(epochs=10, milestones=(9,)).fingerprint
    assert Config(iterations=100, milestones=(99,)).fingerprint != Config(iterations=100).fingerprint
    assert Config(iterations=100, milestones=(100,)).fingerprint == Config(iterations=100).fingerprint


@pytest.mark.parametrize(
    "idle",
    [
        {"gamma": 0.2}, {"gamma": 0.2, "milestones": (10,)}, {"warmup_start": 0.5}, {"warmup_shape": "constant"},
        {"onecycle_peak": 0.5}, {"train_images": 50_000}, {"test_images": 10_000},
    ],
    ids=str,
)  # fmt: skip
def test_what_changes_nothing_in_a_run_leaves_its_name_as_it_is(idle):
    assert Config(**idle).fingerprint == Config().fingerprint


@pytest.mark.parametrize("field", [f for f in Config.model_fields if f != "seed"])
def test_every_field_changes_the_fingerprint(field):
    changed = Config(**ALTERNATIVES[field])
    without = changed.replace(**{field: getattr(Config(), field)})
    assert changed.fingerprint != without.fingerprint
    assert without == Config(**{name: value for name, value in ALTERNATIVES[field].items() if name != field})


def test_epochs_do_not_count_where_iterations_do():
    assert Config(iterations=64_000, epochs=5).fingerprint == Config(iterations=64_000).fingerprint


def test_seed_names_the_run_but_not_its_fingerprint():
    one, two = Config(seed=1), Config(seed=2)
    assert one.fingerprint == two.fingerprint == Config().fingerprint
    assert one.run_id == "resnet20-10ep-s1-f12f2e92b789"
    assert two.run_id == "resnet20-10ep-s2-f12f2e92b789"
    assert Config(iterations=64_000).run_id.startswith("resnet20-64000it-s0-")


@pytest.mark.parametrize("fields", [{}, *ALTERNATIVES.values()], ids=str)
def test_json_round_trip(fields):
    config = Config(**fields)
    again = Config(**json.loads(json.dumps(config.model_dump(mode="json"))))
    assert again == config
    assert again.fingerprint == config.fingerprint


def test_frozen_and_hashable():
    config = Config()
    with pytest.raises(ValidationError, match="frozen"):
        config.lr = 1.0
    assert len({config, Config(), Config(lr=0.2)}) == 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lr": 0}, ["lr", "0", "greater than 0"]),
        ({"lr": float("nan")}, ["lr", "nan", "finite"]),
        ({"lr": float("inf")}, ["lr", "inf"]),
        ({"lr": "0.1"}, ["lr", "'0.1'", "number"]),
        ({"epochs": 0}, ["epochs", "0", "greater than or equal to 1"]),
        ({"epochs": 2.5}, ["epochs", "2.5", "integer"]),
        ({"epochs": True}, ["epochs", "True", "integer"]),
        ({"flip": 1}, ["flip", "1", "boolean"]),
        ({"dataset": "mnist"}, ["dataset", "'mnist'", "'cifar10' or 'synthetic'"]),
        ({"normalize": "zca"}, ["normalize", "'zca'", "'channel', 'pixel' or 'none'"]),
        ({"schedule": "poly"}, ["schedule", "'poly'", "'multistep', 'cosine' or 'onecycle'"]),
        ({"momentum": 1}, ["momentum", "1", "less than 1"]),
        ({"gamma": 2.0}, ["gamma", "2.0", "less than or equal to 1"]),
        ({"crop": 17}, ["crop", "17", "less than or equal to 16"]),
        ({"seed": -1}, ["seed", "-1", "greater than or equal to 0"]),
        ({"milestones": (2, "x")}, ["milestones.1", "'x'", "integer"]),
        ({"milestones": (5, 3)}, ["milestones", "(5, 3)", "increasing"]),
        ({"milestones": (3, 3)}, ["milestones", "(3, 3)", "increasing"]),
        ({"milestones": (0, 3)}, ["milestones", "(0, 3)", "positive"]),
        ({"milestones": (3,), "schedule": "cosine"}, ["milestones", "'multistep'", "'cosine'"]),
        ({"nesterov": True, "momentum": 0}, ["nesterov", "momentum above 0"]),
        ({"split": "train45k", "train_images": 45_001}, ["train_images", "45001", "train45k", "45,000"]),
        ({"split": "train45k", "test_images": 5_001}, ["test_images", "5001", "train45k", "5,000"]),
        ({"model": "plain20", "shortcut": "A"}, ["plain20", "shortcut"]),
        ({"model": "hub-resnet18", "width": 8}, ["hub-resnet18", "width"]),
        ({"model": "hub-resnet18", "stem": "imagenet"}, ["hub-resnet18", "stem 'imagenet', which it already has"]),
        ({"model": "hub-resnet18", "shortcut": "A"}, ["hub-resnet18", "shortcut"]),
        ({"model": "hub-resnet18", "init": "torch"}, ["hub-resnet18", "init"]),
        ({"iterations": 10_000_000, "train_images": 10, "batch_size": 50}, ["10,000,000 epochs", "at most 1,048,576"]),
        ({"epoch": 3}, ["'epoch'", "epochs", "label_smoothing"]),
    ],
    ids=str,
)
def test_refusals_name_the_field_the_value_and_what_is_allowed(fields, words):
    with pytest.raises(ConfigError) as refused:
        Config(**fields)
    assert not [word for word in words if word not in str(refused.value)], str(refused.value)


def test_replace_validates_again():
    with pytest.raises(ConfigError, match="lr = -1"):
        Config().replace(lr=-1)


def test_several_mistakes_are_told_at_once():
    with pytest.raises(ConfigError, match=r"epochs = 0.*lr = -1"):
        Config(epochs=0, lr=-1)


def test_what_several_types_would_have_allowed_is_one_mistake():
    with pytest.raises(ConfigError) as refused:
        Config(flip="x")
    told = str(refused.value)
    assert told.startswith("flip = 'x' is not valid: input should be a valid boolean")
    assert told.endswith(" or input should be 'alternating'")


@pytest.mark.parametrize(
    ("fields", "per_epoch", "total", "milestones"),
    [
        ({"epochs": 100, "milestones": (50, 75)}, 391, 39_100, (19_550, 29_325)),
        ({"iterations": 64_000, "milestones": (32_000, 48_000)}, 391, 64_000, (32_000, 48_000)),
        ({"split": "train45k"}, 352, 3_520, ()),
        ({"train_images": 100, "batch_size": 50, "epochs": 3, "milestones": (1,)}, 2, 6, (2,)),
        ({"train_images": 10, "batch_size": 50}, 1, 10, ()),
    ],
)
def test_steps(fields, per_epoch, total, milestones):
    config = Config(**fields)
    assert (config.steps_per_epoch, config.total_steps) == (per_epoch, total)
    assert config.milestone_steps == milestones


@pytest.mark.parametrize(("split", "name"), [("all", "test"), ("train45k", "val")])
def test_only_held_out_training_images_are_called_val(split, name):
    assert Config(split=split).held_out == name


PAPER = Config(iterations=64_000, milestones=(32_000, 48_000), warmup=400, crop=4, flip=True, normalize="pixel")
HUNDRED = Config(model="resnet50", epochs=100, milestones=(50, 75), weight_decay=5e-4)


@pytest.mark.parametrize("config", [PAPER, HUNDRED, Config(model="hub-resnet18")], ids=lambda c: c.model)
def test_full_is_the_experiment_itself(config):
    assert config.at("full") == config


def test_quick_takes_a_subset_and_scales_the_length_and_its_milestones():
    small = HUNDRED.at("quick")
    assert small.train_images == 1000
    assert small.test_images == 500
    assert small.epochs == 5
    assert small.milestones == (2, 4)  # half of 5 rounds to even
    untouched = {"train_images", "test_images", "epochs", "milestones"}
    assert small.model_dump(exclude=untouched) == HUNDRED.model_dump(exclude=untouched)


@pytest.mark.parametrize("profile", ["smoke", "quick"])
def test_a_first_look_needs_no_bf16_instructions(profile):
    assert Config(precision="bf16").at(profile).precision == "fp32"


def test_quick_scales_iterations_milestones_and_warmup_alike():
    small = PAPER.at("quick")
    assert small.iterations == 5 * 8  # 1,000 images in batches of 128
    assert small.milestones == (20, 30)
    assert small.warmup == 0  # 400 of 64,000 are a quarter of a step of 40
    assert PAPER.replace(warmup=6_400).at("quick").warmup == 4
    assert HUNDRED.replace(warmup=3_910).at("quick").warmup == 4
    assert PAPER.replace(iterations=3_000_000).at("smoke").iterations == 4  # on its 200 images too many epochs


@pytest.mark.parametrize(("model", "width"), [("resnet20", 4), ("resnet50", 4), ("plain20", 4), ("hub-resnet18", None)])
def test_smoke_is_synthetic_and_tiny(model, width):
    small = Config(model=model, epochs=100, milestones=(50, 75)).at("smoke")
    assert small.dataset == "synthetic"
    assert (small.train_images, small.test_images, small.epochs) == (200, 100, 2)
    assert small.milestones == (1, 2)
    assert small.width == width


@pytest.mark.parametrize("profile", ["smoke", "quick"])
@pytest.mark.parametrize("config", [PAPER, HUNDRED, Config(epochs=1)], ids=["paper", "hundred", "one"])
def test_profiles_never_lengthen_and_can_be_applied_twice(config, profile):
    small = config.at(profile)
    assert small.total_steps <= config.total_steps
    assert small.at(profile) == small


def test_a_lone_last_image_is_refused_where_batch_norm_cannot_take_it():
    with pytest.raises(ConfigError, match="batch_size 199 leaves one of 200 images for the last batch"):
        Config(model="resnet18", train_images=200, batch_size=199)
    with pytest.raises(ConfigError, match="for the last batch"):
        Config(model="hub-resnet18", batch_size=1)
    Config(model="resnet18", stem="cifar", batch_size=1)
    Config(model="resnet20", batch_size=1)


def test_recipes_are_valid_and_the_paper_s_is_what_the_paper_says():
    for name, fields in RECIPES.items():
        assert Config(**fields).crop == 4, name
    paper = Config(model="resnet20", **RECIPES["paper"])
    assert (paper.batch_size, paper.lr, paper.momentum, paper.weight_decay) == (128, 0.1, 0.9, 1e-4)
    assert (paper.total_steps, paper.milestone_steps) == (64_000, (32_000, 48_000))
    assert (paper.nesterov, paper.label_smoothing, paper.normalize) == (False, 0, "pixel")


def test_only_the_paper_s_deepest_network_starts_slowly():
    deep, fast = (Config(model="resnet110", **recipe(name, "resnet110")) for name in ("paper", "fast"))
    assert (deep.warmup, deep.warmup_start, deep.warmup_shape) == (400, 0.1, "constant")
    assert deep.replace(warmup=0) == Config(model="resnet110", **RECIPES["paper"], warmup_shape="constant")
    assert fast.warmup == Config(model="resnet56", **recipe("paper", "resnet56")).warmup == 0


@pytest.mark.parametrize(
    ("config", "images"),
    [
        (Config(epochs=3, train_images=100, batch_size=32), 300),
        (Config(iterations=5, train_images=100, batch_size=32), 132),  # an epoch of 32, 32, 32 and 4, and a batch
        (Config(iterations=8, train_images=100, batch_size=32), 200),
        (Config(iterations=1, train_images=10, batch_size=32), 10),
    ],
)
def test_the_images_of_a_run_are_counted_with_its_smaller_batches(config, images):
    assert config.total_images == images


@pytest.mark.parametrize(
    ("model", "named"),
    [
        ("resnet20", {"stem": "cifar", "shortcut": "A", "width": 16}),
        ("resnet50", {"stem": "imagenet", "shortcut": "B", "width": 64}),
        ("plain20", {"stem": "cifar", "width": 16}),
    ],
)
def test_what_a_network_has_anyway_may_be_named_and_names_no_other_run(model, named):
    usual = Config(model=model)
    assert usual.replace(**named).run_id == usual.run_id
    for name, value in named.items():
        assert usual.replace(**{name: value}).run_id == usual.run_id
        assert str(build_model(usual.replace(**{name: value}))[0]) == str(build_model(usual)[0])
    assert usual.replace(width=named["width"] + 1).run_id != usual.run_id
