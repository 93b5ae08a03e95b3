"""Files on disk and on the hub: written atomically, read without pickle."""
