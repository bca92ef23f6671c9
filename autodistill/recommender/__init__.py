"""What recorded studies say of a new dataset. Part of the plan arm: no torch, ray or optuna. `autodistill.recommend` uses it."""
