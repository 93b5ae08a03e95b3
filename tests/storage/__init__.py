"""Tests of ser_fewshot.storage."""
