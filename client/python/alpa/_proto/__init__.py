"""Modules that client/python/generate.py generates from proto/*.proto. Only this file is in the repository."""
