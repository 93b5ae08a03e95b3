"""Tests of ser_fewshot.frontends."""
