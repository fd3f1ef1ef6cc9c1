"""The container image: `Containerfile`, what of the repository goes into it, and its health check."""
