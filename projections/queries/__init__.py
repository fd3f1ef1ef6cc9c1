"""What the API asks of the read model: `read_model` for rows and pages, `positions` for how far it is, and waiting."""
