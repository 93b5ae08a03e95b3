"""Tests of ser_fewshot.importers."""
