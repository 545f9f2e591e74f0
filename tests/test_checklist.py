"""The checklist: numbers where they are recorded, and the code that a reader may take."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from crafted import craft
from PIL import Image

from resnet_lib.findings import curves
from resnet_lib.questions import causes, story, suspects
from resnet_lib.report import checklist

pytestmark = pytest.mark.usefixtures("no_warnings")
TOLD = story.TUNED.replace(model="resnet20")  # the story's hundred epochs, as the lab assumes them


def listed():
    return checklist.checklist("runs", "threads", "here/runs")


def test_without_records_the_checklist_has_its_items_and_no_numbers():
    bare = listed()
    assert re.findall(r"^\d\.", bare, re.MULTILINE) == ["1.", "2.", "3.", "4.", "5."]
    assert "3×3 stem (this network is not yet run with them)</summary>" in bare
    assert "optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.0005)" in bare
    assert "are not for such images. Look at" in bare
    assert "perhaps among other faults; less says nothing.\n3. " in bare
    assert "may gain little from them.\n" in bare
    assert "at the end of each learning rate): not yet run." in bare
    assert "[17 public threads](threads); 13 name a cause, if only as a guess." in bare
    assert f"ends at {100 * curves.FITTED:g} % or more, and test loss more than" in bare


def test_a_drop_is_weighed_against_what_the_same_comparison_gives_without():
    craft(TOLD, 0.87, high=0.78)
    chance = "By chance, without a drop, it rose by at most {}, at any epoch from a quarter"
    one = "at a rate of 0.1, the first drop gave 9.0 points in 1 run with 5e-4. Other weight decays"
    assert one in listed()
    assert chance.format("0.0 points with a weight decay of 5e-4 (1 run)") in listed()
    assert "crops and flips, the first drop" not in listed()
    craft(TOLD.replace(milestones=()), 0.79, high=[0.77, 0.79, 0.78, 0.78, 0.78, 0.78])
    assert chance.format("0.4 points with a weight decay of 5e-4 (2 runs)") in listed()
    craft(TOLD.replace(weight_decay=1e-4), 0.83, high=0.78)
    craft(TOLD.replace(crop=4, flip=True), 0.91, high=0.79)
    craft(TOLD, 0.88, seed=1, high=0.75)  # more than the mean over its seeds
    heavier, lighter = "9.0 to 13.0 points in 3 runs with 5e-4", "5.0 points in 1 run with 1e-4"
    assert "at a rate of 0.1, with or without crops and flips, the first drop gave" in listed()
    assert f" the first drop gave {heavier} and {lighter}. Other" in listed()
    both = "0.4 points with a weight decay of 5e-4 (4 runs) and 0.0 points with a weight decay of 1e-4 (1 run)"
    assert chance.format(both) in listed()


def test_the_checklist_tells_what_a_change_was_worth():
    craft(TOLD, 0.87)
    craft(TOLD.replace(crop=4, flip=True), 0.91)
    for levels, cell in causes.factorial(10).items():
        craft(cell, 0.7 + 0.05 * levels[0])
    told = listed()
    assert "With ImageNet's stem it looks the same" not in told
    assert "Add random crops (4 pixels of padding) and flips: +4.0 points [" in told
    assert "gain little from them: 0.0 points [" in told
    assert "0.1 instead of 0.01: 0.0 points [" in told
    assert f"[{suspects.ASSUMED}](runs/{TOLD.run_id}/history.csv) (50, then 50, then 50 %)" in told
    assert f"To try it: `resnet-lab diagnose here/runs/{TOLD.run_id}/history.csv`." in told
    rising = np.r_[np.linspace(2, 1, 60), np.linspace(1, 1.2, 40)]
    craft(TOLD.replace(stem="imagenet"), 0.75, rising, fitted=1.0)
    assert "With ImageNet's stem it looks the same: fix that first. Add random crops" in listed()
    assert "are not for such images: 3×3 is worth +12.0 points [" in listed()
    assert "Start SGD" not in listed()
    craft(TOLD.replace(lr=0.01), 0.82, rising, fitted=1.0)
    changed = "Effect of a rate of 0.01 after 100 epochs, with the same drops: ResNet-20 -5.0 points ["
    assert f"   - Start SGD with momentum at 0.1. {changed}" in listed()
    assert " (over images alone) (n = 1).\n" in listed()
    alike = "With ImageNet's stem or a learning rate of 0.01 it looks the same: fix that first."
    fitted = "Too small a rate shows before its first drop: the training accuracy of ResNet-20 was 100 % at 0.01 and"
    assert f"{alike} {fitted} 50 % at 0.1. Add random" in listed()
    its_own, augmented, _, alike = causes.square().values()
    craft(its_own, 0.8)
    craft(augmented, 0.87)
    craft(alike, 0.93)
    assert " They took torch.hub's ResNet-18, unchanged, from 80.0 % to 87.0 % (n = 1 and 1)." in listed()
    assert "3×3 stem (ResNet-20 ended at 91.0 % with them, this network ended at 93.0 %)</summary>" in listed()


def test_the_code_of_the_checklist_runs_and_has_the_maps_that_it_tells_of():
    code = re.search("```python\n(.*?)```", listed(), re.DOTALL)[1]
    scope = {}
    exec(code, scope)
    shapes = []
    model = scope["model"]
    model.avgpool.register_forward_hook(lambda module, maps, output: shapes.append(maps[0].shape[2:]))
    picture = Image.fromarray(np.zeros((32, 32, 3), np.uint8))
    images = torch.stack([scope["train_transform"](picture), scope["test_transform"](picture)])
    batches, before = [(images, torch.tensor([0, 1]))], model.fc.weight.clone()
    scope["train_epoch"](batches)
    assert shapes == [(checklist.HUB_SIDE, checklist.HUB_SIDE)]
    assert not torch.equal(model.fc.weight, before)
    assert scope["scheduler"].last_epoch == 1
    assert scope["accuracy"](batches) in (0.0, 0.5, 1.0)
    assert not model.training
