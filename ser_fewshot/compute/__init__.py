"""Where the work is done: devices, several processes, threads."""
