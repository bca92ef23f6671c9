"""The search itself: Ray Tune executes, the Optuna study in its storage is the only truth, a folder keeps what came of it."""
