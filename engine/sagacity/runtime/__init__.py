"""What executes sagas: workers, the committer, leases, sweepers."""
