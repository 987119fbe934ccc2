"""`sagacity run`: a file of inputs, one saga a line, until nothing of it moves by itself any more."""
