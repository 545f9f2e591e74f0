"""CIFAR-10: where it comes from, its verification, its splits and near-duplicates; and a synthetic set for tests."""
