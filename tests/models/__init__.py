"""Tests of ser_fewshot.models."""
