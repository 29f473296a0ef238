"""Attaches the watcher to foreign frameworks: one module for each, named as the framework is imported.

Importing this package imports none of them.
"""
