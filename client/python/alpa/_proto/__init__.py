"""The generated modules of proto/*.proto. client/python/generate.py writes them. Git tracks only this file."""
