"""The search itself: Ray Tune executes, the Optuna study in its storage is the only truth, and a folder keeps the results."""
