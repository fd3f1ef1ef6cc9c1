"""All mutations, in the order in which they are tried."""

from typing import Final

from tests.mutations import (
    acts,
    bulk,
    claims,
    commands,
    effects,
    encryption,
    front,
    kafka,
    resumes,
    retention,
    retries,
    searches,
    snapshots,
    streams,
    submissions,
    triggers,
)

MUTATIONS: Final = (
    *commands.MUTATIONS,
    *triggers.MUTATIONS,
    *claims.MUTATIONS,
    *effects.MUTATIONS,
    *snapshots.MUTATIONS,
    *kafka.MUTATIONS,
    *front.MUTATIONS,
    *acts.MUTATIONS,
    *bulk.MUTATIONS,
    *searches.MUTATIONS,
    *retries.MUTATIONS,
    *retention.MUTATIONS,
    *streams.MUTATIONS,
    *encryption.MUTATIONS,
    *resumes.MUTATIONS,
    *submissions.MUTATIONS,
)
