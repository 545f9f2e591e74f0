"""Residual networks on CIFAR-10: what a run is, how it is trained and recorded, and what its records say.

To read it: `config.Config`, then `runs.experiment.run`, `training.train.fit` and `training.update.Update`.
"""

import os

# torch reads it at its first allocation: large tensors in pages of 2 MiB, where Linux gives them to those who ask. On
# two cores a step of ResNet-20 or ResNet-50 was 3 to 5 % shorter (medians of 3 alternations; Xeon with AMX, torch
# 2.15), at some 10 % more memory.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
