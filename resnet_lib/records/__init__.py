"""What a run leaves on disk: its record, which is the only truth, and the checkpoints that it resumes from."""
