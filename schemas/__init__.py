"""What the processes exchange: commands, events, workflow definitions, HTTP resources, topics, record layout, settings.

Nothing in here imports another of our packages, so each process can be read, tested and deployed with this one alone.
"""
