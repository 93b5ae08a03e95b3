"""Tests of ser_fewshot.corpora."""
