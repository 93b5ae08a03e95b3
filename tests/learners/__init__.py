"""Tests of ser_fewshot.learners."""
