"""The final student: distilled in full, tested once, written as a folder that other libraries open, exported, used for predictions."""
