"""The student at the end: distilled in full, tested once, written as a folder that other libraries open, exported, tried."""
