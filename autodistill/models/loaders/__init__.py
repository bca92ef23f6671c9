"""The files that are copied into a student's folder as `load.py`. Each works alone and imports nothing from autodistill."""
