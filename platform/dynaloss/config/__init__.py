"""The settings, each once: pydantic, frozen, without torch; what the other packages take."""
