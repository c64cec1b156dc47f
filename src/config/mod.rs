//! The settings: defaults, `pooler.toml` and `POOLER__` environment variables, made valid in one step.
