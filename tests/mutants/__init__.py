"""Mutation testing: what a small fault in the code would have to get past."""
