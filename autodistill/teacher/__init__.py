"""The teacher: fine-tuned once for a dataset; its outputs for every row are stored once."""
