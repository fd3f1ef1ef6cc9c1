"""Definitions that hypothesis makes: near to good ones, with wrong, missing, unknown and exclusive fields."""

from typing import Any

from hypothesis import strategies as st

REFERENCES = ("${a}", "x-${b}", "${a}${b}", "${}", "${", "$${c}}")
TEXTS = ("users:7", "", "main", *REFERENCES)
WRONG: tuple[Any, ...] = (None, True, 0, 7, 1.5, [], {}, ["x"], {"x": 1}, "", "x")
AMOUNTS: tuple[Any, ...] = (0, 1250, 2**70, -1, 1.5, "1250", "+5", "-5", "1.5", "ten", "007", *REFERENCES)
BOOLEANS: tuple[Any, ...] = (True, False, None, "true", "FALSE", "yes", "", 1, *REFERENCES)
INSTANTS: tuple[Any, ...] = (
    "2026-04-01T00:00:00Z", "2026-04-01t00:00:00.25+02:00", "2026-02-30T00:00:00Z", "2026-04-01", "tomorrow", "", None,
    "2028-02-29T23:59:59Z", "2026-04-31T00:00:00Z", "2026-04-01T24:00:00Z", *REFERENCES,
)  # fmt: skip
DURATIONS: tuple[Any, ...] = (
    "1s", "1h30m", "-1.5h", "0", "+250ms", ".5s", "5.s", "1", "1d", "1 s", "", None, 5, ".s", "1us", "1µs", "1μs",
    *REFERENCES,
)  # fmt: skip
TYPES: tuple[Any, ...] = ("TRANSFER", "payout", "", None, "gift", 1, *REFERENCES)
UNKNOWN = ("unknown", "Id", "amunt", "")


def mostly(values: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    """Mostly one of these."""
    return st.one_of(*[st.sampled_from(values)] * 7, st.sampled_from(WRONG))


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with most of these fields, and now and then another one, or something else than an object."""
    known: st.SearchStrategy[Any] = st.fixed_dictionaries({}, optional=fields)
    full: st.SearchStrategy[Any] = st.fixed_dictionaries(fields)
    extra = st.builds(lambda value, key, other: value | {key: other}, full, st.sampled_from(UNKNOWN), st.just("x"))
    return st.one_of(full, full, known, extra, st.sampled_from(WRONG))


def kinds(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with one of these fields; now and then with another number of them."""
    one = [st.fixed_dictionaries({name: value}) for name, value in fields.items()]
    nulls = [st.fixed_dictionaries({n: v if n == name else st.none() for n, v in fields.items()}) for name in fields]
    return st.one_of(*one, *one, *nulls, objects(**fields))


text = mostly(TEXTS)
metadata = st.one_of(
    st.dictionaries(st.sampled_from(("k", "a.b", "${a}")), st.sampled_from(TEXTS), max_size=2),
    st.dictionaries(st.just("k"), text, max_size=1),
    st.sampled_from(WRONG),
)
account = objects(id=text, ledger=text, throughAccount=text, allowOverdraft=mostly(BOOLEANS))
wallet = st.one_of(
    objects(id=text, balance=text), objects(name=text, balance=text), objects(id=text, name=text, balance=text)
)
payment_source = objects(
    id=text, throughAccount=text, allowOverdraft=mostly(BOOLEANS), ledger=text, holdingAccount=text
)
payment_destination = objects(
    psp=text,
    type=mostly(TYPES),
    metadata=text,
    waitingValidation=mostly(BOOLEANS),
    sourceAccount=text,
    connectorId=text,
)
send = objects(
    source=kinds(account=account, wallet=wallet, payment=payment_source),
    destination=kinds(account=account, wallet=wallet, payment=payment_destination),
    amount=st.one_of(objects(amount=mostly(AMOUNTS), asset=text), st.none()),
    metadata=metadata,
    timestamp=mostly(INSTANTS),
)
delay = st.one_of(
    objects(duration=mostly(DURATIONS)),
    objects(until=mostly(INSTANTS)),
    objects(duration=mostly(DURATIONS), until=mostly(INSTANTS)),
)
update = objects(account=objects(id=text, ledger=text, metadata=metadata))
stages = st.one_of(
    st.fixed_dictionaries({"send": send}),
    st.fixed_dictionaries({"wait_event": objects(event=text)}),
    st.fixed_dictionaries({"delay": delay}),
    st.fixed_dictionaries({"update": update}),
    st.fixed_dictionaries({"noop": st.one_of(st.none(), objects(unknown=text))}),
)
wrong_stages: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(WRONG), st.sampled_from(({"sned": {}}, {"noop": {}, "delay": {}}, {"send": None, "source": {}}))
)
definitions: st.SearchStrategy[Any] = st.one_of(
    *[st.fixed_dictionaries({"name": st.just("payout"), "stages": st.lists(stages, max_size=3)})] * 6,
    st.fixed_dictionaries({"stages": st.lists(st.one_of(stages, wrong_stages), max_size=3)}),
    st.fixed_dictionaries({}, optional={"name": st.sampled_from(WRONG), "stages": st.sampled_from(WRONG)}),
    st.sampled_from(WRONG),
)
