"""What is copied into a student's folder as `load.py`; each file stands on its own and imports nothing of autodistill."""
