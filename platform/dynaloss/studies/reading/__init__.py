"""Reads study files strictly and words what is wrong with them."""
