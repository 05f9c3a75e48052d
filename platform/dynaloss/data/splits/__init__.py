"""The roles of a trial's samples and the splits that hold them."""
