"""Tests of ser_fewshot.evaluation."""
