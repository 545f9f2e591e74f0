"""CIFAR-10: where it comes from, its verification, the splits, and its near-duplicates."""
