"""Batches, learning rate, optimizer, one update, metrics, and the one loop of every recorded run."""
