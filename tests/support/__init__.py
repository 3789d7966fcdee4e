"""What tests share: the oracle, a vendor on loopback, Postgres, bad records. No test stands here."""
