"""Benchmarks, one module each: ``Options`` (flags) and ``run(options) -> int``."""
