"""The scaler's rule and three usual ones, on the same days of work: what waiting costs."""
