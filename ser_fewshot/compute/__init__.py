"""Devices, several processes, threads, and the versions that decide numbers."""
