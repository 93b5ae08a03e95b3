"""What each command of `ser-fewshot` does, one file each; a file is imported only when its command is run."""
