"""Generated from proto/*.proto by client/python/generate.py; only this file is kept in the repository."""
