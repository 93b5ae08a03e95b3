"""Tests of ser_fewshot.audio."""
