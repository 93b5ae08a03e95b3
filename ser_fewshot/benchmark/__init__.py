"""One command from a folder of corpora to a table: every method on every protocol, on the same frozen episodes."""
