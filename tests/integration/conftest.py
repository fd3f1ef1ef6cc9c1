"""Integration tests run against a real Kafka and a real Postgres."""

from tests.stack import database_schema, database_url, kafka_bootstrap_servers, topic_prefix

__all__ = ["database_schema", "database_url", "kafka_bootstrap_servers", "topic_prefix"]
