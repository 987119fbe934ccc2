"""The HTTP API: the orchestrator's calls under `/v1/`, as JSON, with RFC 9457 problems for errors."""
