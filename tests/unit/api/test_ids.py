"""Ids that we make."""

import time

from api.ids import id_for_key, new_id, parse_id


def test_new_ids_are_of_version_7_and_hold_the_time() -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_id() for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert all(id.version == 7 and id.variant == "specified in RFC 4122" for id in ids)
    assert all(before <= id.int >> 80 <= after for id in ids)
    assert len({id.int & (2**62 - 1) for id in ids}) == 1000
    assert len({(id.int >> 64) & 0xFFF for id in ids}) > 100


def test_only_canonical_text_is_an_id() -> None:
    id = new_id()
    assert parse_id(str(id)) == parse_id(str(id).upper()) == id
    for text in ("", "abc", id.hex, f"{{{id}}}", f"urn:uuid:{id}", f" {id}", f"{id}\n", str(id)[:-1] + "１"):
        assert parse_id(text) is None


def test_the_id_of_a_key_is_told_to_programs_outside() -> None:
    """What checks an installation imports it from here, and has to name instances before they are answered."""
    workflow = "b3f6ac8e-54e9-5b0c-9b52-1ce2a7a5b0d4"
    assert str(id_for_key("instance", workflow, "k-1")) == "5899f950-60e5-51c5-9a59-65c4f7e25146"
    assert id_for_key("instance", workflow, "k-1") != id_for_key("workflow", workflow, "k-1")
