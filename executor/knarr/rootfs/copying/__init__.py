"""COPY and ADD at work: sources found, walked, written."""
