"""Residual networks on CIFAR-10: what a run is, how it is trained and recorded, and what its records say.

To read it: `config.Config`, then `runs.experiment.run`, `training.train.fit` and `training.update.Update`.
"""
