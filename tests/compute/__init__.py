"""Tests of ser_fewshot.compute."""
