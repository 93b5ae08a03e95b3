"""Tests of ser_fewshot.episodes."""
