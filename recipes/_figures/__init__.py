"""The figures of docs/concepts, by topic: each function draws one and returns it."""
