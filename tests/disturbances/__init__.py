"""What may come between a command and its end, and what has to be there afterwards."""
