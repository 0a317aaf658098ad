"""The schema's history: each revision runs beside the previous release. `python -m models.migrations` applies it."""
