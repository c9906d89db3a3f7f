"""Turns logical lines into instructions, one module a group of keywords."""
