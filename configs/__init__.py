"""One small Python file per runnable experiment: each defines ``config() -> TrainConfig``."""
