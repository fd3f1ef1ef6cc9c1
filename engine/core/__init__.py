"""Decisions of the engine, pure: no await, clock, randomness or IO. Time and results come in as arguments.

`decide(state, input, now)` returns the events that follow; `evolve(state, event)` folds one into the state;
`effect(state)` says what has to happen outside next. Since effects are a function of the state, a restart derives them
again from the log.
"""
