"""Tests of ser_fewshot.classifier."""
