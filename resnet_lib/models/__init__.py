"""The networks: ours, and torch.hub's behind the same interface."""
