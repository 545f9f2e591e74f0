"""What a run needs of the machine: its device, memory, disk, terminal and signals, and what is noted of it."""
