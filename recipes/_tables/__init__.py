"""The tables of README.md and RESULTS.md, by topic: each function writes one from the files in recipes/results."""
