"""The database: one contract, two stores."""
