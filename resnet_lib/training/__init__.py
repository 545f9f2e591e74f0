"""One step, one epoch, one run: the only training loop."""
