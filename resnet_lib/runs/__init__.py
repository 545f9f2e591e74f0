"""Runs as a whole: train, resume or load one, evaluate its weights, list and verify them all."""
