"""The live demo: enrol a few emotions in the browser, see them recognised, keep what was learned.

Imports within it are relative, because it is `app` in a checkout and `ser_fewshot.app` where the package is installed.
"""
