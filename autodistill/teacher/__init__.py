"""The teacher: fine-tuned once for a dataset, and what it says of every row, stored once."""
