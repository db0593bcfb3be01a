"""Truth under chaos: a world that lives, an API that fails, an exporter that is reloaded and killed, and what holds."""
