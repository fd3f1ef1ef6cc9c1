"""The console in a real browser without a window, against an API with a log and a read model in memory."""
