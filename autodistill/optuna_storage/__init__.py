"""The Optuna storages of studies: journals, databases, and how a search writes to them."""
